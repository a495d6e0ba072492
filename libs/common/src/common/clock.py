"""What time it is, as an argument: windows, ages and retention are tested at 23:59:59 and 24:00:00 without waiting."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until it is told to move: for tests and for replay."""

    def __init__(self, at: datetime) -> None:
        self._at = at

    def now(self) -> datetime:
        """Return the moment the clock was last set to."""
        return self._at

    def advance(self, by: timedelta) -> None:
        """Move the clock by `by`, forward or back."""
        self._at += by
