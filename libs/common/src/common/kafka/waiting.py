"""How a handler waits for something that is not work: its place is free for others meanwhile, and a drain ends it.

A turn that waits for the customer's next message, a send that waits for an observation: were they counted among those
who work, a few quiet conversations would keep all the others from being answered.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from typing import TypeVar

from common.kafka.dead_letters import origin_of
from common.kafka.hold import OwnershipLost, Wanted, hold
from common.kafka.keys import account_of
from common.kafka.lanes import Entry, Lane, Lanes
from common.kafka.ownership import Ownership
from common.kafka.slots import Slots
from common.tombstones import Position

T = TypeVar("T")


class Waiting:
    """The waits of those who hold a place among `working`. A wait that a drain ends raises OwnershipLost."""

    def __init__(self, working: Slots, ownership: Ownership) -> None:
        self._working = working
        self._ownership = ownership

    @contextlib.asynccontextmanager
    async def _elsewhere(self) -> AsyncIterator[None]:
        """Give one's place to those who can work, and take one again."""
        line = hold().line
        self._working.release(line)
        try:
            yield
        finally:
            await self._working.acquire(line)

    async def later_within(self, lane: Lane, wanted: Wanted, seconds: float) -> bool:
        """Wait up to `seconds` for a wanted record behind the one in hand; True when there is one."""
        give_up, drain = time.monotonic() + seconds, self._ownership.draining
        try:
            async with self._elsewhere():
                while not (found := lane.has_later(wanted)) and (left := give_up - time.monotonic()) > 0:
                    lane.arrived = asyncio.Event()
                    await _first_of(lane.arrived, drain, within=left)
                    _refuse_after(drain)
                return found
        finally:
            lane.arrived = None

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        """Wait for something, and cancel it when a drain begins meanwhile."""
        drain = self._ownership.draining
        drained = asyncio.create_task(drain.wait())
        try:
            async with self._elsewhere():
                await asyncio.wait((awaited, drained), return_when=asyncio.FIRST_COMPLETED)
            _refuse_after(drain)
            return await awaited
        finally:
            drained.cancel()
            awaited.cancel()

    async def at_rest(self, lanes: Lanes, key: Hashable, within: float) -> None:
        """Wait until another lane than that of the record in hand has no records. Raises TimeoutError.

        During a drain what waited is let go, so a lane without records took nothing in.
        """
        drain = self._ownership.draining
        while not lanes.rests(key):  # more may have come while we waited for a place among those who work
            async with self._elsewhere(), asyncio.timeout(within):
                await lanes.at_rest(key)
        _refuse_after(drain)


def _refuse_after(drain: asyncio.Event) -> None:
    """Refuse also where that drain is over by now: while one waits for a place again, the next epoch may begin."""
    if drain.is_set():
        raise OwnershipLost("its lane was drained")


async def _first_of(*events: asyncio.Event, within: float) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class InHand:
    """What a handler may ask about the record that a subscriber gave it (`common.kafka.hold.Hold`)."""

    __slots__ = ("_entry", "_lane", "_ownership", "_waiting")

    def __init__(self, ownership: Ownership, waiting: Waiting, lane: Lane, entry: Entry) -> None:
        self._ownership = ownership
        self._waiting = waiting
        self._lane = lane
        self._entry = entry

    @property
    def owned(self) -> bool:
        """Whether the record's partition is still ours, in the same epoch in which the record was read."""
        return self._ownership.may_act(self._entry.epoch)

    @property
    def partition(self) -> int | None:
        """The partition it was read from."""
        return int(self._entry.record.partition)

    @property
    def positions(self) -> Sequence[Position]:
        """Where the record lies; a dead letter that was published again also where it lay first."""
        record = self._entry.record
        here = Position(record.topic, record.partition, record.offset, record.timestamp)
        first = origin_of(record)
        return (here,) if first is None else (here, first)

    @property
    def line(self) -> Hashable:
        """Its account's line in its topic: neither another account's broadcast nor its own goes before its answers."""
        return self._entry.record.topic, account_of(self._entry.record.key)

    def later(self, wanted: Wanted) -> bool:
        """Tell whether a wanted record waits behind this one."""
        return self._lane.has_later(wanted)

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:
        """Wait up to `seconds` for such a record."""
        return await self._waiting.later_within(self._lane, wanted, seconds)

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        """Wait for something that is not work."""
        return await self._waiting.wait_for(awaited)
