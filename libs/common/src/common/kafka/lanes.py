"""The lanes: what waits behind what.

A lane's records are handled one after another by one task, which lives for as long as the lane has records. Whoever
needs to know whether a lane is at rest, or whether anything comes into it from now on, can watch it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from aiokafka import ConsumerRecord, TopicPartition

from common.events import ANY_EVENT, AnyEvent
from common.kafka.hold import Wanted
from common.kafka.keys import account_of
from common.kafka.progress import PartitionProgress


class Entry:
    """One record in its lane, with the epoch and the progress of its partition under which it was read."""

    __slots__ = ("_event", "epoch", "partition", "progress", "record", "size")

    def __init__(
        self,
        record: ConsumerRecord,
        partition: TopicPartition,
        progress: PartitionProgress,
        epoch: int,
        size: int = 0,
    ) -> None:
        self.record = record
        self.partition = partition
        self.progress = progress
        self.epoch = epoch
        self.size = size
        """The bytes it takes in memory, about."""
        self._event: AnyEvent | None = None

    @property
    def flow(self) -> tuple[str, bytes]:
        """Whose budget it uses: its account's in its topic."""
        return self.record.topic, account_of(self.record.key)

    def is_wanted(self, wanted: Wanted) -> bool:
        """Tell whether `wanted` accepts the record's event; no handler sees what is not an event of its key's."""
        if self._event is None:
            try:
                self._event = ANY_EVENT.validate_json(self.record.value or b"")
            except ValueError:
                return False
        return self.record.key == self._event.partitionkey.encode() and wanted(self._event)


class Lane:
    """The records of one lane, the first of them in hand."""

    __slots__ = ("arrived", "ended", "head_since", "waiting")

    def __init__(self, first: Entry) -> None:
        self.waiting: deque[Entry] = deque((first,))
        self.head_since = time.monotonic()
        self.arrived: asyncio.Event | None = None
        self.ended: asyncio.Event | None = None

    def append(self, entry: Entry) -> None:
        """Put a record at the end."""
        self.waiting.append(entry)
        if self.arrived is not None:
            self.arrived.set()

    def done(self) -> None:
        """Let go of the record in hand."""
        self.waiting.popleft()
        self.head_since = time.monotonic()

    def has_later(self, wanted: Wanted) -> bool:
        """Tell whether a wanted record waits behind the one in hand."""
        behind = iter(self.waiting)
        next(behind, None)
        return any(entry.is_wanted(wanted) for entry in behind)


class Watcher:
    """Knows whether anything came into a lane since it began to watch."""

    __slots__ = ("disturbed",)

    def __init__(self) -> None:
        self.disturbed = False


class Lanes:
    """All lanes of one assignment, and who watches them."""

    def __init__(self) -> None:
        self._lanes: dict[Hashable, Lane] = {}
        self._deferred: Counter[Hashable] = Counter()
        self._readmitted = asyncio.Event()
        self._watchers: dict[Hashable, set[Watcher]] = {}

    def __len__(self) -> int:
        """Return how many lanes have records."""
        return len(self._lanes)

    def put(self, key: Hashable, entry: Entry) -> Lane | None:
        """Put a record at the end of its lane. Returns the lane where it is new and has to be worked off."""
        self._disturb(key)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.append(entry)
            return None
        lane = self._lanes[key] = Lane(entry)
        return lane

    def defer(self, key: Hashable) -> None:
        """Note that a record of a lane was read and stays in the log for now: the lane is not at rest."""
        self._disturb(key)
        self._deferred[key] += 1

    def readmit(self, key: Hashable) -> None:
        """Note that a deferred record of a lane is deferred no longer."""
        self._deferred[key] -= 1
        if not self._deferred[key]:
            del self._deferred[key]
            self._readmitted.set()
            self._readmitted = asyncio.Event()

    def _disturb(self, key: Hashable) -> None:
        for watcher in self._watchers.get(key, ()):
            watcher.disturbed = True

    def end(self, key: Hashable, lane: Lane) -> None:
        """Forget a lane that has no records any more, or whose records were let go."""
        if self._lanes.get(key) is lane:
            del self._lanes[key]
        if lane.ended is not None:
            lane.ended.set()

    def forget(self) -> None:
        """Forget all lanes: the assignment ended. Whoever watches one has seen everything change."""
        self._lanes.clear()
        self._deferred.clear()
        self._readmitted.set()
        self._readmitted = asyncio.Event()
        for watchers in self._watchers.values():
            for watcher in watchers:
                watcher.disturbed = True

    def longest(self) -> float:
        """Return for how many seconds the slowest lane has been at its first record."""
        if not self._lanes:
            return 0.0
        return time.monotonic() - min(lane.head_since for lane in self._lanes.values())

    def rests(self, key: Hashable) -> bool:
        """Tell whether a lane has no records, here or deferred."""
        return key not in self._lanes and key not in self._deferred

    async def at_rest(self, key: Hashable) -> None:
        """Wait until a lane has no records; the caller bounds it."""
        while not self.rests(key):
            lane = self._lanes.get(key)
            if lane is None:
                await self._readmitted.wait()
            else:
                lane.ended = lane.ended or asyncio.Event()
                await lane.ended.wait()

    @contextmanager
    def watching(self, key: Hashable) -> Iterator[Watcher]:
        """Watch a lane from now on."""
        watcher = Watcher()
        self._watchers.setdefault(key, set()).add(watcher)
        try:
            yield watcher
        finally:
            watchers = self._watchers[key]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[key]
