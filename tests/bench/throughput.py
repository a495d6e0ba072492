"""Records per second: against FastStream's own loop with no work at all, and against the ideal with 50 ms of work."""

import asyncio
import cProfile
import gc
import pstats
import statistics
import time
from dataclasses import dataclass, field

from faststream.middlewares import AckPolicy
from prometheus_client import CollectorRegistry
from rig import (
    STARTUP,
    Handler,
    Row,
    consuming,
    create_topic,
    fill,
    fresh,
    median_ratio,
    round_robin,
    settings_for,
    subscriber_of,
)

from common.events import AnyEvent
from common.kafka.broker import kafka_broker
from common.kafka.link import KafkaLink
from common.settings import KafkaSettings

IDLE_RECORDS = 40_000
IDLE_ROUNDS = 5
BUSY_RECORDS = 10_000
BUSY_ROUNDS = 3
KEYS = 2_000
WORK = 0.05
SLOTS = 100
LONGEST_RUN = 60.0

IDLE_GOAL = 0.8
BUSY_GOAL = 0.9
COMMITS_GOAL = 2.0
"""Times as many commits as the commit interval alone would make: a rebalance and the end add one each."""


class Stopwatch:
    """A handler's clock: from the first record that begins to the last one that is done."""

    def __init__(self, records: int) -> None:
        self._left = records
        self._first = 0.0
        self._last = 0.0
        self._cpu = 0.0
        self._done = asyncio.Event()

    def begin(self) -> None:
        """Note that a record begins."""
        if not self._first:
            self._first, self._cpu = time.perf_counter(), time.process_time()

    def finish(self) -> None:
        """Note that a record is done."""
        self._left -= 1
        if not self._left:
            self._last, self._cpu = time.perf_counter(), time.process_time() - self._cpu
            self._done.set()

    @property
    def cpu_seconds(self) -> float:
        """What this process computed for them, which other processes of the machine do not change."""
        return self._cpu

    async def seconds(self) -> float:
        """Wait for the last record and return how long they all took. Raises TimeoutError."""
        async with asyncio.timeout(LONGEST_RUN):
            await self._done.wait()
        return self._last - self._first


def idle_handler(watch: Stopwatch) -> Handler:
    """Return the handler that does nothing."""

    async def handler(_: AnyEvent) -> None:
        watch.begin()
        watch.finish()

    return handler


def busy_handler(watch: Stopwatch) -> Handler:
    """Return the handler that waits, as for a model's answer."""

    async def handler(_: AnyEvent) -> None:
        watch.begin()
        await asyncio.sleep(WORK)
        watch.finish()

    return handler


async def keyed(settings: KafkaSettings, topic: str, watch: Stopwatch, handler: Handler) -> tuple[float, float]:
    """Consume the topic with our subscriber; return the seconds it took and its commits per second."""
    gc.collect()
    async with consuming(settings, topic, fresh("keyed"), handler) as consumer:
        seconds = await watch.seconds()
        return seconds, (consumer.metric("kafka_commits_total") or 0.0) / seconds


async def ack_first(settings: KafkaSettings, topic: str, watch: Stopwatch, handler: Handler) -> float:
    """Consume the topic with FastStream's default subscriber, told to fetch as ours does; return the seconds."""
    never_started = kafka_broker(settings, client_id="bench")
    ours = subscriber_of(never_started, settings, topic, "never-started", handler, registry=CollectorRegistry())
    fetching = {name: value for name, value in ours._connection_args.items() if name != "enable_auto_commit"}
    broker = kafka_broker(settings, client_id="bench")
    theirs = broker.subscriber(
        topic, group_id=fresh("ack-first"), ack_policy=AckPolicy.ACK_FIRST, no_reply=True, **fetching
    )
    theirs(handler)
    gc.collect()
    link = KafkaLink(broker, [topic])
    async with link.running():
        async with asyncio.timeout(STARTUP):
            await link.started.wait()
        return await watch.seconds()


