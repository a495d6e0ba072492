"""What a commit says beside its offset: which records beyond it are done, and in which log they were counted.

Pure. The note is the commit's metadata, JSON in ASCII. Everything in it is relative to the committed offset, and its
*mark* describes one record that was read from the log: where it lies, when it was written, and a checksum. Logs only
grow at their end, so where the same record lies at the same place, everything before it is the same, too (the log
matching property; Ongaro and Ousterhout, "In search of an understandable consensus algorithm", 2014, section 5.3).
Where another record lies there, the note was copied beside a translated offset (MirrorMaker 2), or the log was cut off
or made anew: nothing in the note is true then (docs/decisions/0013).

    {"in_progress": 3, "oldest_ms": 1764600000000, "ahead": 57, "but": "0.3-2", "mark": [56, 1764600009000, 305419896]}

`ahead` offsets from the committed one on are done, but for the runs in `but`, as gap or gap-length in base 36. The
first two are read by `/api/queue/stats`. What does not fit is left out, and will be done again.
"""

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self
from zlib import crc32

MAX_NOTE = 3500
"""Characters of the runs in a note; brokers take 4096 bytes of metadata (`offset.metadata.max.bytes`)."""

MAX_METADATA = 4096
MAX_OFFSET = 2**63 - 1

DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Run = tuple[int, int]
"""The first offset of some that follow one another, and how many they are."""


OF_NOTHING = crc32(b"")
"""The checksum of a record of which only its offset is known: it cannot be parsed."""


@dataclass(frozen=True)
class Mark:
    """One record that was read: its offset, when it was written (ms since the epoch), and a checksum of its content."""

    offset: int
    timestamp_ms: int
    checksum: int

    @classmethod
    def of(cls, record: Any) -> Self:
        """Return the mark of a record, which has `offset`, `timestamp`, `key` and `value`."""
        return cls(record.offset, record.timestamp, crc32(record.value or b"", crc32(record.key or b"")))


@dataclass(frozen=True)
class Done:
    """Every offset before `to` is done, but those of the runs in `undone`, which rise."""

    to: int = 0
    undone: tuple[Run, ...] = ()

    def covers(self, offset: int) -> bool:
        """Tell whether an offset is done."""
        if offset >= self.to:
            return False
        at = bisect_right(self.undone, (offset, MAX_OFFSET)) - 1
        return at < 0 or offset >= sum(self.undone[at])

    def up_to(self, end: int) -> Self:
        """Return what of it lies before `end`."""
        return self if self.to <= end else replace(self, to=end)

    def undone_from(self, offset: int) -> list[Run]:
        """Return the runs of undone offsets from one on."""
        return [
            (max(first, offset), first + length - max(first, offset))
            for first, length in self.undone
            if first + length > offset
        ]


@dataclass(frozen=True)
class Note:
    """A commit's metadata, with absolute offsets: believed only where its mark is found in the log."""

    done: Done
    mark: Mark


def write_note(
    watermark: int,
    done_to: int,
    undone: Sequence[Run],
    mark: Mark | None,
    in_progress: Mapping[str, int],
    *,
    room: int = MAX_NOTE,
) -> str:
    """Return a commit's metadata: all before `done_to` is done but `undone`, which rises. Without a mark it is empty.

    `in_progress` is written into it as it is. The runs take `room` characters at most.
    """
    if mark is None:
        return ""
    ahead, but = _claim(watermark, min(done_to, mark.offset + 1), list(undone), room)
    content: dict[str, object] = {**in_progress, **({"ahead": ahead, "but": but} if ahead > 0 else {})}
    content["mark"] = [mark.offset - watermark, mark.timestamp_ms, mark.checksum]
    return json.dumps(content, separators=(",", ":"))


def _claim(watermark: int, done_to: int, runs: list[Run], room: int) -> tuple[int, str]:
    while runs and sum(runs[-1]) >= done_to:
        done_to = min(done_to, runs.pop()[0])
    words: list[str] = []
    end = watermark
    for first, length in runs:
        word = base36(first - end) + (f"-{base36(length)}" if length > 1 else "")
        room -= len(word) + 1
        if room < 0:
            done_to = first
            break
        words.append(word)
        end = first + length
    return done_to - watermark, ".".join(words)


def runs_of(offsets: Iterable[int]) -> Iterator[Run]:
    """Return the runs of rising offsets."""
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


def read_note(offset: int, metadata: str) -> Note | None:
    """Read the metadata that was committed with an offset; None where it is not one of ours, or contradicts itself.

    It takes as much memory as its text has runs, whatever the numbers in it.
    """
    try:
        if len(metadata) > MAX_METADATA:
            return None
        content = json.loads(metadata)
        at, timestamp_ms, checksum = content["mark"]
        ahead, but = content.get("ahead", 0), content.get("but", "")
        mark = Mark(offset + at, timestamp_ms, checksum)
        if not _are_integers(at, timestamp_ms, checksum, ahead) or not 0 <= mark.offset < MAX_OFFSET:
            return None
        if not 0 <= ahead <= max(at + 1, 0):
            return None
        undone = _read_runs(offset, offset + ahead, but)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return Note(Done(offset + ahead, undone), mark) if undone is not None else None


def _read_runs(start: int, end: int, words: str) -> tuple[Run, ...] | None:
    undone: list[Run] = []
    before = start
    for word in filter(None, words.split(".")):
        gap, _, length = word.partition("-")
        run = before + int(gap, 36), int(length or "1", 36)
        if not before <= run[0] < sum(run) <= end:
            return None
        undone.append(run)
        before = sum(run)
    return tuple(undone)


def _are_integers(*values: object) -> bool:
    return all(type(value) is int and abs(value) <= MAX_OFFSET for value in values)


def base36(number: int) -> str:
    """Return a number from 0 on in base 36."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = DIGITS[digit] + digits
        if not number:
            return digits
