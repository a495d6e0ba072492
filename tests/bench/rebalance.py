"""A second replica joins while 100 records are being worked on: how long the handing over takes, and whose they are.

Both replicas live in this process, so that one clock says who worked on what and when.
"""

import asyncio
import gc
import random
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rig import (
    PARTITIONS,
    Handler,
    Row,
    consuming,
    create_topic,
    fill,
    fresh,
    out_of_order,
    partition_of,
    round_robin,
    settings_for,
    until,
    with_busy_ones,
)

from common.events import AnyEvent
from common.kafka.hold import hold
from common.settings import KafkaSettings

CONVERSATIONS = 2_000
RECORDS = 8_000
WORK = (0.05, 0.35)
"""Seconds, evenly spread, so that records end in another order than they began."""
SLOTS = 100
ROUNDS = 3
FINISH = 60.0

LONG_WORK = 9.0
LONG_RECORDS = 50
SESSION = 6.0


@dataclass
class Stretch:
    """One replica's work on one record."""

    owner: str
    key: str
    id: str
    begun: float
    ended: float = float("inf")

    @property
    def done(self) -> bool:
        """Whether it was worked on to the end."""
        return self.ended != float("inf")


def overlaps(stretches: Iterable[Stretch]) -> int:
    """Count the pairs in which two replicas worked on one conversation at the same time."""
    by_key: dict[str, list[Stretch]] = defaultdict(list)
    for one in stretches:
        by_key[one.key].append(one)
    return sum(
        earlier.ended > later.begun
        for same in by_key.values()
        for ordered in [sorted(same, key=lambda one: one.begun)]
        for index, earlier in enumerate(ordered)
        for later in ordered[index + 1 :]
        if earlier.owner != later.owner
    )


def first_completions(stretches: Iterable[Stretch]) -> Iterator[str]:
    """Yield each record's id once, when it was first done."""
    done = sorted((one for one in stretches if one.done), key=lambda one: one.ended)
    return iter(dict.fromkeys(one.id for one in done))


@dataclass(frozen=True)
class Run:
    """One joining. Times in seconds from the moment the second replica was started."""

    noticed: float
    handed_over: float
    second_handling: float
    in_flight: int
    overlapping: int
    after_the_fence: int
    twice: int
    lost: int
    disordered: int


class Ledger:
    """Everything both replicas did."""

    def __init__(self) -> None:
        self.stretches: list[Stretch] = []
        self.working: Counter[str] = Counter()
        self.done: set[str] = set()

    def handler_of(self, owner: str) -> Handler:
        """Return the handler of one replica."""
        chance = random.Random(owner)

        async def handler(event: AnyEvent) -> None:
            stretch = Stretch(owner, event.partitionkey, event.id, time.perf_counter())
            self.stretches.append(stretch)
            self.working[owner] += 1
            try:
                await asyncio.sleep(chance.uniform(*WORK))
                stretch.ended = time.perf_counter()
                self.done.add(event.id)
            finally:
                self.working[owner] -= 1

        return handler

    def begun_by(self, owner: str) -> list[Stretch]:
        """Return one replica's work in the order in which it began."""
        return [one for one in self.stretches if one.owner == owner]


