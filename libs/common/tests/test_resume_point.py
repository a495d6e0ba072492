"""Where reading resumes, whatever became of the log meanwhile: no record is passed over that nobody finished."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kafka.commit_note import OF_NOTHING, Done, Mark
from common.kafka.progress import PartitionProgress
from common.kafka.resume_point import (
    CLOCKS_APART_MS,
    Commit,
    Log,
    ResumePoint,
    mark_to_read,
    resume_point,
)

HOUR_MS = 60 * 60 * 1000


@dataclass
class Records:
    """A partition's log: the records at each offset from `begin` on, each with a name and a time."""

    begin: int = 0
    records: list[SimpleNamespace] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.begin + len(self.records)

    def append(self, name: str, at_ms: int) -> None:
        self.records.append(SimpleNamespace(offset=self.end, timestamp=at_ms, key=b"1:2", value=name.encode()))

    def at(self, offset: int) -> SimpleNamespace | None:
        return self.records[offset - self.begin] if self.begin <= offset < self.end else None

    def copied(self, begin: int) -> "Records":
        """Return the same records at other offsets, as MirrorMaker 2 copies them."""
        copy = Records(begin)
        for one in self.records:
            copy.append(one.value.decode(), one.timestamp)
        return copy

    def cut(self, end: int) -> None:
        self.records = self.records[: max(0, end - self.begin)]

    def expire(self, begin: int) -> None:
        begin = min(max(begin, self.begin), self.end)
        self.records = self.records[begin - self.begin :]
        self.begin = begin


def resumed(log: Records, commit: Commit | None) -> ResumePoint:
    """Resume as the reader of logs does: read the mark, decide, and search where the log was replaced."""
    now = Log(log.begin, log.end)
    wanted = mark_to_read(commit, now)
    record = log.at(wanted) if wanted is not None else None
    point = resume_point(commit, now, Mark.of(record) if record is not None else None)
    if point.search_ms is None:
        return point
    later = [one.offset for one in log.records if one.timestamp >= point.search_ms]
    offset = min(point.offset, later[0]) if later else log.begin
    return ResumePoint(max(log.begin, offset), point.done, point.mark, point.refusal)


def later(data: st.DataObject, became: str, log: Records, commit: Commit | None) -> tuple[Records, Commit | None]:
    """Return the log as it became, with later records, and the commit that lies beside it."""
    if became == "cut off":
        log.cut(data.draw(st.integers(log.begin, log.end), "cut at"))
    elif became == "made anew":
        log = Records()
    elif became == "copied":
        before, log = log, log.copied(data.draw(st.integers(0, 20), "copied to"))
        if commit is not None:  # what MirrorMaker translates to is never later
            reached = commit.offset - before.begin + log.begin
            commit = Commit(data.draw(st.integers(log.begin, reached), "translated"), commit.metadata)
    for number in range(data.draw(st.integers(0, 30), "later records")):
        # Whoever wrote them may have a clock that is behind by hours.
        behind = data.draw(st.sampled_from([0, 20 * HOUR_MS]), "behind")
        log.append(f"later {number}", (113 + number) * HOUR_MS - behind)
    if became in {"expired", "made anew", "cut off"}:
        log.expire(data.draw(st.integers(0, log.end), "expired to"))
    return log, commit


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_became_of_the_log_no_unfinished_record_is_passed_over(data):
    log, finished = Records(data.draw(st.integers(0, 5), "begin")), set()
    progress = PartitionProgress(log.begin)
    for number in range(data.draw(st.integers(0, 12), "records")):
        log.append(f"first {number}", (100 + number) * HOUR_MS)
    for record in log.records[: data.draw(st.integers(0, len(log.records)), "read")]:
        progress.begin(record.offset, record.timestamp)
        progress.set_mark(record)
        if data.draw(st.booleans(), "finished"):
            progress.finish(record.offset)
            finished.add(record.value)
    commit = Commit(progress.watermark, progress.note()) if progress.mark is not None else None

    became = data.draw(st.sampled_from(["same", "cut off", "made anew", "copied", "expired"]), "became")
    log, commit = later(data, became, log, commit)
    point = resumed(log, commit)
    successor = PartitionProgress(point.offset, point.done, point.mark)
    assert log.begin <= point.offset <= log.end
    passed = {one.value for one in log.records if one.offset < point.offset}
    skipped = {one.value for one in log.records if one.offset >= point.offset and not successor.begin(one.offset)}
    assert passed | skipped <= finished
    if became == "same":
        assert point.refusal is None
        assert skipped | passed == finished, "what was done is not done again"


