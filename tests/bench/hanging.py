"""One conversation that hangs: how long the others' records then take, and whether reading is held up for them.

A record's latency is counted from the moment it was *due* to be written, so a stall that holds up the writing too is
counted and not hidden. Runs with and without the hanging conversation alternate.
"""

import asyncio
import gc
import random
import statistics
import time
from dataclasses import dataclass
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from rig import Consumer, Row, consuming, create_topic, fresh, median_ratio, message, percentile, settings_for, until

from common.events import AnyEvent
from common.settings import KafkaSettings

CONVERSATIONS = 1_000
RATE = 400.0
"""Records per second: a fifth of what the slots can do, and well below what one core decodes."""
SECONDS = 8.0
WARM_UP = 1.0
WORK = 0.01
ROUNDS = 3
HANGING = "c0"
HANGING_SHARE = 0.01
"""The hanging customer keeps writing, ten times as often as the others."""

P99_GOAL = 2.0


@dataclass(frozen=True)
class Run:
    """What one run saw of the conversations that do not hang. Times in seconds."""

    median: float
    p99: float
    slowest: float
    paused: int
    waiting: int
    """Records of the hanging conversation that came meanwhile."""


class Conversations:
    """The handler: a little work for each record; one conversation can be made to hang until it is let go."""

    def __init__(self, *, hang: bool) -> None:
        self._hang = hang
        self._let_go = asyncio.Event()
        self.latencies: list[float] = []
        self.counting_from = float("inf")

    async def handle(self, event: AnyEvent) -> None:
        """Handle one record and note how long after its due time it is done."""
        if event.partitionkey == HANGING:
            if self._hang:
                await self._let_go.wait()
            return
        await asyncio.sleep(WORK)
        due = event.time.timestamp()
        if due >= self.counting_from:
            self.latencies.append(time.time() - due)

    def let_go(self) -> None:
        """End the hanging, so that the consumer can stop."""
        self._hang = False
        self._let_go.set()


async def traffic(producer: AIOKafkaProducer, topic: str, seconds: float, seed: int) -> tuple[int, int]:
    """Write records at a steady rate; return how many there were for the hanging conversation and for the others."""
    order = [f"c{number}" for number in range(1, CONVERSATIONS)]
    chance = random.Random(seed)
    hanging = others = 0
    begun = time.time()
    for number in range(int(RATE * seconds)):
        due = begun + number / RATE
        if (ahead := due - time.time()) > 0:
            await asyncio.sleep(ahead)
        if number % len(order) == 0:
            chance.shuffle(order)
        if number == 0 or chance.random() < HANGING_SHARE:
            conversation, hanging = HANGING, hanging + 1
        else:
            conversation, others = order[number % len(order)], others + 1
        event = message(conversation, number, datetime.fromtimestamp(due, UTC))
        await producer.send(topic, event.to_json(), key=conversation.encode(), timestamp_ms=int(due * 1000))
    return hanging, others


async def most_paused(consumer: Consumer) -> int:
    """Watch until cancelled; return the most partitions that were paused at one moment."""
    most = 0
    try:
        while True:
            most = max(most, consumer.paused(), int(consumer.metric("kafka_paused_partitions") or 0))
            await asyncio.sleep(0.02)
    except asyncio.CancelledError:
        return most


async def once(settings: KafkaSettings, topic: str, *, hang: bool, seed: int) -> Run:
    """Run steady traffic through one consumer."""
    conversations = Conversations(hang=hang)
    group = fresh("hanging" if hang else "undisturbed")
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, linger_ms=1, acks=1)
    await producer.start()
    try:
        gc.collect()
        async with consuming(settings, topic, group, conversations.handle) as consumer:
            watching = asyncio.create_task(most_paused(consumer))
            await until(lambda: bool(consumer.assignment()), 30, "an assignment")
            conversations.counting_from = time.time() + WARM_UP
            waiting, others = await traffic(producer, topic, WARM_UP + SECONDS, seed)
            counted = int(RATE * SECONDS * (1 - 2 * HANGING_SHARE))
            await until(lambda: len(conversations.latencies) >= min(others, counted), 20, "the others' records")
            watching.cancel()
            paused = await watching
            conversations.let_go()
    finally:
        await producer.stop()
    seen = conversations.latencies
    return Run(statistics.median(seen), percentile(seen, 0.99), max(seen), paused, waiting)


async def measure(bootstrap: str) -> list[Row]:
    """Alternate undisturbed runs and runs with one hanging conversation."""
    settings = settings_for(bootstrap)
    calm: list[Run] = []
    disturbed: list[Run] = []
    for number in range(ROUNDS):
        for hang in (False, True) if number % 2 else (True, False):
            topic = await create_topic(bootstrap, fresh("hanging"))
            (disturbed if hang else calm).append(await once(settings, topic, hang=hang, seed=number))
    ratio = median_ratio([run.p99 for run in disturbed], [run.p99 for run in calm])
    paused = max(run.paused for run in disturbed)
    part = f"1 of {CONVERSATIONS} hangs"
    return [
        Row(part, "others' median, undisturbed", 1000 * statistics.median(run.median for run in calm), "ms"),
        Row(part, "others' median, one hanging", 1000 * statistics.median(run.median for run in disturbed), "ms"),
        Row(part, "others' p99, undisturbed", 1000 * statistics.median(run.p99 for run in calm), "ms"),
        Row(part, "others' p99, one hanging", 1000 * statistics.median(run.p99 for run in disturbed), "ms"),
        Row(part, "p99 hanging / undisturbed", ratio, "", f"≤ {P99_GOAL:g}", ratio <= P99_GOAL),
        Row(part, "records waiting behind it", statistics.median(run.waiting for run in disturbed) - 1, ""),
        Row(part, "partitions paused at most", paused, "", "0", paused == 0, must=True),
    ]
