"""When so many of a partition's records die that the fault must be ours: a bad deploy must not empty a topic.

Pure. A partition over its limit is stopped by the subscriber: nothing more is buried, nothing more is read, and an
alert asks for a person. A restart, with the fault mended, starts from the first record that was not done.
"""

from collections import deque

WINDOW_SECONDS = 300.0
BUCKET_SECONDS = 10.0
FEWEST = 10
"""So many must die at least: three dead letters in a quiet night are no bad deploy."""


class DeadLetterLimit:
    """The share of a partition's records that died lately. `percent` is the most that may."""

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._buckets: deque[list[float]] = deque()

    def handled(self, now: float) -> None:
        """Count a record that was handled; `now` is in seconds and never falls."""
        self._count(now, handled=1, died=0)

    def died(self, now: float) -> None:
        """Count a record that went to the dead letters."""
        self._count(now, handled=0, died=1)

    def would_exceed(self, now: float) -> bool:
        """Tell whether one more death is too many."""
        self._forget(now)
        handled = sum(bucket[1] for bucket in self._buckets)
        died = sum(bucket[2] for bucket in self._buckets) + 1
        return died > FEWEST and died * 100 > self._percent * (handled + died)

    def _count(self, now: float, *, handled: int, died: int) -> None:
        if not self._buckets or now - self._buckets[-1][0] >= BUCKET_SECONDS:
            self._forget(now)
            self._buckets.append([now - now % BUCKET_SECONDS, 0, 0])
        bucket = self._buckets[-1]
        bucket[1] += handled
        bucket[2] += died

    def _forget(self, now: float) -> None:
        while self._buckets and self._buckets[0][0] <= now - WINDOW_SECONDS - BUCKET_SECONDS:
            self._buckets.popleft()
