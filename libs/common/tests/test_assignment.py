"""Partitions are taken up where their last owner stopped, and let go when their epoch ends."""

import json

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata
from prometheus_client import CollectorRegistry

from common.kafka.assignment import Assignment
from common.kafka.dead_letter_limit import FEWEST, Decision
from common.kafka.lease import Lease
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.progress import PartitionProgress
from common.kafka.stopped import StoppedPartitions

ONE, TWO = TopicPartition("t", 1), TopicPartition("t", 2)
DONE_TO_9_BUT_5 = json.dumps({"done_to": 9, "but": "0"})


class Consumer:
    """A consumer that was assigned two partitions; `meanwhile` happens while it asks Kafka."""

    def __init__(self, committed, oldest, meanwhile=lambda: None) -> None:
        self._committed, self._oldest, self._meanwhile = committed, oldest, meanwhile
        self._coordinator = self
        self.sought, self.commits = {}, []

    def assignment(self):
        return frozenset(self._oldest)

    async def fetch_committed_offsets(self, _):
        self._meanwhile()
        return self._committed

    async def beginning_offsets(self, _):
        return self._oldest

    def seek(self, partition, offset):
        self.sought[partition] = offset

    async def commit(self, offsets):
        self.commits.append({partition: one.offset for partition, one in offsets.items()})


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


@pytest.fixture
def assignment(ownership, stopped, metrics) -> Assignment:
    return Assignment(ownership, stopped, metrics)


def read(progress: PartitionProgress, *offsets: int) -> list[bool]:
    return [progress.begin(offset) for offset in offsets]


async def test_a_partition_is_read_from_what_was_committed_without_what_was_done_beyond_it(assignment, ownership):
    consumer = Consumer({ONE: OffsetAndMetadata(5, DONE_TO_9_BUT_5)}, {ONE: 0, TWO: 3})
    assert await assignment.take_up(consumer) == ownership.epoch
    assert consumer.sought == {ONE: 5, TWO: 3}
    assert read(assignment.progress[ONE], 5, 6, 8, 9) == [True, False, False, True]


async def test_what_was_committed_says_nothing_where_the_log_begins_later(assignment):
    consumer = Consumer({ONE: OffsetAndMetadata(5, DONE_TO_9_BUT_5)}, {ONE: 7})
    await assignment.take_up(consumer)
    assert consumer.sought == {ONE: 7}
    assert read(assignment.progress[ONE], 7, 8) == [True, True]


async def test_nothing_is_taken_up_when_the_epoch_ends_meanwhile(assignment, ownership):
    consumer = Consumer({}, {ONE: 0}, meanwhile=ownership.end)
    assert await assignment.take_up(consumer) != ownership.epoch
    assert consumer.sought == assignment.progress == {}


async def test_only_what_moved_is_committed(assignment):
    consumer = Consumer({ONE: OffsetAndMetadata(5, ""), TWO: OffsetAndMetadata(5, "")}, {ONE: 0, TWO: 0})
    await assignment.take_up(consumer)
    read(assignment.progress[ONE], 5)
    assignment.progress[ONE].finish(5)
    await assignment.commit(consumer)
    await assignment.commit(consumer)
    assert consumer.commits == [{ONE: 6}]


async def test_after_it_was_let_go_nothing_is_known_owned_or_stopped(assignment, ownership, stopped):
    await assignment.take_up(Consumer({}, {ONE: 0, TWO: 0}))
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
    await assignment.take_up(Consumer({}, {ONE: 0, TWO: 0}))
    read(assignment.progress[ONE], 0, 1)
    await assignment.has_read({ONE: 2}, 0.01)
    with pytest.raises(TimeoutError):
        await assignment.has_read({ONE: 2, TWO: 1}, 0.01)
