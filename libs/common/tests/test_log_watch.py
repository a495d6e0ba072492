"""A log that was replaced is noticed, also where Kafka did not answer the first time it was asked."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from common.kafka.commit_note import Mark
from common.kafka.lease import Lease
from common.kafka.log_watch import LogWatch
from common.kafka.ownership import Ownership
from common.kafka.resume_point import Log, resume_point

HERE = TopicPartition("t", 0)
FIRST, SECOND, THIRD = (Mark(offset, 70 + offset, offset) for offset in (4, 8, 12))


class Assignment:
    """An assignment of one partition; `mark` is the last record that was read of it."""

    def __init__(self) -> None:
        self.mark = FIRST
        self.progress = {HERE: None}

    def marks(self):
        return {HERE: self.mark}

    async def count_expired(self, _):
        pass

    def report(self, *_):
        pass


class Logs:
    """The log as it is: `records` by their offsets; `fails` is what becomes of the next look."""

    def __init__(self) -> None:
        self.records = {4: FIRST}
        self.fails = None

    async def resume_points(self, partitions, commits):
        failure, self.fails = self.fails, None
        if isinstance(failure, Exception):
            raise failure
        found = {one: failure or self.records.get(commits[one].note.mark.offset) for one in partitions}
        return {one: resume_point(commits[one], Log(0, 20), found[one]) for one in partitions}


@pytest.mark.parametrize("failure", [KafkaConnectionError(), "unread"])
async def test_a_log_that_was_replaced_before_a_look_failed_is_noticed_at_the_next(failure):
    assignment, logs, ownership, resumed = Assignment(), Logs(), Ownership(Lease(10)), []

    async def resume_at(offsets):
        resumed.append(dict(offsets))

    watch = LogWatch(assignment, ownership, logs, resume_at)
    await watch.look()
    assignment.mark, logs.records = SECOND, {8: SECOND, 12: THIRD}  # made anew, and read on beyond the first mark
    logs.fails = failure
    try:
        await watch.look()
    except KafkaConnectionError:
        assert failure != "unread"
    assignment.mark = THIRD
    assert resumed == []
    await watch.look()
    assert [list(offsets) for offsets in resumed] == [[HERE]]


async def test_a_log_that_only_grows_is_never_resumed():
    assignment, logs = Assignment(), Logs()

    async def resume_at(offsets):
        raise AssertionError(offsets)

    watch = LogWatch(assignment, Ownership(Lease(10)), logs, resume_at)
    for mark in (FIRST, SECOND, SECOND, THIRD):
        assignment.mark = logs.records[mark.offset] = mark
        await watch.look()
        logs.fails = "unread"
        await watch.look()
