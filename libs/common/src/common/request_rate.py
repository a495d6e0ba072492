"""How many requests a key (an address, an account) makes in a minute: O(1) a request, and bounded in memory.

A sliding minute is estimated from two counts: this clock minute's, and as much of the last one's as still lies inside
the sliding minute. Least recently counted keys are evicted beyond `MAX_KEYS`, so an evicted key begins at zero.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TTLCache

MINUTE = 60.0
MAX_KEYS = 10_000
RETRY_AFTER_SECONDS = 60


@dataclass(frozen=True, slots=True)
class _Counts:
    minute: int
    current: int
    previous: int


class RequestRate:
    """Counts requests by key against a bound a minute, in this process's memory."""

    def __init__(self, per_minute: int, *, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._now = now
        self._counts: TTLCache[str, _Counts] = TTLCache(MAX_KEYS, ttl=2 * MINUTE, timer=now)

    def exceeded(self, key: str) -> bool:
        """Count one request and return False, or return True, uncounted, where the key has had all of its minute."""
        minute, inside = divmod(self._now(), MINUTE)
        known = self._counts.get(key)
        current, previous = 0, 0
        if known is not None and known.minute == minute:
            current, previous = known.current, known.previous
        elif known is not None and known.minute == minute - 1:
            previous = known.current
        if current + previous * (1 - inside / MINUTE) + 1 > self._per_minute:
            return True
        self._counts[key] = _Counts(int(minute), current + 1, previous)
        return False
