"""The platform's clock, as its answers show it.

Whatever is compared with the times of the platform's messages (when a send was attempted, when a window closes, until
when an agent answers) is told by this clock and not by the machine's. So all replicas share one clock, wherever theirs
stand.

The `Date` header of an answer has whole seconds (RFC 9110, 5.6.7) and was written between the request and the answer.
So each answer bounds the difference between the platform's clock and our monotonic one; several narrow it down. A
machine's wall clock that is set while it runs changes nothing here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Protocol

from common.clock import Clock, Monotonic, monotonic

EXPIRES_AFTER = 900.0
"""Seconds after which an estimate that no answer confirmed is not believed any more."""

DRIFT = 200e-6
"""Seconds by which two clocks may move apart in a second: well above what a quartz does."""

MAX_WIDTH = 6.0
"""Seconds within which an estimate must be bounded to be believed: one of the header, and a slow answer's."""

MAX_TRUSTED_OFFSET = 10.0
"""Seconds by which the machine's clock may differ from the platform's for an absence to be concluded from times."""

MAX_CORRECTION = 3600.0
"""Seconds; a platform that seems to be further away does not tell the time."""


class PlatformTime(Protocol):
    """A clock that may be compared with the times of the platform's messages."""

    def now(self) -> datetime:
        """Return the present moment by the platform's clock, as well as it is known, aware, in UTC."""
        ...

    @property
    def known(self) -> bool:
        """Whether that is the platform's clock, and not only the machine's own."""
        ...

    @property
    def trusted(self) -> bool:
        """Whether that is right to within seconds, so that an absence may be concluded from it."""
        ...


@dataclass(frozen=True)
class _Bounds:
    """The platform's seconds since 1970 minus ours by the monotonic clock lie between `low` and `high`."""

    low: float
    high: float
    at: Monotonic

    @property
    def width(self) -> float:
        return self.high - self.low

    def aged(self, now: Monotonic) -> "_Bounds":
        wider = (now - self.at) * DRIFT
        return _Bounds(self.low - wider, self.high + wider, now)

    def narrowed(self, other: "_Bounds") -> "_Bounds":
        """Return what both allow; the later one where they contradict each other: the platform's clock was set."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        return _Bounds(low, high, other.at) if low <= high else other


def dated(header: str | None) -> datetime | None:
    """Read a Date header; None where there is none that can be read."""
    try:
        moment = parsedate_to_datetime(header or "")
    except (ValueError, TypeError, OverflowError):  # the last for a number of twenty digits
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class RemoteClock:
    """One other machine's clock, as its dated answers show it."""

    def __init__(self) -> None:
        self._bounds: _Bounds | None = None

    def observe(self, date: str | None, sent: Monotonic, received: Monotonic) -> None:
        """Take in an answer's Date header; one that is missing or unreadable changes nothing."""
        moment = dated(date)
        if moment is not None:
            self.observe_time(moment, sent, received, precision=1.0)

    def observe_time(self, moment: datetime, sent: Monotonic, received: Monotonic, *, precision: float) -> None:
        """Take in what time it was there between `sent` and `received`, cut off to `precision` seconds."""
        there = moment.timestamp()
        bounds = _Bounds(there - received, there + precision - sent, received)
        self._bounds = bounds if self._bounds is None else self._bounds.aged(received).narrowed(bounds)

    def at(self, now: Monotonic, ours: float) -> float | None:
        """Return the seconds since 1970 by that clock; None where they are not known to within seconds.

        `ours` is what our own clock says: where that may be right, it is, because it has no steps of a second.
        """
        bounds = self._bounds
        if bounds is None or now - bounds.at > EXPIRES_AFTER or bounds.width > MAX_WIDTH:
            return None
        return min(max(ours, now + bounds.low), now + bounds.high)


class PlatformClock:
    """The platform's clock: that of the first of `remotes` that is known, else the machine's own."""

    def __init__(
        self, machine: Clock, remotes: Sequence[RemoteClock], ticks: Callable[[], Monotonic] = monotonic
    ) -> None:
        self.machine = machine
        self._remotes = remotes
        self._ticks = ticks
        self._told = 0.0

    @property
    def offset(self) -> float | None:
        """The seconds by which the machine's clock is ahead of the platform's; None where that is not known."""
        now, ours = self._ticks(), self.machine.now().timestamp()
        there = next((at for remote in self._remotes if (at := remote.at(now, ours)) is not None), None)
        return None if there is None else ours - there

    @property
    def known(self) -> bool:
        """Whether the platform's clock is known."""
        offset = self.offset
        return offset is not None and abs(offset) <= MAX_CORRECTION

    @property
    def trusted(self) -> bool:
        """Whether the platform's clock is known, and the machine's is near it."""
        offset = self.offset
        return offset is not None and abs(offset) <= MAX_TRUSTED_OFFSET

    def now(self) -> datetime:
        """Return the present moment by the platform's clock; by the machine's own where that is not known.

        An estimate that gets better never makes it go back: what this process does later has the later moment.
        """
        now, offset = self.machine.now(), self.offset
        if offset is None or abs(offset) > MAX_CORRECTION:
            return now
        moment = (now - timedelta(seconds=offset)).timestamp()
        self._told = max(moment, self._told) if self._told - moment < MAX_WIDTH else moment
        return now if self._told == now.timestamp() else datetime.fromtimestamp(self._told, UTC)
