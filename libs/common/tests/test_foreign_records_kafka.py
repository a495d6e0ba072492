"""Records that are none of ours: each ends as a dead letter with its reason, and costs nobody else."""

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.producer import message_accumulator
from aiokafka.producer import producer as producer_module
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from consumption import committed, consuming, event, partition_of, until, until_committed

from common.events.interactions import MessageReceived
from common.kafka import dead_letters
from common.kafka.hold import hold
from common.kafka.topics import MAX_RECORD_BYTES
from common.settings import KafkaSettings

pytestmark = pytest.mark.kafka

KEY = "c0"
HERE = partition_of(KEY)
FOUR_MIB = 4 * 1024 * 1024


class NotUtf8(str):
    """A header's name as another client may write it."""

    __slots__ = ()

    def encode(self, *_: object, **__: object) -> bytes:
        return b"\xff\xfe"


@pytest.fixture
async def producer(kafka, monkeypatch):
    # The compiled builder takes only a str for a header's name; the one in Python asks it for its bytes.
    for module in (message_accumulator, producer_module):
        monkeypatch.setattr(module, "DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, max_request_size=MAX_RECORD_BYTES)
    await producer.start()
    yield producer
    await producer.stop()


@pytest.fixture
async def topic(kafka, topic) -> str:
    """A topic that takes large records; its dead letters' topic does not."""
    name = f"{topic}-large"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        large = {"max.message.bytes": str(MAX_RECORD_BYTES)}
        await admin.create_topics([NewTopic(name, 4, 1, topic_configs=large), NewTopic(f"{name}.dlq", 1, 1)])
    finally:
        await admin.close()
    return name


def good(number: int) -> dict[str, Any]:
    return {"key": KEY.encode(), "value": event(KEY, number).to_json(), "partition": HERE}


async def letters(settings: KafkaSettings, topic: str, number: int) -> list[tuple[bytes | None, bytes | None, dict]]:
    """Return a topic's dead letters once there are so many: key, value, headers."""
    consumer = AIOKafkaConsumer(
        f"{topic}.dlq", bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    found: list[Any] = []
    try:
        async with asyncio.timeout(30):
            while len(found) < number:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    found += batch
    finally:
        await consumer.stop()
    return [(one.key, one.value, dict(one.headers)) for one in found]


FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "a tombstone": ({"key": KEY.encode(), "value": None}, "the record has no value"),
    "no key": ({"key": None, "value": event(KEY, 9).to_json()}, "the record has no key"),
    "another key": ({"key": b"\xff\x00", "value": event(KEY, 9).to_json()}, "the record's key is not its event's"),
    "an empty key": ({"key": b"", "value": event(KEY, 9).to_json()}, "the record's key is not its event's"),
    "a huge key": ({"key": b"k" * FOUR_MIB, "value": b"{}"}, "not a valid event"),
    "an unknown type": (
        {"key": KEY.encode(), "value": b'{"specversion":"1.0","type":"com.example.order"}'},
        "not a valid event",
    ),
    "no JSON": ({"key": KEY.encode(), "value": b"\x00\x01\x02"}, "not a valid event"),
    "deep JSON": ({"key": KEY.encode(), "value": b"[" * 100_000}, "not a valid event"),
    "a header's name that is not UTF-8": (
        {"key": KEY.encode(), "value": b"{}", "headers": [(NotUtf8("x"), b"1")]},
        "the record cannot be parsed",
    ),
    "4 MiB in a header, and no event": (
        {"key": KEY.encode(), "value": b"{}", "headers": [("x", b"\xff" * FOUR_MIB)]},
        "not a valid event",
    ),
    "a header of 4 MiB without a value's room": (
        {"key": KEY.encode(), "value": b"x" * FOUR_MIB, "headers": [("x", b"\xff" * FOUR_MIB)]},
        "not a valid event",
    ),
    "100,000 headers": (
        {"key": KEY.encode(), "value": b"{}", "headers": [(f"h{n}", b"") for n in range(100_000)]},
        "not a valid event",
    ),
    "a header without a value": (
        {"key": KEY.encode(), "value": b"{}", "headers": [("x", None)]},
        "not a valid event",
    ),
    "a header with a name of 1 MiB": (
        {"key": KEY.encode(), "value": b"{}", "headers": [("n" * 1024 * 1024, b"1")]},
        "not a valid event",
    ),
}


@pytest.mark.parametrize(("record", "reason"), FOREIGN.values(), ids=FOREIGN)
async def test_it_ends_as_a_dead_letter_with_its_reason_and_its_neighbours_are_handled(
    settings, topic, producer, record, reason
):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    partition = HERE if record["key"] is None else partition_of(record["key"])
    for one in (good(0), {"partition": partition} | record, good(1)):
        await producer.send_and_wait(topic, **one)
    async with consuming(settings, topic, handler):
        await until(lambda: len(handled) == 2)
        await until_committed(settings, topic, 3)
        [(_, _, headers)] = await letters(settings, topic, 1)
    assert handled == [f"{KEY}:0", f"{KEY}:1"]
    assert headers[dead_letters.CAUSE].decode().startswith(reason)
    assert headers[dead_letters.TOPIC] == topic.encode()
    assert headers[dead_letters.PARTITION] == str(partition).encode()
    assert headers[dead_letters.OFFSET] == (b"1" if partition == HERE else b"0")


async def test_a_record_with_neither_key_nor_value_ends_as_a_dead_letter(settings, topic, producer, monkeypatch):
    async def handler(one: MessageReceived) -> None:
        raise AssertionError("never called")

    batch = producer.create_batch()
    batch._builder.append(0, timestamp=1, key=None, value=None, headers=[])
    batch._relative_offset = 1
    await (await producer.send_batch(batch, topic, partition=HERE))
    async with consuming(settings, topic, handler):
        [(key, value, headers)] = await letters(settings, topic, 1)
    assert (key, value) == (None, b"")
    assert headers[dead_letters.CAUSE] == b"the record has no value"


@pytest.mark.parametrize(
    "headers",
    [
        [("x", None)],
        [("x", b"\xff\xfe")],
        [("content-type", b"\xff"), ("correlation_id", None), ("reply_to", b"\xff")],
        [(f"h{n}", b"") for n in range(10_000)],
    ],
    ids=["without a value", "binary", "of FastStream's own", "many"],
)
async def test_an_event_is_handled_whatever_headers_somebody_put_beside_it(settings, topic, producer, headers):
    """Tracing agents and mirrors add some."""
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await producer.send_and_wait(topic, **good(0), headers=headers)
    async with consuming(settings, topic, handler):
        await until(lambda: handled == [f"{KEY}:0"])


async def test_an_event_in_another_partition_than_its_keys_is_handled_where_it_belongs(settings, topic, producer):
    where: list[tuple[int | None, str]] = []

    async def handler(one: MessageReceived) -> None:
        where.append((hold().partition, one.id))

    for number in range(5):
        elsewhere = (HERE + 1 + number % 3) % 4
        await producer.send_and_wait(topic, **(good(number) | {"partition": elsewhere}))
    await producer.send_and_wait(topic, **good(5))
    async with consuming(settings, topic, handler):
        await until(lambda: len(where) == 6)
        await until_committed(settings, topic, 11)
    assert {partition for partition, _ in where} == {HERE}
    assert {one for _, one in where} == {f"{KEY}:{n}" for n in range(6)}
    assert (await committed(settings, topic))[HERE] == 6


async def test_a_log_that_ends_with_a_record_that_cannot_be_parsed_is_still_the_same_log(settings, topic, producer):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await producer.send_and_wait(topic, **good(0))
    await producer.send_and_wait(topic, **good(1) | {"headers": [(NotUtf8("x"), b"1")]})
    async with consuming(settings, topic, handler) as subscriber:
        await until_committed(settings, topic, 2)
        for _ in range(3):
            await subscriber._log_watch.look()
        assert subscriber._metrics.commits_refused.labels("other_log")._value.get() == 0
    async with consuming(settings, topic, handler) as subscriber:
        await producer.send_and_wait(topic, **good(2))
        await until_committed(settings, topic, 3)
    assert handled == [f"{KEY}:0", f"{KEY}:2"]
    assert len(await letters(settings, topic, 1)) == 1
