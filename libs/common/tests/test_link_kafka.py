"""A service's link to Kafka: made however late, and told to the readiness probe."""

import asyncio

import pytest
from consumption import event, produce, until
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.events.interactions import MessageReceived
from common.health import Unhealthy
from common.kafka.broker import kafka_broker
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber

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
