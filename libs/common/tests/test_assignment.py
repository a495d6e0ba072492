"""Partitions are taken up where their last owner stopped, and let go when their epoch ends."""

import json
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry

from common.kafka.assignment import Assignment
from common.kafka.commit_note import Mark
from common.kafka.dead_letter_limit import FEWEST, Decision
from common.kafka.lease import Lease
from common.kafka.log_reader import LogReader
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.progress import PartitionProgress
from common.kafka.stopped import StoppedPartitions

ONE, TWO = TopicPartition("t", 1), TopicPartition("t", 2)


def record(partition, offset):
    return SimpleNamespace(
        topic=partition.topic, partition=partition.partition, offset=offset, timestamp=70, key=b"1:2", value=b"{}"
    )


def done_to_9_but_5(mark: Mark) -> str:
    return json.dumps({"ahead": 4, "but": "0", "mark": [mark.offset - 5, mark.timestamp_ms, mark.checksum]})


HERE = done_to_9_but_5(Mark.of(record(ONE, 8)))
ELSEWHERE = done_to_9_but_5(Mark(8, 70, 1))


class Consumer:
    """A consumer that was assigned partitions; `meanwhile` happens while it asks Kafka.

    `logs` are where each partition's log begins and ends, `stuck` the partitions that send no record.
    """

    def __init__(self, committed, logs, meanwhile=lambda: None, stuck=()) -> None:
        self._committed, self._logs, self._meanwhile, self._stuck = committed, logs, meanwhile, stuck
        self._coordinator = self
        self.sought, self.commits, self.takes = {}, [], 4096

    def assignment(self):
        return frozenset(self._logs)

    async def fetch_committed_offsets(self, _):
        self._meanwhile()
        return self._committed

    def seek(self, partition, offset):
        self.sought[partition] = offset

    async def commit(self, offsets):
        if any(len(one.metadata) > self.takes for one in offsets.values()):
            raise OffsetMetadataTooLargeError
        self.commits.append({partition: one.offset for partition, one in offsets.items()})

    def reader(self):
        """Return a client without a group that looks into the same logs."""
        return Reader(self._logs, self._stuck)


class Reader:
    """A client without a group."""

    def __init__(self, logs, stuck) -> None:
        self._logs, self._stuck, self._sought = logs, stuck, {}

    async def beginning_offsets(self, partitions):
        return {one: self._logs[one][0] for one in partitions}

    async def end_offsets(self, partitions):
        return {one: self._logs[one][1] for one in partitions}

    async def offsets_for_times(self, times):
        return dict.fromkeys(times)

    def assign(self, partitions):
        assert not set(partitions) - self._logs.keys()

    def seek(self, partition, offset):
        self._sought[partition] = offset

    async def getmany(self, partition, **_):
        return {} if partition in self._stuck else {partition: [record(partition, self._sought[partition])]}

    async def stop(self):
        pass


@pytest.fixture
def metrics() -> KafkaMetrics:
    return KafkaMetrics(CollectorRegistry())


@pytest.fixture
def ownership() -> Ownership:
    ownership = Ownership(Lease(10))
    ownership.begin()
    return ownership


@pytest.fixture
def stopped(metrics) -> StoppedPartitions:
    return StoppedPartitions(metrics, 20)


class Assigned(Assignment):
    """An assignment whose reader of logs looks into those of the consumer it resumes."""

    async def take_up(self, consumer) -> int:
        async def connect():
            return consumer.reader()

        self._logs = LogReader(connect, 0.05)
        return await super().take_up(consumer)


@pytest.fixture
def assignment(ownership, stopped, metrics) -> Assignment:
    return Assigned(ownership, stopped, metrics, LogReader(None, 0))


def read(progress: PartitionProgress, *offsets: int) -> list[bool]:
    new = [progress.begin(offset) for offset in offsets]
    progress.set_mark(record(ONE, offsets[-1]))
    return new


def refused(metrics: KafkaMetrics, reason: str) -> float:
    return metrics.commits_refused.labels(reason)._value.get()


async def test_a_partition_is_read_from_what_was_committed_without_what_was_done_beyond_it(
    assignment, ownership, metrics
):
    consumer = Consumer({ONE: OffsetAndMetadata(5, HERE)}, {ONE: (0, 20), TWO: (3, 20)})
    assert await assignment.take_up(consumer) == ownership.epoch
    assert consumer.sought == {ONE: 5, TWO: 3}
    assert read(assignment.progress[ONE], 5, 6, 8, 9) == [True, False, False, True]
    assert [refused(metrics, reason) for reason in ("unreadable", "unread", "other_log", "beyond_end")] == [0] * 4


