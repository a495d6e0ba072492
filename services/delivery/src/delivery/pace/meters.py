"""Gives passes for calls: of the shared count where there is one and it answers, else of this replica's own share.

    shared ── no answer ──► away: own share, after one window ── an answer ──► returning: both ── one window ──► shared
                              └──────────────── no answer, again ────────────────┘

Each replica notes its own calls in any case. When the shared count goes away, nobody knows what the others have just
sent; so a limit of seconds rests for its window first, and one of an hour, which nobody could wait out, counts what
this replica sent itself. When it comes back, the others may not have noticed yet: until they must have, both have to
agree, and each tells the count what it sent meanwhile. One that was emptied in a moment when nobody asked is known by
a call of this replica's that it should still count.
"""

import asyncio
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import structlog

from delivery.metrics import PaceMetrics
from delivery.pace.allowance import Allowance, cooling_of
from delivery.pace.rate_limits import Limit, Limits, Meter
from delivery.pace.shared_count import CountAway, CountLost, Place, SharedCount

log = structlog.get_logger("pacing")

ASK_AGAIN = 0.02
"""Seconds until it makes sense to look again where all calls that count are still under way."""
LOOK_FOR_IT = 2.0
"""Seconds between two questions to a shared count that does not answer: so long a replica may not have noticed."""
LONGEST_REST = 10.0
"""Seconds; windows above it are not waited out when the shared count goes away."""
SURELY = 1.0
"""Seconds for which a call must still count for its absence from the shared count to prove that this was emptied."""
MOST_KEPT = 10_000
MOST_LOOKED_AT = 10

Counting = Literal["shared", "away", "returning"]


@dataclass
class _Own:
    """What this replica did on one meter."""

    allowance: Allowance
    """Counts every call of this replica, and allows those of its share."""
    lost: bool = False
    """Whether the shared count may not know some of these calls."""


class Pass:
    """Leave for one call. Exactly one of the two has to follow; what follows the first means nothing."""

    __slots__ = ("_given", "_meters", "_number", "_place")

    def __init__(self, meters: "Meters", number: int, place: Place) -> None:
        self._meters = meters
        self._number = number
        self._place = place
        self._given = True

    def used(self) -> None:
        """Note that the call was made and is over, however it ended."""
        if self._given:
            self._given = False
            self._meters.ended(self._place, self._number)

    def unused(self) -> None:
        """Note that the call was not made: it counts nowhere."""
        if self._given:
            self._given = False
            self._meters.given_back(self._place, self._number)


