"""When a send may begin: inside the platforms' limits, fair between accounts, answers before what programs ask for.

A turn first waits for a pass of every limit that the call counts on (`lines`, `meters`), then for a place on its route
(`places`), and only then is anything announced: a call begins as soon as the ledger says `attempting`, and whoever
waits has announced nothing. A turn that ends without a call counts nowhere, however late that is decided: by the
breaker, by a pause the platform asked for, by a person who answered meanwhile.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import structlog

from common.events.outcomes import Route
from delivery.metrics import PaceMetrics
from delivery.pace.lines import Lines
from delivery.pace.meters import Meters, Pass
from delivery.pace.places import Places
from delivery.pace.rate_limits import Limits, Meter
from delivery.pace.shared_count import SharedCount

log = structlog.get_logger("pacing")


class Pacing:
    """The turns of one replica."""

    def __init__(self, *, meters: Meters, lines: Lines, places: Places) -> None:
        self._meters = meters
        self._lines = lines
        self._places = places

    def turn(self) -> "Turn":
        """Return a turn that holds nothing yet."""
        return Turn(self._lines, self._places)

    @asynccontextmanager
    async def paced(self, *meters: Meter) -> AsyncIterator["Turn"]:
        """Wait for the passes of a call that needs no place: a reading, a lookup. Raises Paced, OwnershipLost."""
        turn = self.turn()
        await turn.wait(meters)
        try:
            yield turn
        finally:
            turn.leave()

    @asynccontextmanager
    async def at_once(self, meter: Meter) -> AsyncIterator[bool]:
        """Tell whether a call may be made without waiting, and count it: for what is not worth a wait."""
        found = await self._lines.at_once(meter)
        try:
            yield found is not None
        finally:
            if found is not None:
                found.used()

    async def close(self) -> None:
        """Let go of everything; whoever waits still is not served any more."""
        await self._lines.close()
        await self._meters.close()


def pacing(
    limits: Limits,
    *,
    places: int,
    metrics: PaceMetrics,
    replicas: int = 1,
    shared: SharedCount | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Pacing:
    """Return the pacing of one of so many replicas; `places` are those of each route, `now` tells seconds."""
    each = limits if shared is not None else {name: limit.shared_by(replicas) for name, limit in limits.items()}
    log.info(
        "limits.counted",
        shared=shared is not None,
        replicas=replicas,
        **{name: f"{limit.calls}/{limit.seconds:g}s" for name, limit in each.items()},
    )
    meters = Meters(limits, metrics=metrics, replicas=replicas, shared=shared, now=now)
    return Pacing(meters=meters, lines=Lines(meters, metrics=metrics, now=now), places=Places(places))


class Turn:
    """One send's passes and its place, at most one of each at a time."""

    def __init__(self, lines: Lines, places: Places) -> None:
        self._lines = lines
        self._places = places
        self._passes: Sequence[Pass] = ()
        self._held: Route | None = None

    async def take(
        self,
        route: Route,
        account: str,
        meters: Sequence[Meter] = (),
        *,
        first: bool = True,
        who: str | None = None,
    ) -> None:
        """Wait for a pass of each meter, then for a place on `route`; what is held is given back before.

        `first` tells an answer from what a program asks for, `who` is the name of the reply.
        Raises Paced where that takes longer than is waited, OwnershipLost when the record in hand is let go.
        """
        await self.wait(meters, first=first, who=who)
        try:
            await self._places.take(route, account, first=first)
        except BaseException:
            self.leave()
            raise
        self._held = route

    async def wait(self, meters: Sequence[Meter], *, first: bool = True, who: str | None = None) -> None:
        """Wait for a pass of each meter only. Raises Paced, OwnershipLost."""
        self.leave()
        passes: list[Pass] = []
        try:
            for meter in meters:
                found = await self._lines.take(meter, first=first, who=who)
                passes.append(found)
        except BaseException:
            _unused(passes)
            raise
        self._passes = passes

    @contextmanager
    def calling(self) -> Iterator[None]:
        """Make the call inside: from its end on, its windows run, whatever came of it."""
        passes, self._passes = self._passes, ()
        try:
            yield
        finally:
            _used(passes)

    def leave(self) -> None:
        """Give back the place, and the passes of a call that was not made."""
        passes, self._passes = self._passes, ()
        _unused(passes)
        if self._held is not None:
            self._places.leave(self._held)
            self._held = None


def _used(passes: Iterable[Pass]) -> None:
    for one in passes:
        one.used()


def _unused(passes: Iterable[Pass]) -> None:
    for one in passes:
        one.unused()
