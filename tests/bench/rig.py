"""What every part of the bench stands on: topics of its own, records made beforehand, consumers that start and stop.

Only public names of `common` are used, so that a part measures any version of the subscriber alike.
"""

import asyncio
import itertools
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.partitioner import murmur2
from aiokafka.structs import OffsetAndMetadata
from faststream.kafka import KafkaBroker
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.events import AnyEvent
from common.events.envelope import CONTENT_TYPE
from common.events.interactions import Message, MessageReceived
from common.kafka.broker import kafka_broker
from common.kafka.keyed import KeyOrderedSubscriber
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.settings import KafkaSettings

PARTITIONS = 12
STARTUP = 30.0
BATCH_BYTES = 256 * 1024

Handler = Callable[[AnyEvent], Awaitable[None]]
Result = TypeVar("Result")

_names = itertools.count(1)


@dataclass(frozen=True)
class Row:
    """One figure as the table shows it.

    `held` is None where there is no goal. `must` marks what no load of the machine excuses: a record lost, two owners.
    """

    part: str
    name: str
    value: float
    unit: str
    goal: str = ""
    held: bool | None = None
    must: bool = False


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run to the end on the event loop that uvicorn gives the services."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def settings_for(bootstrap: str, **changed: Any) -> KafkaSettings:
    """Return the services' own settings, except for what a part has to change."""
    return KafkaSettings(bootstrap_servers=bootstrap, **changed)


def fresh(name: str) -> str:
    """Return a name nobody has used before in this run: for a topic or a group."""
    return f"bench-{name}-{os.getpid()}-{next(_names)}"


async def create_topic(bootstrap: str, name: str, partitions: int = PARTITIONS) -> str:
    """Create a topic and the one for its dead letters; return its name."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1), NewTopic(f"{name}.dlq", 1, 1)])
    finally:
        await admin.close()
    return name


def message(conversation: str, number: int, at: datetime | None = None) -> MessageReceived:
    """Return a customer's message as ingest would publish it; its id is `conversation:number`."""
    return MessageReceived(
        id=f"{conversation}:{number}",
        source="/bench",
        subject=conversation,
        partitionkey=conversation,
        time=at or datetime.now(UTC),
        data=Message(account_id="1", contact_id=conversation, mid=str(number), text="How much is the blue one?"),
    )


def round_robin(keys: int, records: int) -> Iterator[tuple[str, int]]:
    """Yield (conversation, number): every conversation's first record, then every one's second, and so on."""
    for index in range(records):
        yield f"c{index % keys}", index // keys


def with_busy_ones(keys: int, records: int, *, busy: int = PARTITIONS, every: int = 20) -> Iterator[tuple[str, int]]:
    """Yield (conversation, number) where a few conversations write far more than the rest.

    Their records wait behind one another while the others' are done, so what is done lies far beyond what is committed.
    """
    written = [0] * busy
    quiet = round_robin(keys, records)
    for index in range(records):
        if index % every:
            yield next(quiet)
        else:
            one = index // every % busy
            yield f"busy{one}", written[one]
            written[one] += 1


def out_of_order(done: Iterable[str]) -> int:
    """Count the ids (`conversation:number`) that come after a later one of their conversation."""
    last: dict[str, int] = {}
    wrong = 0
    for one in done:
        key, _, number = one.rpartition(":")
        wrong += int(number) < last.get(key, -1)
        last[key] = max(int(number), last.get(key, -1))
    return wrong


@cache
def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that the default partitioner of every Kafka client gives a key."""
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


async def fill(bootstrap: str, topic: str, ids: Iterable[tuple[str, int]], partitions: int = PARTITIONS) -> None:
    """Append a message for each (conversation, number), as fast as the broker takes whole batches."""
    form = (
        message("@KEY@", 0).to_json().replace(b'"mid":"0"', b'"mid":"@NUMBER@"').replace(b"@KEY@:0", b"@KEY@:@NUMBER@")
    )
    headers = [("content-type", CONTENT_TYPE.encode()), ("correlation_id", b"00000000-0000-0000-0000-000000000000")]
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks=1, max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        batches = [producer.create_batch() for _ in range(partitions)]
        pending: set[asyncio.Future[Any]] = set()

        async def send(partition: int) -> None:
            pending.add(await producer.send_batch(batches[partition], topic, partition=partition))
            batches[partition] = producer.create_batch()

        for conversation, number in ids:
            key = conversation.encode()
            value = form.replace(b"@KEY@", key).replace(b"@NUMBER@", str(number).encode())
            partition = partition_of(key, partitions)
            now = int(time.time() * 1000)
            while batches[partition].append(key=key, value=value, timestamp=now, headers=headers) is None:
                await send(partition)
        for partition, batch in enumerate(batches):
            if batch.record_count():
                await send(partition)
        await asyncio.gather(*pending)
    finally:
        await producer.stop()


@dataclass(frozen=True)
class Consumer:
    """A running keyed subscriber and what it tells of itself."""

    subscriber: KeyOrderedSubscriber
    registry: CollectorRegistry

    def metric(self, name: str) -> float | None:
        """Return a metric without labels, None where this version of the subscriber has none of that name."""
        return self.registry.get_sample_value(name)

    def paused(self) -> int:
        """How many partitions reading has been paused on at this moment."""
        consumer = self.subscriber.consumer
        return len(consumer.paused()) if consumer is not None else 0

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this consumer holds."""
        consumer = self.subscriber.consumer
        return frozenset(consumer.assignment()) if consumer is not None else frozenset()


def subscriber_of(
    broker: KafkaBroker,
    settings: KafkaSettings,
    topic: str,
    group: str,
    handler: Handler,
    *,
    registry: CollectorRegistry,
) -> KeyOrderedSubscriber:
    """Register our subscriber with a broker that is not started yet."""
    return key_ordered_subscriber(
        broker,
        topic,
        group=group,
        handler=handler,
        settings=settings,
        metrics=KafkaMetrics(registry),
        clock=SystemClock(),
    )


@asynccontextmanager
async def consuming(settings: KafkaSettings, topic: str, group: str, handler: Handler) -> AsyncIterator[Consumer]:
    """Run our subscriber as a service runs it, for as long as the context is open."""
    broker = kafka_broker(settings, client_id="bench")
    registry = CollectorRegistry()
    subscriber = subscriber_of(broker, settings, topic, group, handler, registry=registry)
    link = KafkaLink(broker, [topic])
    async with link.running():
        async with asyncio.timeout(STARTUP):
            await link.started.wait()
        yield Consumer(subscriber, registry)


async def offsets_of(bootstrap: str, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return what a group has committed, with the metadata beside each offset."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
        return found
    finally:
        await admin.close()


async def until(condition: Callable[[], bool], within: float, what: str, every: float = 0.005) -> None:
    """Wait for a condition. Raises TimeoutError that says what was waited for."""
    give_up = time.monotonic() + within
    while not condition():
        if time.monotonic() > give_up:
            raise TimeoutError(f"waited {within:g} s for {what}")
        await asyncio.sleep(every)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' own ratios: each compares two runs that lay side by side in time."""
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def resident_bytes() -> int:
    """Return the memory this process holds now (Linux), elsewhere the most it ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
