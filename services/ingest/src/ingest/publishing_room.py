"""Signed bodies whose events are being published: bounded in number and in bytes, by account and at all.

Signed traffic is never throttled: what is over an account's share in bytes waits for the account's own earlier bodies,
for no longer than Kafka would be waited for, and an account's later bodies wait behind it: none overtakes another. So
one account's large bodies delay that account.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class NoRoom(Exception):
    """Too much is being published already: the sender must come again."""


class PublishingRoom:
    """Room for what is being published.

    An account may take three quarters of the requests and half of the bytes, or any amount of bytes while it takes no
    others.
    """

    def __init__(self, *, max_requests: int, max_bytes: int, max_wait: float) -> None:
        self._max_requests, self._max_bytes, self._max_wait = max_requests, max_bytes, max_wait
        self._requests: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._waiting: dict[str, deque[object]] = {}
        self._left = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, account: str, size: int) -> AsyncIterator[None]:
        """Take room for `size` bytes while the context is open. Raises NoRoom, at once or after `max_wait` seconds."""
        share = self._max_requests - self._max_requests // 4
        if self._requests.total() >= self._max_requests or self._requests[account] >= share:
            raise NoRoom
        self._requests[account] += 1
        try:
            await self._take(account, size)
            try:
                yield
            finally:
                self._give_back(self._bytes, account, size)
                if self._waiting:
                    async with self._left:
                        self._left.notify_all()
        finally:
            self._give_back(self._requests, account, 1)

    async def _take(self, account: str, size: int) -> None:
        if account in self._waiting or not self._fits(account, size):
            await self._wait(account, size)
        self._bytes[account] += size

    async def _wait(self, account: str, size: int) -> None:
        """Return when the account's earlier bodies have gone on and this one fits. Raises NoRoom."""
        queue, ticket = self._waiting.setdefault(account, deque()), object()
        queue.append(ticket)
        try:
            async with asyncio.timeout(self._max_wait), self._left:
                await self._left.wait_for(lambda: queue[0] is ticket and self._fits(account, size))
        except TimeoutError:
            raise NoRoom from None
        finally:
            queue.remove(ticket)
            if not queue:
                del self._waiting[account]

    def _fits(self, account: str, size: int) -> bool:
        own, all_bytes = self._bytes[account], self._bytes.total()
        return (not own or own + size <= self._max_bytes // 2) and (
            not all_bytes or all_bytes + size <= self._max_bytes
        )

    @staticmethod
    def _give_back(counts: Counter[str], account: str, amount: int) -> None:
        counts[account] -= amount
        if not counts[account]:
            del counts[account]
