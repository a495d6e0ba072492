"""How many may work at once. Like a semaphore, but taking a free slot costs no coroutine, and free ones go round.

A merchant's broadcast puts a thousand records in front of everybody else's next answer. Were slots given in the order
of asking, that answer would wait until each of the thousand had its first step.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

Waiter = asyncio.Future[None]


class Slots:
    """A bound on what is worked on at once. Lines that wait are served in turn, each in the order of asking."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = slots
        self._waiting: OrderedDict[Hashable, deque[Waiter]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many slots are in use."""
        return self._slots - self._free

    def take(self) -> bool:
        """Take a slot if one is free."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def acquire(self, line: Hashable = None) -> None:
        """Wait for a slot in a line."""
        if self.take():
            return
        turn: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(line, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot to the first of the line whose turn it is, or back."""
        while self._waiting:
            line, waiting = self._waiting.popitem(last=False)
            turn = waiting.popleft()
            if waiting:
                self._waiting[line] = waiting
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
