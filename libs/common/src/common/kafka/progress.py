"""How far a partition has been worked off, when records finish in another order than they were read.

Pure bookkeeping, no I/O. A committed offset is the *next* offset to read, so it may only ever stand right behind a
prefix of records that are all finished: whatever crashes after that is read again, whatever is before it is done.
"""

from collections import deque


class PartitionProgress:
    """The outstanding and finished records of one assigned partition."""

    __slots__ = ("_begun_at", "_finished", "_order", "watermark")

    def __init__(self) -> None:
        self._order: deque[int] = deque()
        self._finished: set[int] = set()
        self._begun_at: dict[int, int] = {}
        self.watermark: int | None = None
        """The offset that is safe to commit, or None while nothing has finished."""

    def begin(self, offset: int, timestamp_ms: int = 0) -> None:
        """Take in the next record. Raises ValueError when offsets do not rise."""
        if self._order and offset <= self._order[-1]:
            raise ValueError(f"offset {offset} came after {self._order[-1]}")
        self._order.append(offset)
        self._begun_at[offset] = timestamp_ms

    def finish(self, offset: int) -> None:
        """Mark a record done and move the watermark over the finished head. Raises KeyError for an unknown offset."""
        del self._begun_at[offset]
        self._finished.add(offset)
        while self._order and self._order[0] in self._finished:
            head = self._order.popleft()
            self._finished.discard(head)
            self.watermark = head + 1

    @property
    def outstanding(self) -> int:
        """How many records were begun and are not finished."""
        return len(self._begun_at)

    @property
    def oldest_ms(self) -> int | None:
        """When the record that holds the watermark was written, in ms since the epoch; None when there is none."""
        return self._begun_at[self._order[0]] if self._order else None
