"""A service's link to Kafka: made however late, and told to the readiness probe."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.new_partitions import NewPartitions
from consumption import event, produce, until
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.events.interactions import MessageReceived
from common.health import Unhealthy
from common.kafka import link as link_module
from common.kafka.broker import kafka_broker
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.kafka.topics import Topic

pytestmark = pytest.mark.kafka


async def problem(link: KafkaLink) -> str:
    try:
        await link.check()
    except Unhealthy as error:
        return error.reason
    return ""


async def test_a_service_that_starts_before_kafka_connects_when_kafka_comes(kafka, settings, topic):
    handled: list[str] = []

    async def handler(one: MessageReceived) -> None:
        handled.append(one.id)

    await produce(settings, topic, [event("c0", 0)])
    await asyncio.to_thread(kafka.stop)
    try:
        broker = kafka_broker(settings, client_id="early")
        key_ordered_subscriber(
            broker,
            topic,
            group=f"group-{topic}",
            handler=handler,
            settings=settings,
            metrics=KafkaMetrics(CollectorRegistry()),
            clock=SystemClock(),
        )
        link = KafkaLink(broker, [topic])
        async with link.running():
            async with asyncio.timeout(30):
                while "cannot be reached" not in await problem(link):
                    await asyncio.sleep(0.05)
            await asyncio.to_thread(kafka.start)
            await until(lambda: handled == ["c0:0"])
            await link.check()
    finally:
        if not kafka.running:
            await asyncio.to_thread(kafka.start)


async def test_a_producer_that_has_written_to_one_topic_still_sees_that_the_others_are_there(kafka, settings, topic):
    broker = kafka_broker(settings, client_id="one-topic")
    link = KafkaLink(broker, [topic, f"{topic}.dlq"])
    async with link.running():
        async with asyncio.timeout(30):
            await link.started.wait()
        await broker.publish(event("c0", 0), topic, key=b"c0")
        for _ in range(3):
            await link.check()


async def test_a_missing_topic_keeps_a_service_unready_and_is_named(kafka, settings):
    link = KafkaLink(kafka_broker(settings, client_id="no-topic"), ["nobody-made-this"])
    async with link.running(), asyncio.timeout(30):
        while "topics are missing: nobody-made-this" not in await problem(link):
            await asyncio.sleep(0.05)


def declared(monkeypatch, topic: str, partitions: int) -> None:
    monkeypatch.setattr(link_module, "SOURCES", (Topic(topic, partitions, 1000, "conversation"),))


async def test_a_topic_with_other_partitions_than_declared_keeps_a_service_unready_and_both_numbers_are_named(
    kafka, settings, topic, monkeypatch
):
    """One replica would have a conversation's messages, and another its replies."""
    declared(monkeypatch, topic, 12)
    link = KafkaLink(kafka_broker(settings, client_id="other-partitions"), [topic])
    async with link.running(), asyncio.timeout(30):
        while f"{topic} has 4 partitions, declared are 12" not in await problem(link):
            await asyncio.sleep(0.05)
        assert not link.started.is_set()


async def test_partitions_that_are_added_while_a_service_runs_make_it_unready(kafka, settings, topic, monkeypatch):
    declared(monkeypatch, topic, 4)
    link = KafkaLink(kafka_broker(settings, client_id="more-partitions"), [topic])
    async with link.running(), asyncio.timeout(30):
        await link.started.wait()
        await link.check()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await admin.start()
        try:
            await admin.create_partitions({topic: NewPartitions(5)})
        finally:
            await admin.close()
        while f"{topic} has 5 partitions, declared are 4" not in await problem(link):
            await asyncio.sleep(0.05)
