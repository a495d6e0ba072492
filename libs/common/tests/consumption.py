"""What the tests of consumption on Kafka stand on: a subscriber that runs, records, and what became of them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.events.interactions import Message, MessageReceived
from common.kafka.broker import kafka_broker
from common.kafka.burial import Buried
from common.kafka.keyed import KeyOrderedSubscriber
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.retry import RetryPolicy
from common.kafka.subscription import key_ordered_subscriber
from common.settings import KafkaSettings

QUICK = RetryPolicy(first_delay=0.01, longest_delay=0.05, longest_age=30, bug_attempts=3)


def event(conversation: str, number: int, size: int = 0) -> MessageReceived:
    """Return a conversation's next message, of so many characters."""
    return MessageReceived(
        id=f"{conversation}:{number}",
        source="/test",
        subject=conversation,
        partitionkey=conversation,
        time=datetime.now(UTC),
        data=Message(account_id="1", contact_id=conversation, mid=str(number), text="x" * size or None),
    )


class Listener(ConsumerRebalanceListener):
    """Notes what it is told of rebalances."""

    def __init__(self) -> None:
        self.told: list[tuple[str, frozenset[TopicPartition]]] = []

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self.told.append(("revoked", frozenset(revoked)))

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self.told.append(("assigned", frozenset(assigned)))


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


async def create(kafka, *names: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, 1 if name.endswith(".dlq") else 4, 1) for name in names])
    finally:
        await admin.close()


def partition_of(key: str | bytes) -> int:
    return int(murmur2(key.encode() if isinstance(key, str) else key) & 0x7FFFFFFF) % 4


def in_one_partition(number: int) -> list[str]:
    """Return so many keys, each an account of its own, of one partition."""
    keys = (f"account{count}" for count in itertools.count())
    return list(itertools.islice((key for key in keys if partition_of(key) == 0), number))


@asynccontextmanager
async def consuming(
    settings: KafkaSettings,
    topic: str,
    handler: Callable[[MessageReceived], Awaitable[None]],
    retry: RetryPolicy = QUICK,
    buried: Buried | None = None,
) -> AsyncIterator[KeyOrderedSubscriber]:
    broker = kafka_broker(settings, client_id="test")
    subscriber = key_ordered_subscriber(
        broker,
        topic,
        group=f"group-{topic}",
        handler=handler,
        settings=settings,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        retry=retry,
        buried=buried,
    )
    link = KafkaLink(broker, [topic])
    async with link.running():
        async with asyncio.timeout(30):
            await link.started.wait()
        yield subscriber


async def produce(settings: KafkaSettings, topic: str, events: list[MessageReceived], raw: bytes | None = None) -> None:
    broker = kafka_broker(settings, client_id="producer")
    await broker.connect()
    try:
        for one in events:
            await broker.publish(one, topic, key=one.partitionkey.encode(), no_confirm=True)
        if raw is not None:
            await broker.publish(raw, topic, key=b"poison")
        await broker.config.producer.flush()
    finally:
        await broker.stop()


async def committed(settings: KafkaSettings, topic: str) -> dict[int, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.bootstrap_servers, group_id=f"group-{topic}")
    await consumer.start()
    try:
        found = {}
        for partition in range(4):
            offset = await consumer.committed(TopicPartition(topic, partition))
            if offset is not None:
                found[partition] = offset
        return found
    finally:
        await consumer.stop()


async def until_committed(settings: KafkaSettings, topic: str, number: int) -> None:
    async with asyncio.timeout(30):
        while sum((await committed(settings, topic)).values()) < number:
            await asyncio.sleep(0.05)


async def dead(settings: KafkaSettings, topic: str) -> list[tuple[bytes | None, dict[str, str]]]:
    consumer = AIOKafkaConsumer(
        f"{topic}.dlq", bootstrap_servers=settings.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        batches = await consumer.getmany(timeout_ms=5000)
        return [(r.value, {k: v.decode() for k, v in r.headers}) for batch in batches.values() for r in batch]
    finally:
        await consumer.stop()
