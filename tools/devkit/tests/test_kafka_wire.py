"""Reading a broker's answer by hand."""

import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devkit.kafka_wire import BrokerServes, Metadata, ask_metadata, parse_metadata
from devkit.ports import free_port


def text(value: str | None) -> bytes:
    return struct.pack(">h", -1) if value is None else struct.pack(">h", len(value.encode())) + value.encode()


def numbers(values: list[int]) -> bytes:
    return struct.pack(f">i{len(values)}i", len(values), *values)


def answer(brokers: list[tuple[str, int]], topics: dict[str, list[int]]) -> bytes:
    """Write an answer: topics by name, each with its partitions' leaders (-1: none)."""
    body = struct.pack(">i", len(brokers))
    for number, (host, port) in enumerate(brokers):
        body += struct.pack(">i", number) + text(host) + struct.pack(">i", port) + text(None)
    body += struct.pack(">ii", 1, len(topics))
    for name, leaders in topics.items():
        body += struct.pack(">h", 0) + text(name) + struct.pack(">bi", 0, len(leaders))
        for partition, leader in enumerate(leaders):
            body += struct.pack(">hii", 0, partition, leader) + numbers([1]) + numbers([1, 2])
    return body


brokers = st.lists(st.tuples(st.text(max_size=20), st.integers(1, 65535)), max_size=4)
topics = st.dictionaries(st.text(min_size=1, max_size=20), st.lists(st.integers(-1, 3), max_size=5), max_size=4)


@given(brokers, topics)
def test_brokers_and_partitions_without_a_leader_are_found(brokers, topics):
    assert parse_metadata(answer(brokers, topics)) == Metadata(
        tuple(f"{host}:{port}" for host, port in brokers),
        sum(leaders.count(-1) for leaders in topics.values()),
    )


@given(brokers, topics, st.data())
def test_an_answer_cut_short_is_an_error(brokers, topics, data):
    whole = answer(brokers, topics)
    with pytest.raises(ValueError, match="cut short"):
        parse_metadata(whole[: data.draw(st.integers(0, len(whole) - 1))])


def serving(reply: bytes) -> tuple[threading.Thread, int]:
    """Answer one connection with `reply`, whatever it asks."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.recv(1024)
            connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread, server.getsockname()[1]


@pytest.mark.parametrize(
    ("brokers", "leaders", "serves"),
    [([("h", 1)], [1, 1], True), ([("h", 1)], [], True), ([("h", 1)], [1, -1], False), ([], [], False)],
)
def test_a_broker_serves_when_it_knows_itself_and_all_partitions_have_leaders(brokers, leaders, serves):
    body = struct.pack(">i", 1) + answer(brokers, {"t": leaders})
    thread, port = serving(struct.pack(">i", len(body)) + body)
    assert BrokerServes(port)() is serves
    thread.join()


def test_something_else_on_the_port_is_not_a_broker():
    thread, port = serving(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ValueError, match="does not speak Kafka's protocol"):
        ask_metadata(port)
    thread.join()
    assert not BrokerServes(free_port())()
