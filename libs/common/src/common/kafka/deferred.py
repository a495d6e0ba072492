"""Records that were read while their account had as much in memory as it may, and that stay in the log for now.

Pure. Of such a record only its offset and its lane are kept. Its offset is not done, so no commit passes it and a
restart reads it again, and Kafka itself is where it waits: no second topic, no second order. Once a record of an
account is deferred, so are all that follow it in its partition; they are read again in the order of their offsets
(`rereading`). So no record ever goes before an earlier one of its lane.
"""

from collections import deque
from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

P = TypeVar("P", bound=Hashable)


class Deferred(Generic[P]):
    """The offsets of deferred records, by partition and account, each with its lane."""

    def __init__(self) -> None:
        self._offsets: dict[P, dict[bytes, deque[tuple[int, Hashable]]]] = {}
        self._number = 0

    def __len__(self) -> int:
        """Return how many records are deferred."""
        return self._number

    def __contains__(self, where: tuple[P, bytes]) -> bool:
        """Return whether records of this account are deferred in this partition."""
        partition, account = where
        return account in self._offsets.get(partition, ())

    @property
    def partitions(self) -> frozenset[P]:
        """The partitions with deferred records."""
        return frozenset(self._offsets)

    def accounts(self, partition: P) -> Iterator[bytes]:
        """Iterate over the accounts with deferred records in a partition."""
        return iter(self._offsets.get(partition, ()))

    def add(self, partition: P, account: bytes, offset: int, lane: Hashable) -> None:
        """Defer a record that lies behind all that is deferred of its account in this partition."""
        self._offsets.setdefault(partition, {}).setdefault(account, deque()).append((offset, lane))
        self._number += 1

    def first(self, partition: P, account: bytes) -> int | None:
        """Return the first deferred offset of an account, None where there is none."""
        offsets = self._offsets.get(partition, {}).get(account)
        return offsets[0][0] if offsets else None

    def pop(self, partition: P, account: bytes) -> tuple[int, Hashable]:
        """Return the first deferred offset of an account, and its lane, and defer it no longer. Raises KeyError."""
        accounts = self._offsets[partition]
        offsets = accounts[account]
        first = offsets.popleft()
        self._number -= 1
        if not offsets:
            del accounts[account]
        if not accounts:
            del self._offsets[partition]
        return first

    def pop_partition(self, partition: P) -> list[Hashable]:
        """Defer nothing of a partition any longer; return the lanes of what was deferred."""
        lanes = [lane for offsets in self._offsets.pop(partition, {}).values() for _, lane in offsets]
        self._number -= len(lanes)
        return lanes

    def clear(self) -> None:
        """Begin with nothing: the assignment ended."""
        self._offsets.clear()
        self._number = 0
