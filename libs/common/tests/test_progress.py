"""A partition's bookkeeping, against a model that remembers everything."""

import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.kafka.commit_note import MAX_NOTE, Done, read_note
from common.kafka.progress import PartitionProgress


def read(progress: PartitionProgress, offset: int, timestamp_ms: int = 0) -> bool:
    """Take in one record, as the subscriber does."""
    new = progress.begin(offset, timestamp_ms)
    progress.set_mark(SimpleNamespace(offset=offset, timestamp=timestamp_ms, key=b"1:2", value=b"%d" % offset))
    return new


def successor(offset: int, metadata: str) -> PartitionProgress:
    """Return the progress of the next owner, who finds the same log."""
    note = read_note(offset, metadata)
    return PartitionProgress(offset, note.done, note.mark) if note is not None else PartitionProgress(offset)


class Bookkeeping(RuleBasedStateMachine):
    """One partition, its owners one after another, and what a model of plain lists and sets says of it."""

    @initialize(start=st.integers(0, 10_000))
    def begin_with_an_owner(self, start):
        self.log: list[int] = []
        self.done: set[int] = set()
        self.open: list[int] = []
        self.end = start
        self.committed = (start, "")
        self.progress = PartitionProgress(start)

    @rule(gap=st.sampled_from([0, 0, 0, 0, 1, 7]), count=st.one_of(st.integers(1, 3), st.integers(10, 2000)))
    def append(self, gap, count):
        self.end += gap  # compaction and transactions leave gaps
        self.log += range(self.end, self.end + count)
        self.end += count

    @rule(most=st.one_of(st.integers(1, 3), st.integers(10, 3000)))
    def deliver(self, most):
        for offset in [offset for offset in self.log if offset >= self.progress.next][:most]:
            if read(self.progress, offset, offset * 10):
                self.open.append(offset)
            else:
                assert offset in self.done

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data):
        offset = data.draw(st.sampled_from(self.open))
        self.progress.finish(offset)
        self.open.remove(offset)
        self.done.add(offset)

    @precondition(lambda self: len(self.open) > 20)
    @rule(step=st.integers(2, 5))
    def finish_every_other(self, step):
        for offset in self.open[1::step]:
            self.progress.finish(offset)
            self.open.remove(offset)
            self.done.add(offset)

    @rule()
    def move_on_over_offsets_without_records(self):
        """A transaction's end, or what compaction left of one, lies at the end of the log."""
        if all(offset < self.progress.next for offset in self.log):
            self.progress.skip_to(self.end)

    @precondition(lambda self: self.open)
    @rule()
    def fail_or_cancel(self):
        """A record that failed, is retried or was let go is simply not finished."""
        assert self.progress.watermark <= self.open[0]

    @rule()
    def commit(self):
        self.committed = (self.progress.watermark, self.progress.note())

    @rule(committed_before=st.booleans())
    def revoke_or_crash_and_reassign(self, committed_before):
        if committed_before:
            self.commit()
        self.progress = successor(*self.committed)
        self.open = []

    @invariant()
    def everything_before_the_watermark_is_done(self):
        assert {offset for offset in self.log if offset < self.progress.watermark} <= self.done
        assert self.progress.watermark == (self.open[0] if self.open else self.progress.next)

    @invariant()
    def it_knows_what_is_outstanding(self):
        assert self.progress.outstanding == len(self.open)
        assert self.progress.oldest_ms == (self.open[0] * 10 if self.open else None)

    @invariant()
    def the_note_tells_the_truth_and_fits(self):
        note = self.progress.note()
        assert len(note.encode()) < 4096
        told = read_note(self.progress.watermark, note)
        claimed = told.done if told is not None else Done()
        assert {one for one in self.log if one >= self.progress.watermark and claimed.covers(one)} <= self.done
        assert note == "" or told is not None


Bookkeeping.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBookkeeping = Bookkeeping.TestCase


@given(st.sets(st.integers(0, 200), min_size=1), st.integers(201, 300))
def test_a_successor_skips_exactly_what_is_done_as_far_as_it_fits(undone, end):
    first = PartitionProgress(0)
    for offset in range(end):
        read(first, offset)
    for offset in set(range(end)) - undone:
        first.finish(offset)
    second = successor(first.watermark, first.note())
    again = {offset for offset in range(first.watermark, end) if second.begin(offset)}
    assert again == undone


def test_what_does_not_fit_into_a_commit_is_done_again_and_nothing_else():
    first = PartitionProgress(0)
    for offset in range(100_000):
        read(first, offset)
    for offset in range(1, 100_000, 2):
        first.finish(offset)
    note = first.note()
    assert MAX_NOTE - 200 < len(note) < 4096
    second = successor(0, note)
    again = [offset for offset in range(100_000) if second.begin(offset)]
    assert set(range(0, 100_000, 2)) <= set(again)
    assert len(again) < 100_000


def test_a_stuck_head_costs_one_entry_however_many_records_pass_it():
    progress = PartitionProgress(0)
    read(progress, 0)
    for offset in range(1, 200_000):
        read(progress, offset)
        progress.finish(offset)
    assert progress.outstanding == 1
    note = json.loads(progress.note())
    assert note.pop("mark")[0] == 199_999
    assert note == {"in_progress": 1, "oldest_ms": 0, "ahead": 200_000, "but": "0"}


def test_what_an_earlier_owner_did_is_still_told_before_it_was_read_again():
    first = PartitionProgress(10)
    for offset in range(10, 20):
        read(first, offset)
    for offset in range(12, 20):
        first.finish(offset)
    second = successor(10, first.note())
    read(second, 10)
    third = successor(10, second.note())
    assert [offset for offset in range(10, 20) if third.begin(offset)] == [10, 11]


def test_an_offset_that_does_not_rise_is_refused():
    progress = PartitionProgress(0)
    progress.begin(5)
    with pytest.raises(ValueError, match="offset 5 came after 5"):
        progress.begin(5)


def test_finishing_what_was_never_begun_is_an_error():
    with pytest.raises(KeyError):
        PartitionProgress(0).finish(1)


def test_a_transactions_end_at_the_end_of_the_log_is_committed_past():
    progress = PartitionProgress(0)
    read(progress, 0)
    progress.skip_to(2)
    assert (progress.watermark, progress.next) == (0, 2)
    progress.finish(0)
    assert progress.watermark == 2


def test_a_position_that_was_passed_already_moves_nothing_back():
    progress = PartitionProgress(7)
    progress.skip_to(3)
    assert progress.next == 7
