"""Who waits for a pass, in which order, and who is told to come back later instead.

There is a line for each meter, so one account's never delays another's; in it, answers come before what programs ask
for, and each in the order in which they first came. Only who is soon to be served stands in line: who would wait longer
is told when to come back, keeps their number, and meanwhile takes part in nothing but their lane.
"""

import asyncio
import heapq
import time
from bisect import bisect_left, insort
from collections.abc import Callable
from itertools import count

from common.errors import Paced
from common.kafka.hold import hold
from delivery.metrics import PaceMetrics
from delivery.pace.meters import Meters, Pass
from delivery.pace.rate_limits import Meter

PATIENCE = 2.0
"""Seconds: who has to wait longer comes back later."""
EARLY = 1.0
"""Seconds before their turn at which they do, so that the line is never empty while somebody is away."""
LONGEST_AWAY = 120.0
"""Seconds after which even who waits for an hour's limit looks whether there is room before the time."""
SHORTEST_AWAY = 0.2
LATE = 30.0
"""Seconds after which somebody who does not come back is not waited for: another replica has the record by now."""
LOOK_AGAIN = 0.25
"""Seconds between two looks whether another replica, or a call that was not made, has left room before its time."""
MOST_LINES = 1000
"""Lines kept before those for which nobody comes back any more are forgotten."""

Waiter = asyncio.Future[Pass]
Number = tuple[bool, int]
"""Whether it is what a program asked for, then the order of coming: the smaller one is served first."""


class _Line:
    """Those who wait for one meter, and those who will come back."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: list[tuple[Number, int, Waiter]] = []
        self._away: dict[str, tuple[Number, float]] = {}
        self._away_in_order: list[Number] = []
        self._late_at: list[tuple[float, str]] = []
        self.free_at = 0.0
        self.server: asyncio.Task[None] | None = None

    def number(self, who: str | None, *, first: bool) -> Number:
        """Return the number of somebody who comes, or comes back."""
        kept = self._away.get(who) if who is not None else None
        if who is not None and kept is not None:
            self._no_longer_away(who)
            return kept[0]
        return (not first, next(self._numbers))

    def ahead(self, number: Number) -> int:
        """Return how many are served before a number."""
        return bisect_left(self._away_in_order, number) + sum(
            other < number and not waiter.done() for other, _, waiter in self._waiting
        )

    def join(self, number: Number, waiter: Waiter) -> None:
        """Stand in line."""
        heapq.heappush(self._waiting, (number, next(self._numbers), waiter))  # who left may be back with the number

    def goes_away(self, who: str, number: Number, until: float) -> None:
        """Keep a number for somebody who comes back."""
        self._away[who] = number, until + LATE
        insort(self._away_in_order, number)
        heapq.heappush(self._late_at, (until + LATE, who))

    def next(self) -> Waiter | None:
        """Take the next one who still waits out of the line."""
        return heapq.heappop(self._waiting)[2] if self.anybody() else None

    def anybody(self) -> bool:
        """Whether anybody stands in line. Those who left are forgotten."""
        while self._waiting and self._waiting[0][2].done():
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def idle(self, now: float) -> bool:
        """Whether nobody waits and nobody will come back."""
        self.forget_the_late(now)
        return not self.anybody() and not self._away

    def forget_the_late(self, now: float) -> None:
        """Wait no longer for those who should have been back."""
        while self._late_at and self._late_at[0][0] <= now:
            _, who = heapq.heappop(self._late_at)
            if who in self._away and self._away[who][1] <= now:
                self._no_longer_away(who)

    def _no_longer_away(self, who: str) -> None:
        number, _ = self._away.pop(who)
        del self._away_in_order[bisect_left(self._away_in_order, number)]


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
        line = self._lines.get(meter)
        if line is not None and not line.idle(self._now()):
            return None
        found = await self._meters.take(meter)
        return found if isinstance(found, Pass) else None

    async def take(self, meter: Meter, *, first: bool = True, who: str | None = None) -> Pass:
        """Wait for a pass. `who` is a name under which somebody who is told to come back is known again.

        Raises Paced where it takes too long, OwnershipLost when the record in hand is let go.
        """
        line = self._lines.get(meter)
        if line is None or not line.anybody():
            # Whoever is away is back in line before a pass is free for them: one that is free now is anybody's.
            found = await self._meters.take(meter)
            if isinstance(found, Pass):
                if line is not None:
                    line.number(who, first=first)
                return found
            line = self._line_of(meter)
            line.free_at = self._now() + found
        line.forget_the_late(self._now())
        number, now = line.number(who, first=first), self._now()
        wait = self._meters.wait(meter, line.ahead(number), max(line.free_at - now, 0.0))
        if wait > self._patience:
            raise self._later(meter, line, number, wait, who)
        return await self._in_line(meter, line, number, who)

    async def _in_line(self, meter: Meter, line: _Line, number: Number, who: str | None) -> Pass:
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        line.join(number, waiter)
        if line.server is None:
            line.server = asyncio.create_task(self._serve(meter, line), name="pace")

        def give_up() -> None:
            if not waiter.done():
                waiter.set_exception(self._later(meter, line, number, self._patience, who))

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

    def _later(self, meter: Meter, line: _Line, number: Number, wait: float, who: str | None) -> Paced:
        after = min(max(wait - EARLY, SHORTEST_AWAY), LONGEST_AWAY)
        if who is not None:
            line.goes_away(who, number, self._now() + after)
        self._metrics.later.labels(meter.name).inc()
        return Paced(f"the limit of {meter.name} is reached", after=after)

    async def _serve(self, meter: Meter, line: _Line) -> None:
        """Give passes to those in line for as long as there are any."""
        try:
            while line.anybody():
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
