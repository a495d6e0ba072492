"""A dictionary that forgets, so that a sandbox left running for days does not fill the machine."""

from collections import OrderedDict
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Bounded(OrderedDict[K, V]):
    """Keep at most `limit` entries, dropping those written first."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def __setitem__(self, key: K, value: V) -> None:
        """Store the entry as the newest and drop the oldest above the limit."""
        super().__setitem__(key, value)
        if len(self) > self._limit:
            self.popitem(last=False)
