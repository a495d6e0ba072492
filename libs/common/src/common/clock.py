"""What time it is, as an argument: windows, ages and retention are tested at 23:59:59 and 24:00:00 without waiting.

Nothing outside this module reads a clock of the machine (tests/contract/test_clocks.py). There are four kinds of time,
and no decision compares one with another (docs/decisions/0015):

- the machine's wall clock (`Clock.now`): for display, storage and retention;
- the machine's monotonic clock (`monotonic`): for waits and ages, which begin when this process first saw the thing;
- the platform's clock (`common.platform_clock`), which its answers show: for whatever its messages are compared with;
- the log: an offset says what came before what, whatever any clock says.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NewType, Protocol

Monotonic = NewType("Monotonic", float)
"""Seconds by this machine's monotonic clock. Two of them may be subtracted; no other machine has such a time."""

_BOOT_CLOCK: int | None = getattr(time, "CLOCK_BOOTTIME", None)


def monotonic() -> Monotonic:
    """Return the seconds since some moment, also those in which the machine was suspended, where it counts them.

    `time.monotonic` stands still on Linux while a virtual machine is suspended (clock_gettime(2), CLOCK_BOOTTIME): a
    process that wakes must know that others counted on meanwhile.
    """
    return Monotonic(time.monotonic() if _BOOT_CLOCK is None else time.clock_gettime(_BOOT_CLOCK))


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock, `offset` seconds ahead of it: tests let processes disagree (JAWAB_CLOCK_OFFSET)."""

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = timedelta(seconds=offset)

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC) + self._offset


class SteadyClock:
    """Tells moments that only waits of this process are made of: from the machine's time on by the monotonic clock.

    A wait that ends at one of them is as long as it was meant to be, whichever clock is set or becomes known meanwhile.
    """

    def __init__(self, machine: Clock, ticks: Callable[[], Monotonic] = monotonic) -> None:
        self._ticks = ticks
        self._began, self._began_at = machine.now(), ticks()

    def now(self) -> datetime:
        """Return a moment, aware, in UTC, to be compared with others of this clock alone."""
        return self._began + timedelta(seconds=self._ticks() - self._began_at)


class ManualClock:
    """A clock that stands still until it is told to move: for tests and for replay."""

    known = trusted = True
    """Nobody else's clock differs from it (`common.platform_clock.PlatformTime`)."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the moment the clock was last set to."""
        return self._at

    def advance(self, by: timedelta) -> None:
        """Move the clock by `by`, forward or back."""
        self._at += by