DONE_TO_9_BUT_5 = Commit(5, '{"ahead":4,"but":"0","mark":[3,70,7]}')
ITS_MARK = Mark(8, 70, 7)


def test_what_was_committed_in_this_log_is_believed():
    assert mark_to_read(DONE_TO_9_BUT_5, Log(0, 20)) == 8
    assert resume_point(DONE_TO_9_BUT_5, Log(0, 20), ITS_MARK) == ResumePoint(5, Done(9, ((5, 1),)), ITS_MARK)


@pytest.mark.parametrize("found", [Mark(8, 70, 8), Mark(8, 71, 7), "unparsed", None])
def test_where_another_record_lies_at_the_mark_neither_offset_nor_note_is_believed(found):
    commit = Commit(5, f'{{"ahead":4,"but":"0","mark":[3,{CLOCKS_APART_MS + 70},7]}}')
    assert resume_point(commit, Log(0, 20), found) == ResumePoint(5, refusal="other_log", search_ms=70)


def test_a_record_that_could_not_be_parsed_marks_its_log_where_it_still_cannot_be_parsed():
    commit = Commit(9, f'{{"mark":[-1,70,{OF_NOTHING}]}}')
    assert resume_point(commit, Log(0, 9), "unparsed") == ResumePoint(9, Done(9), Mark(8, 70, OF_NOTHING))
    assert resume_point(commit, Log(0, 9), Mark(8, 70, 7)).refusal == "other_log"


def test_a_log_that_ends_before_the_mark_is_another():
    assert mark_to_read(DONE_TO_9_BUT_5, Log(0, 8)) is None
    assert resume_point(DONE_TO_9_BUT_5, Log(0, 8), None).refusal == "other_log"
    assert resume_point(DONE_TO_9_BUT_5, Log(0, 2), None).offset == 2


def test_a_mark_that_could_not_be_read_in_time_costs_repeated_work_and_no_record():
    assert resume_point(DONE_TO_9_BUT_5, Log(0, 20), "unread") == ResumePoint(5, refusal="unread")


def test_an_offset_without_a_note_is_an_operators_and_believed_inside_the_log():
    assert resume_point(Commit(5), Log(0, 20), None) == ResumePoint(5)
    assert resume_point(Commit(5, "by hand"), Log(0, 20), None) == ResumePoint(5, refusal="unreadable")
    assert resume_point(Commit(20), Log(0, 20), None) == ResumePoint(20)
    assert resume_point(Commit(21), Log(3, 20), None) == ResumePoint(3, refusal="beyond_end")


def test_an_offset_beyond_the_end_beside_a_true_mark_resumes_behind_the_mark():
    commit = Commit(50, '{"mark":[-42,70,7]}')
    assert resume_point(commit, Log(0, 20), ITS_MARK) == ResumePoint(9, mark=ITS_MARK, refusal="beyond_end")


def test_what_retention_deleted_unread_is_counted_without_what_was_done():
    assert resume_point(Commit(5), Log(9, 20), None) == ResumePoint(9, expired=4)
    assert resume_point(DONE_TO_9_BUT_5, Log(7, 20), ITS_MARK).expired == 1
    assert resume_point(DONE_TO_9_BUT_5, Log(12, 20), None) == ResumePoint(12, expired=1 + 3)


def test_an_idle_log_whose_records_have_all_expired_resumes_where_it_was():
    assert resume_point(Commit(9, '{"mark":[-1,70,7]}'), Log(9, 9), None) == ResumePoint(9)


def test_what_was_never_committed_is_read_from_its_beginning():
    assert resume_point(None, Log(3, 20), None) == ResumePoint(3)
