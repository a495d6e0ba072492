"""The arithmetic of one limit: so many calls within any window, wherever the window begins. Pure.

A call counts from the moment it is allowed until a whole window after it *ended*. Only that can hold at the platform,
which counts a call when it arrives there: sometime between its beginning and its end, a slow one next to a quick one.
Counting from the moment of leave (as fixed, moving and sliding windows do) lets a slow call of the last window arrive
together with this window's (docs/decisions/0010). What it costs is the duration of a call in every window.
"""

import math
from collections import deque
from collections.abc import Iterator

DRIFT = 0.001
"""Our clock against the platform's: 500 ppm is what clocks are corrected by at most, and a thousandth of a second."""


def cooling_of(seconds: float) -> float:
    """Return how long a call counts after its end where the window has so many seconds."""
    return seconds * (1 + DRIFT) + DRIFT


class Allowance:
    """At most `calls` within any `seconds`. Times are seconds of one clock that never goes back."""

    def __init__(self, calls: int, seconds: float) -> None:
        self._calls = calls
        self._cooling = cooling_of(seconds)
        self._held: set[int] = set()
        self._ended: deque[tuple[float, int]] = deque()
        self._last = 0

    def take(self, now: float, *, beyond: bool = False) -> int | None:
        """Allow one call and return its number; None where there is no room. `beyond` counts it all the same."""
        if not beyond and self.count(now) >= self._calls:
            return None
        self._last += 1
        self._held.add(self._last)
        return self._last

    def end(self, number: int, now: float) -> None:
        """Note that a call ended, whatever came of it: from now on its window runs."""
        if number in self._held:
            self._held.discard(number)
            self._ended.append((now + self._cooling, number))

    def give_back(self, number: int) -> None:
        """Note that a call was not made."""
        self._held.discard(number)

    def count(self, now: float) -> int:
        """Return how many calls count now."""
        while self._ended and self._ended[0][0] <= now:
            self._ended.popleft()
        return len(self._held) + len(self._ended)

    def counted(self, now: float) -> Iterator[tuple[int, float]]:
        """Yield the calls that count now, each with the seconds for which it still does: infinite while it is made."""
        self.count(now)
        yield from ((number, math.inf) for number in self._held)
        yield from ((number, until - now) for until, number in self._ended)

    def latest_ended(self, now: float, least: float) -> int | None:
        """Return the number of the latest call that ended, where it still counts for `least` seconds."""
        return self._ended[-1][1] if self._ended and self._ended[-1][0] - now > least else None

    def wait(self, now: float, ahead: int = 0) -> float:
        """Return the seconds until there is room for somebody who has `ahead` others before them, at the soonest.

        Calls under way are taken to end at once, and every call to take no time: the real wait is a little longer.
        """
        counted = self.count(now)
        ahead -= self._calls - counted
        if ahead < 0:
            return 0.0
        rounds = max(-(-(ahead - counted + 1) // self._calls), 0)
        return self._free_in(ahead - rounds * self._calls, now) + rounds * self._cooling

    def _free_in(self, place: int, now: float) -> float:
        """Return when the call at a place among those that count leaves room; those before it have room now."""
        if place < 0:
            return 0.0
        return self._ended[place][0] - now if place < len(self._ended) else self._cooling
