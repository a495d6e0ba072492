"""How far a partition has been worked off, when records finish in another order than they were read.

Pure bookkeeping, no I/O. A committed offset is the *next* offset to read, so it may only ever stand where everything
before it is finished: whatever crashes after that is read again. What is finished beyond it is in the commit's metadata
(`commit_note`), so whoever reads it again need not do it again.

Only unfinished offsets are kept. Everything between the watermark and the next offset to read that is not among them
is done, so a record that is stuck at the head costs no memory however many records pass it.
"""

from bisect import bisect_left
from typing import Any

from common.kafka.commit_note import MAX_NOTE, Done, Mark, runs_of, write_note

NOTHING = Done()


class PartitionProgress:
    """The unfinished records of one assigned partition.

    `start` is the first offset that will be read, `done` what earlier owners finished of it and beyond, `mark` the last
    record that they read.
    """

    __slots__ = ("_begun_at", "_done", "_unfinished", "mark", "next")

    def __init__(self, start: int, done: Done = NOTHING, mark: Mark | None = None) -> None:
        self.next = start
        """The offset behind the last one that was read."""
        self.mark = mark
        """The record farthest in this log that is known to have been read."""
        self._unfinished: list[int] = []
        self._begun_at: list[int] = []
        self._done = done

    def begin(self, offset: int, timestamp_ms: int = 0) -> bool:
        """Take in the next record; False when it was finished by an earlier owner of the partition.

        Raises ValueError when offsets do not rise.
        """
        if offset < self.next:
            raise ValueError(f"offset {offset} came after {self.next - 1}")
        self.next = offset + 1
        if self._done.covers(offset):
            return False
        self._unfinished.append(offset)
        self._begun_at.append(timestamp_ms)
        return True

    def set_mark(self, record: Any) -> None:
        """Mark this log with a record that was read from it, unless a record behind it marks it already."""
        if self.mark is None or record.offset > self.mark.offset:
            self.mark = Mark.of(record)

    def skip_to(self, position: int) -> None:
        """Take in that no further record lies before `position`.

        Offsets have gaps: a transaction's end takes one, and compaction and aborted transactions leave some.
        """
        self.next = max(self.next, position)

    def finish(self, offset: int) -> None:
        """Mark a record done. Raises KeyError for one that was not begun, or is done."""
        at = bisect_left(self._unfinished, offset)
        if at == len(self._unfinished) or self._unfinished[at] != offset:
            raise KeyError(offset)
        del self._unfinished[at], self._begun_at[at]

    @property
    def watermark(self) -> int:
        """The offset that is safe to commit."""
        return self._unfinished[0] if self._unfinished else self.next

    @property
    def outstanding(self) -> int:
        """How many records were begun and are not finished."""
        return len(self._unfinished)

    @property
    def oldest_ms(self) -> int | None:
        """When the record that holds the watermark was written, in ms since the epoch; None when there is none."""
        return self._begun_at[0] if self._unfinished else None

    def note(self, room: int = MAX_NOTE) -> str:
        """Return the commit's metadata: what is in progress (for `/api/queue/stats`) and what is done beyond it.

        What is done beyond it takes `room` characters at most.
        """
        undone = [*runs_of(self._unfinished), *self._done.undone_from(self.next)]
        in_progress = {}
        if self._unfinished:
            in_progress = {"in_progress": len(self._unfinished), "oldest_ms": self._begun_at[0]}
        return write_note(self.watermark, max(self.next, self._done.to), undone, self.mark, in_progress, room=room)
