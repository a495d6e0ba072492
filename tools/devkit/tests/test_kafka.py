"""The embedded broker keeps what it has acknowledged, comes back where it was, and has a stand-in."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import UnknownTopicOrPartitionError

from devkit.cache import cache_dir
from devkit.download import missing_from
from devkit.kafka import ClientListener, EmbeddedKafka, KafkaUnavailable, Ports, server_properties
from devkit.kafka_wire import ask_metadata
from devkit.maven import jars_folder, kafka_jars
from devkit.ports import free_port, free_ports
from devkit.process import ProcessDied
from devkit.wheels import WheelUnavailable, find_uv

PARTITIONS = 3
OUT_OF_REACH = "http://127.0.0.1:9/maven2"


def read_properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_clients_are_sent_to_the_advertised_port_and_the_broker_itself_is_not(tmp_path):
    settings = read_properties(server_properties(Ports(1, 2, 3, 4), tmp_path, 3000, ClientListener()))
    assert settings["listeners"].startswith("CLIENT://127.0.0.1:1,INTERNAL://127.0.0.1:2,")
    assert settings["advertised.listeners"] == "CLIENT://127.0.0.1:4,INTERNAL://127.0.0.1:2"
    assert settings["inter.broker.listener.name"] == "INTERNAL"
    assert settings["auto.create.topics.enable"] == "false"


async def create_topic(bootstrap: str, name: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, values: list[bytes], *, idempotent: bool = True) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, enable_idempotence=idempotent, acks="all", request_timeout_ms=10_000
    )
    await producer.start()
    try:
        for sent in [await producer.send(topic, value, key=value[:1]) for value in values]:
            await sent
    finally:
        await producer.stop()


async def read_all(bootstrap: str, topic: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        values: list[bytes] = []
        async with asyncio.timeout(20):
            while len(values) < sum(ends.values()):
                for records in (await consumer.getmany(timeout_ms=500)).values():
                    values += [record.value for record in records if record.value is not None]
        return values
    finally:
        await consumer.stop()


@pytest.fixture(scope="module")
def kafka(tmp_path_factory):
    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as broker:
        if not broker.durable:
            pytest.skip("Maven Central is out of reach: no real Kafka here")
        yield broker


@pytest.mark.kafka
async def test_acknowledged_records_outlive_a_killed_broker(kafka):
    await create_topic(kafka.bootstrap, "kept")
    values = [b"%d" % number for number in range(500)]
    await produce(kafka.bootstrap, "kept", values)
    kafka.kill()
    assert not kafka.running
    bootstrap = kafka.bootstrap
    kafka.restart()
    assert kafka.bootstrap == bootstrap
    assert sorted(await read_all(bootstrap, "kept")) == sorted(values)


@pytest.mark.kafka
async def test_a_producer_goes_on_over_a_kill_and_nothing_is_lost_or_doubled(kafka):
    await create_topic(kafka.bootstrap, "through")
    values = [b"%d" % number for number in range(300)]
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, enable_idempotence=True, acks="all")
    await producer.start()
    try:
        first = [await producer.send("through", value) for value in values[:150]]
        crash = asyncio.to_thread(lambda: (kafka.kill(), kafka.restart()))
        restarted = asyncio.ensure_future(crash)
        rest = [await producer.send("through", value) for value in values[150:]]
        await asyncio.wait_for(asyncio.gather(*first, *rest), 60)
        await restarted
    finally:
        await producer.stop()
    assert sorted(await read_all(kafka.bootstrap, "through")) == sorted(values)


@pytest.mark.kafka
async def test_a_broker_stopped_in_order_is_back_with_its_data(kafka):
    await create_topic(kafka.bootstrap, "stopped")
    await produce(kafka.bootstrap, "stopped", [b"a"])
    await asyncio.to_thread(kafka.restart)
    assert await read_all(kafka.bootstrap, "stopped") == [b"a"]


@pytest.mark.kafka
async def test_topics_do_not_come_about_by_being_named(kafka):
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000)
    await producer.start()
    try:
        with pytest.raises(UnknownTopicOrPartitionError):
            await producer.send_and_wait("misspelt", b"x")
    finally:
        await producer.stop()


@pytest.mark.kafka
def test_a_second_start_downloads_nothing(kafka, tmp_path):
    """With the cache filled, an address that answers nothing does no harm."""
    told: list[str] = []
    environ = {**os.environ, "JAWAB_MAVEN_URL": OUT_OF_REACH}
    with EmbeddedKafka(tmp_path, environ=environ, tell=told.append) as broker:
        assert broker.idempotent
        assert broker.name.startswith("Apache Kafka")
        assert 0 < broker.rss_bytes() < 800 << 20
    assert told == []


@pytest.mark.kafka
def test_a_broker_behind_a_proxy_sends_clients_to_the_proxy(kafka, tmp_path):
    port, proxy = free_ports(2)
    with EmbeddedKafka(tmp_path, port, advertised_port=proxy) as broker:
        assert broker.bootstrap == f"127.0.0.1:{proxy}"
        assert ask_metadata(port).brokers == (broker.bootstrap,)
        assert ask_metadata(int(broker.direct_bootstrap.split(":")[1])).brokers == (broker.direct_bootstrap,)


@pytest.mark.kafka
def test_a_broker_that_cannot_start_says_why(kafka, tmp_path):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        broker = EmbeddedKafka(tmp_path, taken.getsockname()[1])
        with pytest.raises(ProcessDied, match=r"(?s)Kafka ended with exit code 1.*Address already in use"):
            broker.start()
    assert not broker.running
    assert threading.active_count() < 50


def without_maven(cache: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "JAWAB_CACHE": str(cache), "JAWAB_MAVEN_URL": OUT_OF_REACH, **more}


@pytest.mark.kafka
async def test_where_maven_is_out_of_reach_a_stand_in_serves_and_says_what_is_lost(tmp_path):
    try:
        environ = without_maven(tmp_path / "cache", UV=str(find_uv(cache_dir())))
    except WheelUnavailable as reason:
        pytest.skip(str(reason))
    told: list[str] = []
    broker = EmbeddedKafka(tmp_path / "data", environ=environ, tell=told.append)
    try:
        await asyncio.to_thread(broker.start)
    except KafkaUnavailable as reason:
        pytest.skip(f"PyPI is out of reach too: {reason}")
    try:
        assert (broker.idempotent, broker.durable) == (False, False)
        assert "KAFKA_IDEMPOTENCE=false" in told[-1]
        assert "in memory" in told[-1]
        await create_topic(broker.bootstrap, "t")
        await produce(broker.bootstrap, "t", [b"1", b"2"], idempotent=False)
        assert sorted(await read_all(broker.bootstrap, "t")) == [b"1", b"2"]
    finally:
        broker.stop()


def test_where_nothing_can_be_had_the_way_out_is_named(tmp_path):
    environ = without_maven(tmp_path / "cache", UV="", PATH="/nowhere")
    with pytest.raises(KafkaUnavailable, match=r"(?s)127\.0\.0\.1:9.*uv was found.*KAFKA_BOOTSTRAP_SERVERS"):
        EmbeddedKafka(tmp_path / "data", environ=environ).start()
    cache = cache_dir(environ)
    assert len(missing_from(jars_folder(cache), kafka_jars(OUT_OF_REACH))) > 40
