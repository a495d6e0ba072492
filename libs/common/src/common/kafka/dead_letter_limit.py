"""Whose fault it is when records die: an account's, or ours. A bad deploy must not empty a topic.

Pure. Dead letters are counted per account, so that what one tenant does wrong costs that tenant:

- they come from at least `MIN_ACCOUNTS` accounts *and* from most of those active: the fault is ours, and the
  subscriber stops the partition. Nothing more of it is read or dead-lettered until a restart, and an alert pages;
- they come from fewer, while records of other accounts are handled: the fault is those accounts'. Their records go on
  to the dead-letter topic, and nobody else's conversations notice;
- they come from fewer, and nobody else's record was handled: nothing tells the account's fault from ours. The
  account's lanes wait, without a further dead letter, until somebody else's record shows whose fault it is, or until a
  restart with the fault mended.

A restart begins with nothing counted and comes to the same decisions.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from enum import Enum

WINDOW_SECONDS = 300.0
BUCKET_SECONDS = 10.0
FEWEST = 10
"""So many must die at least: three dead letters in a quiet night are no bad deploy."""
MIN_ACCOUNTS = 3
"""One tenant may have two accounts; what the records of fewer do is no evidence about our code."""


class Decision(Enum):
    """What becomes of a record that cannot be handled."""

    PUBLISH = "publish"
    """It goes to its dead-letter topic."""
    WAIT = "wait"
    """It stays where it is, and its account's later records behind it."""
    STOP = "stop"
    """It stays where it is, and nothing more of its partition is read."""


@dataclass(slots=True)
class _Bucket:
    begun: float
    handled: Counter[bytes] = field(default_factory=Counter)
    died: Counter[bytes] = field(default_factory=Counter)


class DeadLetterLimit:
    """What was handled and what died of one partition lately. `percent` is the largest share that may die."""

    def __init__(self, percent: float) -> None:
        self._percent = percent
        self._buckets: deque[_Bucket] = deque()
        self._handled: Counter[bytes] = Counter()
        self._died: Counter[bytes] = Counter()

    def handled(self, account: bytes, now: float) -> None:
        """Count a record that was handled; `now` is in seconds and never falls."""
        self._bucket(now).handled[account] += 1
        self._handled[account] += 1

    def died(self, account: bytes, now: float) -> None:
        """Count a record that went to the dead letters."""
        self._bucket(now).died[account] += 1
        self._died[account] += 1

    def decide(self, account: bytes, now: float) -> Decision:
        """Return what becomes of one more record of this account's that cannot be handled. Counts nothing."""
        self._forget(now)
        died = self._died + Counter((account,))
        if self._is_our_fault(died):
            return Decision.STOP
        others_handled = self._handled.total() - self._handled[account]
        if others_handled == 0 and self._too_many(self._handled[account], died[account]):
            return Decision.WAIT
        return Decision.PUBLISH

    def _is_our_fault(self, died: Counter[bytes]) -> bool:
        if not self._too_many(self._handled.total(), died.total()):
            return False
        dying = [one for one, deaths in died.items() if self._over_share(self._handled[one], deaths)]
        if len(dying) < MIN_ACCOUNTS or 2 * len(dying) <= len(died.keys() | self._handled.keys()):
            return False
        worst, deaths = died.most_common(1)[0]
        return self._over_share(self._handled.total() - self._handled[worst], died.total() - deaths)

    def _too_many(self, handled: int, died: int) -> bool:
        return died > FEWEST and self._over_share(handled, died)

    def _over_share(self, handled: int, died: int) -> bool:
        return died * 100 > self._percent * (handled + died)

    def _bucket(self, now: float) -> _Bucket:
        if not self._buckets or now - self._buckets[-1].begun >= BUCKET_SECONDS:
            self._forget(now)
            self._buckets.append(_Bucket(now - now % BUCKET_SECONDS))
        return self._buckets[-1]

    def _forget(self, now: float) -> None:
        while self._buckets and self._buckets[0].begun <= now - WINDOW_SECONDS - BUCKET_SECONDS:
            gone = self._buckets.popleft()
            self._handled -= gone.handled  # also drops the accounts that come to nothing
            self._died -= gone.died
