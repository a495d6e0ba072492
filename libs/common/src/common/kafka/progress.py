"""How far a partition has been worked off, when records finish in another order than they were read.

Pure bookkeeping, no I/O. A committed offset is the *next* offset to read, so it may only ever stand where everything
before it is finished: whatever crashes after that is read again. What is finished beyond it is told in the commit's
metadata, so whoever reads it again need not do it again.

Only unfinished offsets are kept. Everything between the watermark and the next offset to read that is not among them
is done, so a record that is stuck at the head costs no memory however many records pass it.
"""

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator

MAX_NOTE = 3500
"""Characters of a commit's metadata; brokers take 4096 bytes (`offset.metadata.max.bytes`)."""

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class PartitionProgress:
    """The unfinished records of one assigned partition.

    `start` is the first offset that will be read, `note` the metadata that was committed with it ("" for none).
    """

    __slots__ = ("_begun_at", "_known_to", "_known_undone", "_unfinished", "next")

    def __init__(self, start: int, note: str = "") -> None:
        self.next = start
        """The offset behind the last one that was read."""
        self._unfinished: list[int] = []
        self._begun_at: list[int] = []
        self._known_to, self._known_undone = done_beyond(start, note)

    def begin(self, offset: int, timestamp_ms: int = 0) -> bool:
        """Take in the next record; False when it was finished by an earlier owner of the partition.

        Raises ValueError when offsets do not rise.
        """
        if offset < self.next:
            raise ValueError(f"offset {offset} came after {self.next - 1}")
        self.next = offset + 1
        if offset < self._known_to and offset not in self._known_undone:
            return False
        self._unfinished.append(offset)
        self._begun_at.append(timestamp_ms)
        return True

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

    def note(self) -> str:
        """Return the commit's metadata: what is in progress (for `/api/queue/stats`) and what is done beyond it."""
        ahead = [offset for offset in self._known_undone if offset >= self.next]
        told = _done_beyond_note(self.watermark, max(self.next, self._known_to), [*self._unfinished, *sorted(ahead)])
        if self._unfinished:
            told = {"in_progress": len(self._unfinished), "oldest_ms": self._begun_at[0], **told}
        return json.dumps(told, separators=(",", ":")) if told else ""


def _done_beyond_note(watermark: int, upto: int, undone: list[int]) -> dict[str, object]:
    """Return `{"done_to": …, "but": …}`: all before `done_to` is done but the runs in `but`, as gap or gap-length.

    Gaps and lengths are in base 36 and relative, so thousands of offsets fit; what does not fit is not told, and
    will be done again.
    """
    runs = list(_runs(undone))
    if runs and sum(runs[-1]) == upto:
        upto = runs.pop()[0]
    told: list[str] = []
    room, end = MAX_NOTE, watermark
    for first, length in runs:
        word = base36(first - end) + (f"-{base36(length)}" if length > 1 else "")
        room -= len(word) + 1
        if room < 0:
            upto = first
            break
        told.append(word)
        end = first + length
    if upto <= watermark:
        return {}
    return {"done_to": upto, "but": ".".join(told)}


def _runs(offsets: Iterable[int]) -> Iterator[tuple[int, int]]:
    first, length = 0, 0
    for offset in offsets:
        if length and offset == first + length:
            length += 1
            continue
        if length:
            yield first, length
        first, length = offset, 1
    if length:
        yield first, length


def done_beyond(start: int, note: str) -> tuple[int, frozenset[int]]:
    """Read a note: every offset before the first number is done, but those in the set. Foreign metadata says nothing.

    A note that names more undone offsets than the note of a subscriber can is foreign, too.
    """
    nothing: tuple[int, frozenset[int]] = (start, frozenset())
    try:
        told = json.loads(note) if note else {}
        upto, but = told["done_to"], told["but"]
        undone: set[int] = set()
        end = start
        for word in filter(None, but.split(".")):
            gap, _, length = word.partition("-")
            first, end = end + int(gap, 36), end + int(gap, 36) + int(length or "1", 36)
            if not start <= first < end <= upto:
                return nothing
            undone.update(range(first, end))
    except (ValueError, TypeError, KeyError, AttributeError):
        return nothing
    return (upto, frozenset(undone)) if isinstance(upto, int) and upto > start else nothing


def base36(number: int) -> str:
    """Return a number from 0 on in base 36."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
        if not number:
            return digits