async def test_where_the_log_begins_later_the_records_that_nobody_read_are_counted(assignment, metrics):
    consumer = Consumer({ONE: OffsetAndMetadata(5, HERE)}, {ONE: (7, 20)})
    await assignment.take_up(consumer)
    assert consumer.sought == {ONE: 7}
    assert read(assignment.progress[ONE], 7, 8, 9) == [False, False, True]
    assert metrics.expired.labels("t")._value.get() == 1


async def test_what_was_counted_in_another_log_is_refused_and_counted_and_its_neighbour_is_not_touched(
    assignment, metrics
):
    consumer = Consumer(
        {ONE: OffsetAndMetadata(5, ELSEWHERE), TWO: OffsetAndMetadata(5, HERE)}, {ONE: (0, 20), TWO: (0, 20)}
    )
    await assignment.take_up(consumer)
    assert consumer.sought == {ONE: 0, TWO: 5}
    assert read(assignment.progress[ONE], 0, 5, 8) == [True, True, True]
    assert refused(metrics, "other_log") == 1


async def test_a_partition_that_sends_no_record_in_time_keeps_its_offset_and_loses_its_note(assignment, metrics):
    consumer = Consumer({ONE: OffsetAndMetadata(5, HERE)}, {ONE: (0, 20)}, stuck={ONE})
    await assignment.take_up(consumer)
    assert consumer.sought == {ONE: 5}
    assert read(assignment.progress[ONE], 5, 8) == [True, True]
    assert refused(metrics, "unread") == 1


async def test_nothing_is_committed_for_a_partition_of_which_nothing_was_read(assignment):
    """Nobody could tell later in which log the offset was counted."""
    consumer = Consumer({}, {ONE: (0, 20)})
    await assignment.take_up(consumer)
    assignment.progress[ONE].skip_to(4)
    await assignment.commit(consumer)
    assert consumer.commits == []


async def test_nothing_is_taken_up_when_the_epoch_ends_meanwhile(assignment, ownership):
    consumer = Consumer({}, {ONE: (0, 9)}, meanwhile=ownership.end)
    assert await assignment.take_up(consumer) != ownership.epoch
    assert consumer.sought == assignment.progress == {}


async def test_only_what_moved_is_committed(assignment):
    consumer = Consumer({ONE: OffsetAndMetadata(5, ""), TWO: OffsetAndMetadata(5, "")}, {ONE: (0, 9), TWO: (0, 9)})
    await assignment.take_up(consumer)
    read(assignment.progress[ONE], 5)
    assignment.progress[ONE].finish(5)
    await assignment.commit(consumer)
    await assignment.commit(consumer)
    assert consumer.commits == [{ONE: 6}]


async def test_after_it_was_let_go_nothing_is_known_owned_or_stopped(assignment, ownership, stopped):
    await assignment.take_up(Consumer({}, {ONE: (0, 9), TWO: (0, 9)}))
    keys = (b"1:5", b"2:5", b"3:5", b"4:5")
    deaths = [stopped.decide(ONE, keys[number % 4]) for number in range(FEWEST + 2)]
    assert deaths == [Decision.PUBLISH] * FEWEST + [Decision.STOP] * 2
    assert stopped.decide(TWO, b"1:5") is Decision.PUBLISH
    assert set(stopped) == {ONE}
    epoch = ownership.epoch
    assignment.let_go()
    assert not ownership.owns(epoch)
    assert assignment.progress == {}
    assert set(stopped) == set()
    assert stopped.decide(ONE, b"1:5") is Decision.STOP, "whoever has it now decides"


async def test_waiting_for_what_is_read_ends_when_all_was_read_and_not_before(assignment):
    await assignment.take_up(Consumer({}, {ONE: (0, 9), TWO: (0, 9)}))
    read(assignment.progress[ONE], 0, 1)
    await assignment.has_read({ONE: 2}, 0.01)
    with pytest.raises(TimeoutError):
        await assignment.has_read({ONE: 2, TWO: 1}, 0.01)


async def test_a_broker_that_takes_less_metadata_gets_shorter_notes_and_every_offset(assignment):
    consumer = Consumer({}, {ONE: (0, 9000)})
    await assignment.take_up(consumer)
    progress = assignment.progress[ONE]
    read(progress, *range(4000))
    for offset in range(0, 4000, 2):
        progress.finish(offset)
    consumer.takes = 700
    for _ in range(8):
        await assignment.commit_or_warn(consumer)
    assert consumer.commits == [{ONE: 1}]


async def test_a_log_that_was_cut_off_while_it_was_read_is_counted_as_replaced(assignment, metrics):
    await assignment.take_up(Consumer({}, {ONE: (0, 9)}))
    read(assignment.progress[ONE], 0, 1, 2)
    progress = assignment.went_back(ONE, 1)
    assert assignment.progress[ONE] is progress
    assert (progress.next, progress.mark) == (1, None)
    assert refused(metrics, "other_log") == 1
