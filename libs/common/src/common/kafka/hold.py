"""What a handler can ask about the record in its hands: is it still ours, and is something behind it in its lane?

The subscriber lays the record's `Hold` into a context variable before it calls the handler, so whatever the handler
calls can ask, however deep, and handlers called by a test without Kafka get one that owns everything and has nothing
behind it.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Protocol, TypeVar

from common.errors import Retryable
from common.events import AnyEvent
from common.tombstones import Position


class OwnershipLost(Retryable):
    """The partition of the record went to another replica: whoever has it now does what is left to do."""


Wanted = Callable[[AnyEvent], bool]
T = TypeVar("T")


class Hold(Protocol):
    """One record in its lane."""

    @property
    def owned(self) -> bool:
        """Whether the record's partition is still ours, in the same epoch in which the record was read."""
        ...

    @property
    def partition(self) -> int | None:
        """The partition it was read from, the same number in every topic of its conversation; None without Kafka."""
        ...

    @property
    def line(self) -> Hashable:
        """The line in which it waits for a place among those who work: free places go round between lines."""
        ...

    def later(self, wanted: Wanted) -> bool:
        """Tell whether a record that `wanted` accepts waits behind this one."""
        ...

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:
        """Wait up to `seconds` for such a record; True when there is one.

        Raises OwnershipLost when the lane is drained meanwhile.
        """
        ...

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        """Wait for something that is not work, while others use the record's place among those who work.

        Raises OwnershipLost, and cancels what was awaited, when the lane is drained meanwhile.
        """
        ...


class _Alone:
    """The hold of a handler that no subscriber called."""

    @property
    def owned(self) -> bool:
        return True

    @property
    def partition(self) -> int | None:
        return None

    @property
    def line(self) -> Hashable:
        return None

    def later(self, wanted: Wanted) -> bool:  # noqa: ARG002 the protocol's name
        return False

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:  # noqa: ARG002 the protocol's names
        return False

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        return await awaited


_ALONE = _Alone()
_held: ContextVar[Hold] = ContextVar("record in hand")


def hold() -> Hold:
    """Return what is known of the record in hand."""
    return _held.get(_ALONE)


def hand(record: Hold) -> None:
    """Lay a record into the hands of whatever the current task calls from here on."""
    _held.set(record)


def positions() -> Sequence[Position]:
    """Return where the current record lies, and where it lay before it was published again as a dead letter.

    Empty in a test without Kafka, and for a record context that does not know.
    """
    found: Sequence[Position] = getattr(hold(), "positions", ())
    return found


def refuse_if_lost() -> None:
    """Raise OwnershipLost where an effect would begin under an epoch that has ended."""
    if not hold().owned:
        raise OwnershipLost("its partition is with another replica")
