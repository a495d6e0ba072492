"""How many may work at once. Like a semaphore, but taking a free slot costs no coroutine."""

import asyncio
from collections import deque


class Slots:
    """A bound on what is worked on at once; who waits is served in the order of asking."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._free = slots
        self._waiting: deque[asyncio.Future[None]] = deque()

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

    async def acquire(self) -> None:
        """Wait for a slot."""
        if self.take():
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release()
            raise

    def release(self) -> None:
        """Give a slot to whoever has waited longest, or back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
