"""The tasks that work off lanes: few when nothing waits, one for every lane that does.

A task costs as much as a third of a record's handling, so only a lane that waits gets one to itself.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable

import structlog

from common.kafka.lanes import Lane

log = structlog.get_logger("kafka")


class Workers:
    """Works off lane after lane with `work`, which returns when its lane has no records any more."""

    def __init__(self, work: Callable[[Hashable, Lane], Awaitable[None]]) -> None:
        self._work = work
        self._tasks: set[asyncio.Task[None]] = set()
        self._fresh: deque[tuple[Hashable, Lane]] = deque()
        self._one_comes = False

    def __len__(self) -> int:
        """Return how many tasks are at work, or about to be."""
        return len(self._tasks)

    def take(self, key: Hashable, lane: Lane) -> None:
        """Take on a lane that has just got its first record."""
        self._fresh.append((key, lane))
        self._call()

    def _call(self) -> None:
        """See to it that somebody comes for the lanes that nobody has taken yet."""
        if self._fresh and not self._one_comes:
            self._one_comes = True
            task = asyncio.create_task(self._work_off(), name="lanes")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work_off(self) -> None:
        """Work off lane after lane; where one makes us wait, the worker called meanwhile takes the next."""
        self._one_comes = False
        while self._fresh:
            key, lane = self._fresh.popleft()
            self._call()
            await self._work(key, lane)

    async def finish(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until nobody works any more."""
        tasks = list(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            if late:
                log.warning("lanes.not_drained", late=len(late), timeout=timeout)

    async def cancel(self) -> None:
        """End all work where it is."""
        self._fresh.clear()
        self._one_comes = False
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
