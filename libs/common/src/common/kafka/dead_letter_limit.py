"""When so many of a partition's records die that the fault must be ours: a bad deploy must not empty a topic.

Pure. A partition over its limit is stopped by the subscriber: nothing more is buried, nothing more is read, and an
alert asks for a person. A restart, with the fault mended, starts from the first record that was not done.

One account whose platform fails it for hours is no fault of ours, and must not stop the conversations of others: where
others' records are handled, and not too many of them die without that account's, the partition goes on.
"""

from collections import Counter, deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 300.0
BUCKET_SECONDS = 10.0
FEWEST = 10
"""So many must die at least: three dead letters in a quiet night are no bad deploy."""


@dataclass(slots=True)
class _Bucket:
    begun: float
    handled: Counter[bytes] = field(default_factory=Counter)
    died: Counter[bytes] = field(default_factory=Counter)


class DeadLetterLimit:
    """The share of a partition's records that died lately. `percent` is the most that may."""

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._buckets: deque[_Bucket] = deque()

    def handled(self, account: bytes, now: float) -> None:
        """Count a record that was handled; `now` is in seconds and never falls."""
        self._bucket(now).handled[account] += 1

    def died(self, account: bytes, now: float) -> None:
        """Count a record that went to the dead letters."""
        self._bucket(now).died[account] += 1

    def would_exceed(self, account: bytes, now: float) -> bool:
        """Tell whether one more death of this account's is too many."""
        self._forget(now)
        handled, died = Counter[bytes](), Counter((account,))
        for bucket in self._buckets:
            handled.update(bucket.handled)
            died.update(bucket.died)
        if not self._too_many(handled.total(), died.total()):
            return False
        worst, deaths = died.most_common(1)[0]
        others = handled.total() - handled[worst]
        return others == 0 or self._too_many(others, died.total() - deaths)

    def _too_many(self, handled: int, died: int) -> bool:
        return died > FEWEST and died * 100 > self._percent * (handled + died)

    def _bucket(self, now: float) -> _Bucket:
        if not self._buckets or now - self._buckets[-1].begun >= BUCKET_SECONDS:
            self._forget(now)
            self._buckets.append(_Bucket(now - now % BUCKET_SECONDS))
        return self._buckets[-1]

    def _forget(self, now: float) -> None:
        while self._buckets and self._buckets[0].begun <= now - WINDOW_SECONDS - BUCKET_SECONDS:
            self._buckets.popleft()
