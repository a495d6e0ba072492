"""The documented rate limits, counted exactly: how many calls fell into any window, wherever it begins.

What is above a limit is always counted, and refused as well when the sandbox is told to enforce: so a test can say that
no limit was ever exceeded, whether or not the platform would have minded.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from devkit.sandbox.bounded import Bounded


@dataclass
class Count:
    """The calls of one kind for one account. `most` is the greatest number of calls that met in one window,
    `first` and `last` are when there was one, in seconds since 1970.
    """

    what: str
    who: str
    limit: float
    seconds: float
    calls: int = 0
    most: int = 0
    exceeded: int = 0
    first: float | None = None
    last: float | None = None
    times: deque[float] = field(default_factory=deque)


class Rates:
    """Counts calls against `limit` in any `seconds` for each kind and account; refuses them only when enforcing."""

    def __init__(self, *, enforce: bool) -> None:
        self.enforce = enforce
        self._limits: dict[str, tuple[float, float]] = {}
        self._counts: Bounded[tuple[str, str], Count] = Bounded(10_000)

    def set_limits(self, limits: Mapping[str, tuple[float, float]]) -> None:
        """Put others in the place of the documented limits: calls and seconds by kind."""
        self._limits.update(limits)

    def allows(self, what: str, who: str, *, limit: float, seconds: float, now: float) -> bool:
        """Count a call; False where it is one too many and the sandbox enforces."""
        limit, seconds = self._limits.get(what, (limit, seconds))
        count = self._counts.get((what, who))
        if count is None:
            count = self._counts[what, who] = Count(what, who, limit, seconds)
        count.limit, count.seconds = limit, seconds
        while count.times and count.times[0] <= now - seconds:
            count.times.popleft()
        above = len(count.times) >= limit
        count.calls += 1
        count.first, count.last = now if count.first is None else count.first, now
        count.exceeded += above
        if above and self.enforce:
            return False
        count.times.append(now)
        count.most = max(count.most, len(count.times))
        return True

    def told(self) -> list[dict[str, Any]]:
        """Return every count as JSON would have it."""
        shown = ("what", "who", "limit", "seconds", "calls", "most", "exceeded", "first", "last")
        return [{name: getattr(count, name) for name in shown} for count in self._counts.values()]

    @property
    def exceeded(self) -> int:
        """How many calls were above their limit."""
        return sum(count.exceeded for count in self._counts.values())

    def clear(self) -> None:
        """Forget all counts."""
        self._counts.clear()
