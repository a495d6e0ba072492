"""What one account may use of what all accounts share: places to work, records and bytes in memory, recordings.

Pure. Every budget is a dynamic threshold, as in `back_pressure`: an account may use up to `share` times what is left
for all. So an account that floods never takes everything, one that uses nothing always gets something, and nothing has
to be configured per account, however many there are. With a share of 3 one account alone may take three quarters of a
budget; with a share of a quarter one fifth, and each of n accounts a part of n + 4.

The fifth budget, dead letters, is `dead_letter_limit`: there an account is compared with the others.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

A = TypeVar("A", bound=Hashable)
P = TypeVar("P", bound=Hashable)

WORKING_SHARE = 3.0
"""Places are given back soon, and an installation with one merchant needs most of them."""
WAITING_SHARE = 0.25
"""Records may wait for an hour, and a partition is paused only where those of several accounts do."""


PARTITION_SHARE = 1.0
"""The threshold of `back_pressure`, which pauses the partition a moment later."""


class AccountBudget(Generic[A]):
    """A budget of `total` units for all accounts."""

    def __init__(self, total: int, *, share: float) -> None:
        self.total = total
        self.taken = 0
        self._share = share
        self._each: Counter[A] = Counter()

    @property
    def left(self) -> int:
        """How much is left for all; below zero where the last amount was larger than what was left."""
        return self.total - self.taken

    def taken_by(self, account: A) -> int:
        """Return how much an account uses."""
        return self._each[account]

    @property
    def taken_by_each(self) -> Mapping[A, int]:
        """How much each account uses that uses anything."""
        return self._each

    def admits(self, account: A, amount: int = 1) -> bool:
        """Return whether an account may use so much more.

        An account that uses nothing may use any amount as long as something is left, so the budget is exceeded by one
        amount at most, and a large one never waits for ever.
        """
        used = self._each[account]
        return self.left > 0 and (used == 0 or used + amount <= self._share * self.left)

    def is_half_free(self, account: A) -> bool:
        """Return whether an account uses at most half of what it may: then it is worth fetching more of its work."""
        return self.left > 0 and 2 * self._each[account] <= self._share * self.left

    def take(self, account: A, amount: int = 1) -> None:
        """Use so much, whether it was admitted or not."""
        self.taken += amount
        self._each[account] += amount

    def release(self, account: A, amount: int = 1) -> None:
        """Give back what was taken. Raises ValueError for more than the account uses."""
        left = self._each[account] - amount
        if left < 0:
            raise ValueError(f"{amount} are given back of {self._each[account]}")
        self.taken -= amount
        if left:
            self._each[account] = left
        else:
            del self._each[account]


class RecordBudget(Generic[P, A]):
    """The records in memory: their number and their bytes, each divided between partitions and between accounts."""

    def __init__(self, *, max_records: int, max_bytes: int) -> None:
        self.records: AccountBudget[A] = AccountBudget(max_records, share=WAITING_SHARE)
        self.bytes: AccountBudget[A] = AccountBudget(max_bytes, share=WAITING_SHARE)
        self.partition_records: AccountBudget[P] = AccountBudget(max_records, share=PARTITION_SHARE)
        self.partition_bytes: AccountBudget[P] = AccountBudget(max_bytes, share=PARTITION_SHARE)

    def admits(self, partition: P, account: A, size: int) -> bool:
        """Return whether one more record of an account, of `size` bytes, may be in memory."""
        return (
            self.records.admits(account)
            and self.bytes.admits(account, size)
            and self.partition_records.admits(partition)
            and self.partition_bytes.admits(partition, size)
        )

    def is_half_free(self, partition: P, account: A) -> bool:
        """Return whether an account may have at least as much again as it has in memory."""
        return (
            self.records.is_half_free(account)
            and self.bytes.is_half_free(account)
            and self.partition_records.is_half_free(partition)
            and self.partition_bytes.is_half_free(partition)
        )

    def take(self, partition: P, account: A, size: int) -> None:
        """Count a record."""
        self.records.take(account)
        self.bytes.take(account, size)
        self.partition_records.take(partition)
        self.partition_bytes.take(partition, size)

    def release(self, partition: P, account: A, size: int) -> None:
        """Count a record no longer. Raises ValueError where it was not counted."""
        self.records.release(account)
        self.bytes.release(account, size)
        self.partition_records.release(partition)
        self.partition_bytes.release(partition, size)
