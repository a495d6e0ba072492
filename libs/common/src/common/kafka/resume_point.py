"""Where reading of a partition resumes, and what of its last commit is believed. Pure.

An offset means something only in the log in which it was counted. The commit names a record of that log, its mark
(`commit_note`); whether that record lies there now decides everything (docs/decisions/0013).
"""

from dataclasses import dataclass
from typing import Literal

from common.kafka.commit_note import OF_NOTHING, Done, Mark, Note, read_note
from common.kafka.progress import NOTHING

DAY_MS = 24 * 60 * 60 * 1000
CLOCKS_APART_MS = DAY_MS
"""How far the clocks of those who write to a topic are assumed to differ at most: looking for a time in another log
begins so much earlier. It costs repeated work, which has no effect; less would cost records.
"""

Found = Mark | Literal["unread", "unparsed"] | None
"""What lies where a mark says: that record's own mark, one that cannot be parsed, or none; "unread" is not known."""

Refusal = Literal["unreadable", "unread", "other_log", "beyond_end"]
"""Why a commit, or its note, is not believed. The first two cost repeated work; the others mean that the log was
replaced: cut off, made anew, or a copy.
"""


@dataclass(frozen=True)
class Commit:
    """An offset that was committed, with its metadata."""

    offset: int
    metadata: str = ""

    @property
    def note(self) -> Note | None:
        """What the metadata says, where it is one of ours."""
        return read_note(self.offset, self.metadata)


@dataclass(frozen=True)
class Log:
    """A partition's log as it is now: its first offset, and the one behind its last record."""

    begin: int
    end: int

    def has(self, offset: int) -> bool:
        """Tell whether a record may lie at an offset."""
        return self.begin <= offset < self.end


@dataclass(frozen=True)
class ResumePoint:
    """Where reading resumes. `expired` is how many offsets retention deleted before they were done, at most.

    `search_ms` is set where the log was replaced: reading begins with the first record from that time on, in ms since
    the epoch, where there is one before `offset`, and with the log's first record where there is none.
    """

    offset: int
    done: Done = NOTHING
    mark: Mark | None = None
    refusal: Refusal | None = None
    expired: int = 0
    search_ms: int | None = None


def mark_to_read(commit: Commit | None, log: Log) -> int | None:
    """Return the offset of the record that decides whether a commit is believed; None where nothing can decide it."""
    note = commit.note if commit is not None else None
    return note.mark.offset if note is not None and log.has(note.mark.offset) else None


def resume_point(commit: Commit | None, log: Log, found: Found) -> ResumePoint:
    """Decide where to resume. `found` is the record at `mark_to_read`: None where no record lies there."""
    if commit is None:
        return ResumePoint(log.begin)
    note = commit.note
    if note is None:
        refusal: Refusal | None = "unreadable" if commit.metadata else None
        return _resume_unmarked(commit, log, refusal)
    if note.mark.offset < log.begin:  # the mark is the last that was read, so all of this log is unread
        return ResumePoint(log.begin, expired=_expired(commit.offset, log.begin, note.done))
    if note.mark.offset < log.end and found == "unread":
        return _resume_unmarked(commit, log, "unread")
    if found != note.mark and not (found == "unparsed" and note.mark.checksum == OF_NOTHING):
        return ResumePoint(
            min(commit.offset, log.end), refusal="other_log", search_ms=max(0, note.mark.timestamp_ms - CLOCKS_APART_MS)
        )
    if commit.offset > log.end:
        return ResumePoint(note.mark.offset + 1, mark=note.mark, refusal="beyond_end")
    start = max(commit.offset, log.begin)
    return ResumePoint(start, note.done, note.mark, expired=_expired(commit.offset, log.begin, note.done))


def _resume_unmarked(commit: Commit, log: Log, refusal: Refusal | None) -> ResumePoint:
    """Believe an offset that nothing contradicts: an operator's, another tool's, or an earlier version's."""
    if commit.offset > log.end:
        return ResumePoint(log.begin, refusal="beyond_end")
    return ResumePoint(
        max(commit.offset, log.begin), refusal=refusal, expired=_expired(commit.offset, log.begin, NOTHING)
    )


def _expired(committed: int, begin: int, done: Done) -> int:
    if begin <= committed:
        return 0
    undone = sum(min(sum(run), begin) - run[0] for run in done.undone_from(committed) if run[0] < begin)
    return undone + max(0, begin - max(committed, done.to))
