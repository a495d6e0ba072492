"""How long ago this process first saw an attempt: the only age on which waiting may rest.

An attempt is written with the time of whoever made it, and that clock may be minutes away from ours. But whoever counts
from the moment at which the attempt was seen here, by the monotonic clock, never counts too much: it had begun by then.
"""

from collections import OrderedDict
from collections.abc import Callable

from common.clock import Monotonic, monotonic
from delivery.ledger import Row

MAX_REMEMBERED = 10_000
"""Least recently used attempts are forgotten; one that is seen again counts anew, which is only longer."""


class FirstSeen:
    """Remembers when this process first saw each attempt."""

    def __init__(self, now: Callable[[], Monotonic] = monotonic) -> None:
        self._now = now
        self._seen: OrderedDict[tuple[str, int, int], Monotonic] = OrderedDict()

    def seconds(self, row: Row, index: int) -> float:
        """Return how long the current attempt of part `index` has been known here; 0 where it is seen first now."""
        key = (row.reply_id, index, row.parts[index].attempts)
        since = self._seen.setdefault(key, self._now())
        self._seen.move_to_end(key)
        while len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return self._now() - since