class Meters:
    """All meters of this replica."""

    def __init__(
        self,
        limits: Limits,
        *,
        metrics: PaceMetrics,
        replicas: int = 1,
        shared: SharedCount | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._replicas = replicas
        self._shared = shared
        self._metrics = metrics
        self._now = now
        self._name = secrets.token_hex(6)
        self._own: OrderedDict[Meter, _Own] = OrderedDict()
        self._telling: set[asyncio.Task[None]] = set()
        self._counting: Counting = "shared"
        self._changed_at = -math.inf
        self._ask_at = -math.inf

    def limit(self, meter: Meter) -> Limit:
        """Return a meter's limit: the whole of it where it is shared, else this replica's part."""
        limit = self._limits[meter.name]
        return limit if self._shared is not None else limit.shared_by(self._replicas)

    async def take(self, meter: Meter) -> Pass | float:
        """Return leave for a call now, or the seconds after which asking again makes sense."""
        if self._shared is None:
            return self._take_own(meter)
        if self._counting == "away":
            if self._now() < self._ask_at:
                return self._rest(meter) or self._take_own(meter)
            self._ask_at = self._now() + LOOK_FOR_IT  # one asks, the others need not wait for that
        try:
            return await self._take_shared(self._shared, meter)
        except CountAway as error:
            self._went_away(str(error))
            return self._rest(meter) or self._take_own(meter)

    def wait(self, meter: Meter, ahead: int, head: float) -> float:
        """Return about how long to wait with so many others ahead, where the first of them waits `head` seconds."""
        if self._shared is None or self._counting != "shared":
            return max(head, self._own_of(meter).allowance.wait(self._now(), ahead))
        return head + ahead * self._limits[meter.name].interval

    # Own share

    def _take_own(self, meter: Meter) -> Pass | float:
        now, own = self._now(), self._own_of(meter)
        number = own.allowance.take(now)
        if number is None:
            return own.allowance.wait(now) or ASK_AGAIN
        own.lost = self._shared is not None
        return Pass(self, number, self._place(meter, number))

    def _rest(self, meter: Meter) -> float:
        """Return how long a meter rests still, because it is not known what others have just sent."""
        seconds = self._limits[meter.name].seconds
        if self._counting != "away" or seconds > LONGEST_REST:
            return 0.0
        return max(self._changed_at + cooling_of(seconds) + LOOK_FOR_IT - self._now(), 0.0)

    def _own_of(self, meter: Meter) -> _Own:
        own = self._own.get(meter)
        if own is None:
            part = self._limits[meter.name].shared_by(self._replicas)
            own = self._own[meter] = _Own(Allowance(part.calls, part.seconds))
            self._forget_what_rests()
        self._own.move_to_end(meter)
        return own

    def _forget_what_rests(self) -> None:
        """Forget the meters on which nothing counts, of those that were of use longest ago."""
        now = self._now()
        for meter, own in list(islice(self._own.items(), max(0, min(len(self._own) - MOST_KEPT, MOST_LOOKED_AT)))):
            if own.allowance.count(now):
                self._own.move_to_end(meter)
            else:
                del self._own[meter]

    # Shared count

    async def _take_shared(self, shared: SharedCount, meter: Meter) -> Pass | float:
        own, limit = self._own_of(meter), self._limits[meter.name]
        also, witness = None, None
        if own.lost:
            counted = own.allowance.counted(self._now())
            also = {self._place(meter, number): None if left == math.inf else left for number, left in counted}
        elif (latest := own.allowance.latest_ended(self._now(), SURELY)) is not None:
            witness = self._place(meter, latest)
        both = self._counting != "shared" and self._now() < self._changed_at + self._until_all_know(limit)
        number = own.allowance.take(self._now(), beyond=not both)
        if number is None and also is None:
            return own.allowance.wait(self._now()) or ASK_AGAIN
        place = self._place(meter, number or 0)
        calls = limit.calls if number is not None else 0  # none: only to tell what was sent meanwhile
        try:
            wait = await shared.take(place, calls=calls, cooling=cooling_of(limit.seconds), also=also, witness=witness)
        except CountLost:
            own.allowance.give_back(number or 0)
            self._was_emptied()
            return await self._take_shared(shared, meter)
        except BaseException:
            # It may count there all the same, until its lease ends: too much is safe.
            own.allowance.give_back(number or 0)
            own.lost = True
            raise
        self._answered()
        if also is not None:
            own.lost = False
        if wait is None and number is not None:
            return Pass(self, number, place)
        own.allowance.give_back(number or 0)
        # A call that is under way counts there until its lease ends: it is taken to end now, and to cool from then on.
        return min(max(wait or 0.0, ASK_AGAIN), cooling_of(limit.seconds))

    def _until_all_know(self, limit: Limit) -> float:
        return min(cooling_of(limit.seconds), LONGEST_REST) + LOOK_FOR_IT

    def _went_away(self, why: str) -> None:
        now = self._now()
        self._ask_at = now + LOOK_FOR_IT
        if self._counting != "away":
            log.warning("limits.not_shared", error=why, replicas=self._replicas)
            self._changed_at = now
            for own in self._own.values():
                own.lost = True
        self._counting = "away"
        self._metrics.count_away.set(1)

    def _was_emptied(self) -> None:
        """Go on as with a count that was away and is back: it is told what was sent, and so the others will."""
        log.warning("limits.count_emptied", replicas=self._replicas)
        self._counting, self._changed_at = "returning", self._now()
        for own in self._own.values():
            own.lost = True

    def _answered(self) -> None:
        now = self._now()
        if self._counting == "away":
            log.info("limits.shared_again")
            self._counting, self._changed_at = "returning", now
        elif self._counting == "returning" and now > self._changed_at + LONGEST_REST + LOOK_FOR_IT:
            self._counting = "shared"
        self._metrics.count_away.set(0)

    def _place(self, meter: Meter, number: int) -> Place:
        return Place(meter, f"{self._name}-{number}")

    # Ends

    def ended(self, place: Place, number: int) -> None:
        """Note that a call ended."""
        now = self._now()
        self._own_of(place.meter).allowance.end(number, now)
        if self._shared is not None and self._counting != "away":
            self._tell(self._tell_end(self._shared, place, now))

    def given_back(self, place: Place, number: int) -> None:
        """Note that a call was not made."""
        self._own_of(place.meter).allowance.give_back(number)
        if self._shared is not None and self._counting != "away":
            self._tell(self._shared.give_back(place))

    async def _tell_end(self, shared: SharedCount, place: Place, at: float) -> None:
        cooling = cooling_of(self._limits[place.meter.name].seconds)
        await shared.end(place, cooling=max(cooling - (self._now() - at), 0.0))

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._or_went_away(telling), name="pace")
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _or_went_away(self, telling: Coroutine[Any, Any, None]) -> None:
        try:
            await telling
        except CountAway as error:
            self._went_away(str(error))

    async def close(self) -> None:
        """Tell the shared count what is still to be told, and let go of it."""
        await asyncio.gather(*self._telling, return_exceptions=True)
        if self._shared is not None:
            await self._shared.close()
