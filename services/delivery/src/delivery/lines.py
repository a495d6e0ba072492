"""Who waits for a pass, in which order, and who is told to come back later instead.

There is a line for each meter, so one account's never delays another's; in it, answers come before what programs ask
for. Only who is soon to be served waits in line: who would wait longer is told when to come back, and meanwhile takes
part in nothing but their lane.
"""

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable

from common.errors import Paced
from common.kafka.hold import hold
from delivery.meters import Meters, Pass
from delivery.metrics import PaceMetrics
from delivery.rate_limits import Meter

PATIENCE = 2.0
"""Seconds: who has to wait longer comes back later."""
EARLY = 1.0
"""Seconds before their turn at which they do, so that the line is never empty while somebody is away."""
LONGEST_AWAY = 900.0
SHORTEST_AWAY = 0.2
MOST_LINES = 1000
"""Lines kept before those for which nobody comes back any more are forgotten."""
LOOK_AGAIN = 0.25
"""Seconds between two looks whether another replica, or a call that was not made, has left room before its time."""

Waiter = asyncio.Future[Pass]


class _Line:
    """Those who wait for one meter, and when those come back who were told to."""

    def __init__(self) -> None:
        self.waiting: tuple[deque[Waiter], deque[Waiter]] = (deque(), deque())
        self.away: tuple[list[float], list[float]] = ([], [])
        self.free_at = 0.0
        self.server: asyncio.Task[None] | None = None

    def ahead(self, now: float, *, first: bool) -> int:
        """Return how many are served before one who comes now."""
        for away in self.away:
            while away and away[0] <= now:
                heapq.heappop(away)
        counted = 1 if first else 2
        return sum(map(len, self.waiting[:counted])) + sum(map(len, self.away[:counted]))

    def sweep(self) -> None:
        """Forget those who left."""
        for queue in self.waiting:
            while queue and queue[0].done():
                queue.popleft()

    def next(self) -> Waiter | None:
        """Take the next one who still waits out of the line."""
        self.sweep()
        return next((queue.popleft() for queue in self.waiting if queue), None)

    def idle(self, now: float) -> bool:
        """Whether nobody waits and nobody will come back."""
        self.sweep()
        return not self.ahead(now, first=False)


class Lines:
    """The lines of all meters."""

    def __init__(
        self,
        meters: Meters,
        *,
        metrics: PaceMetrics,
        now: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self._meters = meters
        self._metrics = metrics
        self._now = now
        self._patience = patience
        self._lines: dict[Meter, _Line] = {}

    async def at_once(self, meter: Meter) -> Pass | None:
        """Return a pass if there is one for the asking and nobody waits for it."""
        if meter in self._lines:
            return None
        found = await self._meters.take(meter)
        return found if isinstance(found, Pass) else None

    async def take(self, meter: Meter, *, first: bool = True) -> Pass:
        """Wait for a pass. Raises Paced where that takes too long, OwnershipLost when the record in hand is let go."""
        line = self._lines.get(meter)
        if line is None or line.idle(self._now()):
            found = await self._meters.take(meter)
            if isinstance(found, Pass):
                return found
            line = self._line_of(meter)
            line.free_at = self._now() + found
        now = self._now()
        wait = self._meters.wait(meter, line.ahead(now, first=first), max(line.free_at - now, 0.0))
        if wait > self._patience:
            raise self._later(meter, line, wait, first=first)
        return await self._in_line(meter, line, first=first)

    async def _in_line(self, meter: Meter, line: _Line, *, first: bool) -> Pass:
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        line.waiting[0 if first else 1].append(waiter)
        if line.server is None:
            line.server = asyncio.create_task(self._serve(meter, line), name="pace")

        def give_up() -> None:
            if not waiter.done():
                waiter.set_exception(self._later(meter, line, self._patience, first=first))

        began, end = self._now(), loop.call_later(2 * self._patience, give_up)
        try:
            found = await hold().wait_for(waiter)
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                waiter.result().unused()
            waiter.cancel()
            raise
        finally:
            end.cancel()
        self._metrics.waited.labels(meter.name).observe(self._now() - began)
        return found

    def _later(self, meter: Meter, line: _Line, wait: float, *, first: bool) -> Paced:
        after = min(max(wait - EARLY, SHORTEST_AWAY), LONGEST_AWAY)
        heapq.heappush(line.away[0 if first else 1], self._now() + after)
        self._metrics.later.labels(meter.name).inc()
        return Paced(f"the limit of {meter.name} is reached", after=after)

    async def _serve(self, meter: Meter, line: _Line) -> None:
        """Give passes to those in line for as long as there are any."""
        try:
            while True:
                line.sweep()
                if not any(line.waiting):
                    return
                found = await self._meters.take(meter)
                if not isinstance(found, Pass):
                    line.free_at = self._now() + found
                    await asyncio.sleep(min(found, LOOK_AGAIN))
                elif (waiter := line.next()) is None:
                    found.unused()
                else:
                    waiter.set_result(found)
        finally:
            line.server = None
            if line.idle(self._now()) and self._lines.get(meter) is line:
                del self._lines[meter]

    def _line_of(self, meter: Meter) -> _Line:
        line = self._lines.get(meter)
        if line is None:
            if len(self._lines) >= MOST_LINES:
                now = self._now()
                self._lines = {one: kept for one, kept in self._lines.items() if kept.server or not kept.idle(now)}
            line = self._lines[meter] = _Line()
        return line

    async def close(self) -> None:
        """Serve nobody any more."""
        servers = [line.server for line in self._lines.values() if line.server is not None]
        for server in servers:
            server.cancel()
        await asyncio.gather(*servers, return_exceptions=True)