@dataclass
class Idle:
    """The rounds of the run without work."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    commits: list[float] = field(default_factory=list)
    our_cost: list[float] = field(default_factory=list)
    their_cost: list[float] = field(default_factory=list)


async def idle(bootstrap: str) -> list[Row]:
    """Compare with FastStream's own loop, alternating who goes first."""
    settings = settings_for(bootstrap)
    topic = await create_topic(bootstrap, fresh("idle"))
    await fill(bootstrap, topic, round_robin(KEYS, IDLE_RECORDS))
    rounds = Idle()

    async def our_turn() -> None:
        watch = Stopwatch(IDLE_RECORDS)
        seconds, commits = await keyed(settings, topic, watch, idle_handler(watch))
        rounds.ours.append(IDLE_RECORDS / seconds)
        rounds.commits.append(commits)
        rounds.our_cost.append(watch.cpu_seconds / IDLE_RECORDS * 1e6)

    async def their_turn() -> None:
        watch = Stopwatch(IDLE_RECORDS)
        rounds.theirs.append(IDLE_RECORDS / await ack_first(settings, topic, watch, idle_handler(watch)))
        rounds.their_cost.append(watch.cpu_seconds / IDLE_RECORDS * 1e6)

    for number in range(IDLE_ROUNDS):
        for turn in (our_turn, their_turn) if number % 2 else (their_turn, our_turn):
            await turn()
    ratio = median_ratio(rounds.ours, rounds.theirs)
    commits, bound = statistics.median(rounds.commits), COMMITS_GOAL / settings.commit_interval
    return [
        Row("no work", "ours", statistics.median(rounds.ours), "records/s"),
        Row("no work", "FastStream ACK_FIRST", statistics.median(rounds.theirs), "records/s"),
        Row("no work", "ours / FastStream", ratio, "", f"≥ {IDLE_GOAL:g}", ratio >= IDLE_GOAL),
        Row("no work", "ours, computing", statistics.median(rounds.our_cost), "µs/record"),
        Row("no work", "FastStream ACK_FIRST, computing", statistics.median(rounds.their_cost), "µs/record"),
        Row("no work", "commits", commits, "1/s", f"≤ {bound:g}", commits <= bound),
    ]


async def without_kafka(records: int) -> float:
    """Return the seconds the same waiting takes in a bare loop: what the machine itself allows at this moment."""
    slots = asyncio.Semaphore(SLOTS)

    async def one() -> None:
        async with slots:
            await asyncio.sleep(WORK)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(records):
            tasks.create_task(one())
    return time.perf_counter() - begun


async def busy(bootstrap: str) -> list[Row]:
    """Compare with what 100 slots of 50 ms can do at most."""
    settings = settings_for(bootstrap, max_working=SLOTS)
    topic = await create_topic(bootstrap, fresh("busy"))
    await fill(bootstrap, topic, round_robin(KEYS, BUSY_RECORDS))
    ideal = SLOTS / WORK
    ours: list[float] = []
    bare: list[float] = []
    cost: list[float] = []
    for _ in range(BUSY_ROUNDS):
        bare.append(BUSY_RECORDS / 4 / await without_kafka(BUSY_RECORDS // 4))
        watch = Stopwatch(BUSY_RECORDS)
        seconds, _ = await keyed(settings, topic, watch, busy_handler(watch))
        ours.append(BUSY_RECORDS / seconds)
        cost.append(watch.cpu_seconds / BUSY_RECORDS * 1e6)
    rate = statistics.median(ours)
    return [
        Row("50 ms, 100 slots", "ours", rate, "records/s"),
        Row("50 ms, 100 slots", "a bare loop without Kafka", statistics.median(bare), "1/s"),
        Row("50 ms, 100 slots", "ours, computing", statistics.median(cost), "µs/record"),
        Row(
            "50 ms, 100 slots",
            f"ours / ideal {ideal:g}",
            rate / ideal,
            "",
            f"≥ {BUSY_GOAL:g}",
            rate / ideal >= BUSY_GOAL,
        ),
    ]


async def measure(bootstrap: str) -> list[Row]:
    """Run both comparisons."""
    return [*await idle(bootstrap), *await busy(bootstrap)]


async def profile(bootstrap: str, lines: int = 45) -> list[Row]:
    """Print where the time of the run without work goes, per function."""
    settings = settings_for(bootstrap)
    topic = await create_topic(bootstrap, fresh("profile"))
    await fill(bootstrap, topic, round_robin(KEYS, IDLE_RECORDS))
    watch = Stopwatch(IDLE_RECORDS)
    profiler = cProfile.Profile()
    profiler.enable()
    await keyed(settings, topic, watch, idle_handler(watch))
    profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(lines)
    return []