async def once(settings: KafkaSettings, topic: str) -> Run:
    """Let a second replica join the first one under load, and wait until every record is done."""
    ledger = Ledger()
    group = fresh("rebalance")
    gc.collect()
    async with consuming(settings, topic, group, ledger.handler_of("first")) as first:
        await until(lambda: ledger.working["first"] >= SLOTS, 30, "100 records in flight")
        everything = first.assignment()
        in_flight = ledger.working["first"]
        joined = time.perf_counter()

        async def handed_over() -> float:
            await until(lambda: 0 < len(first.assignment()) < len(everything), FINISH, "handing over", every=0.001)
            return time.perf_counter()

        watching = asyncio.create_task(handed_over())
        async with consuming(settings, topic, group, ledger.handler_of("second")):
            over = await watching
            await until(lambda: bool(ledger.begun_by("second")), FINISH, "the second replica's first record")
            kept = {partition.partition for partition in first.assignment()}
            await until(lambda: len(ledger.done) == RECORDS, FINISH, "all records", every=0.02)
    second = min(one.begun for one in ledger.begun_by("second"))
    before = [one for one in ledger.begun_by("first") if one.begun < over]
    times_done = Counter(one.id for one in ledger.stretches if one.done)
    return Run(
        noticed=max(one.begun for one in before) - joined,
        handed_over=over - joined,
        second_handling=second - joined,
        in_flight=in_flight,
        overlapping=overlaps(ledger.stretches),
        after_the_fence=sum(
            one.ended > second and partition_of(one.key.encode(), PARTITIONS) not in kept
            for one in ledger.begun_by("first")
        ),
        twice=sum(times > 1 for times in times_done.values()),
        lost=RECORDS - len(times_done),
        disordered=out_of_order(first_completions(ledger.stretches)),
    )


async def in_long_work(bootstrap: str) -> tuple[int, int]:
    """Let a second replica join while the first is at work that takes longer than a session, but not than a drain.

    Returns how many conversations the first still called its own when the second was at work on them, and how many
    records the second did again.
    """
    settings = settings_for(bootstrap, session_timeout=SESSION, drain_timeout=2 * LONG_WORK)
    topic = await create_topic(bootstrap, fresh("long-work"))
    await fill(bootstrap, topic, round_robin(LONG_RECORDS, LONG_RECORDS))
    group = fresh("long-work")
    owned_until: dict[str, float] = {}
    begun_by_second: dict[str, float] = {}

    async def first_handler(event: AnyEvent) -> None:
        ends = time.perf_counter() + LONG_WORK
        while time.perf_counter() < ends:
            if hold().owned:
                owned_until[event.id] = time.perf_counter()
            await asyncio.sleep(0.02)

    async def second_handler(event: AnyEvent) -> None:
        begun_by_second[event.id] = time.perf_counter()

    async with consuming(settings, topic, group, first_handler) as first:
        await until(lambda: len(owned_until) == LONG_RECORDS, 30, "the long work to begin")
        everything = len(first.assignment())
        async with consuming(settings, topic, group, second_handler) as second:
            await until(lambda: 0 < len(second.assignment()) < everything, FINISH, "sharing", every=0.02)
    both = sum(begun < owned_until[one] for one, begun in begun_by_second.items())
    return both, len(begun_by_second)


async def measure(bootstrap: str) -> list[Row]:
    """Repeat the joining on the same records."""
    settings = settings_for(bootstrap, max_working=SLOTS)
    topic = await create_topic(bootstrap, fresh("rebalance"))
    await fill(bootstrap, topic, with_busy_ones(CONVERSATIONS, RECORDS))
    runs = [await once(settings, topic) for _ in range(ROUNDS)]
    both, again = await in_long_work(bootstrap)
    part = "a second replica joins"

    def middle(name: str) -> float:
        return statistics.median(getattr(run, name) for run in runs)

    def never(figure: str, name: str) -> Row:
        total = sum(getattr(run, name) for run in runs)
        return Row(part, figure, total, "", "0", total == 0, must=True)

    return [
        Row(part, "records in flight then", middle("in_flight"), ""),
        Row(part, "first begins nothing more after", middle("noticed"), "s"),
        Row(part, "first drained and handed over after", middle("handed_over"), "s"),
        Row(part, "second handles after", middle("second_handling"), "s"),
        never("two replicas on one conversation at once", "overlapping"),
        never("worked on by the first after the second began", "after_the_fence"),
        never("lost", "lost"),
        never("out of order", "disordered"),
        Row(part, "handled twice", middle("twice"), "records"),
        Row(f"{LONG_WORK:g} s of work then", "called their own by both at once", both, "", "0", both == 0, must=True),
        Row(f"{LONG_WORK:g} s of work then", "begun again by the second", again, "", "0", again == 0),
    ]
