"""What becomes of a record that was read: into its lane, or left in the log while its account has its share."""

import random

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from common.kafka.assignment import Assignment
from common.kafka.intake import RECORD_BYTES, Intake, size_of
from common.kafka.lanes import Lanes
from common.kafka.lease import Lease
from common.kafka.log_reader import LogReader
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.progress import PartitionProgress
from common.kafka.stopped import StoppedPartitions
from common.settings import KafkaSettings

ONE, TWO = TopicPartition("t", 0), TopicPartition("t", 1)
MIB = 1024 * 1024


def record(partition: TopicPartition, offset: int, key: str, size: int = 10) -> ConsumerRecord:
    value = b"x" * size
    headers = (("name", b"value"),)
    return ConsumerRecord(
        partition.topic, partition.partition, offset, 0, 0, key.encode(), value, None, len(key), size, headers
    )


async def no_connection() -> None:
    raise AssertionError("nothing is taken up here")


class Consumer:
    def __init__(self) -> None:
        self._paused: set[TopicPartition] = set()

    def paused(self) -> set[TopicPartition]:
        return set(self._paused)

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)


class Reader:
    """An intake of two partitions, with the log they are read from and the lanes their records come into."""

    def __init__(self, **limits: int) -> None:
        self.lanes = Lanes()
        metrics = KafkaMetrics(CollectorRegistry())
        ownership = Ownership(Lease(10))
        self.assignment = Assignment(ownership, StoppedPartitions(metrics, 20), metrics, LogReader(no_connection, 1))
        self.begun: list[bytes] = []
        self.intake = Intake(
            lane_of=lambda one: one.key,
            lanes=self.lanes,
            take_on=lambda key, lane: self.begun.append(key),
            assignment=self.assignment,
            ownership=ownership,
            settings=KafkaSettings(**limits),
            metrics=metrics,
        )
        self.log: dict[TopicPartition, list[ConsumerRecord]] = {ONE: [], TWO: []}
        for partition in self.log:
            self.assignment.progress[partition] = PartitionProgress(0)
        self.consumer = Consumer()
        self.handled: list[ConsumerRecord] = []

    def read(self, partition: TopicPartition, *keys: str, size: int = 10) -> None:
        """Let so many records come to a partition, and take them in."""
        at = len(self.log[partition])
        fresh = [record(partition, at + number, key, size) for number, key in enumerate(keys)]
        self.log[partition] += fresh
        self.intake.take_in(partition, fresh)
        self.intake.pause_what_is_full(self.consumer, ())

    def handle(self, key: str) -> None:
        """Handle the first record of a lane."""
        lane = self.lanes._lanes[key.encode()]
        entry = lane.waiting[0]
        self.handled.append(entry.record)
        lane.done()
        self.intake.finish(entry)
        if not lane.waiting:
            self.lanes.end(key.encode(), lane)

    def reread(self, batch: int = 7) -> None:
        """Read deferred records again, as far as there is room, as `rereading` does."""
        for partition in self.intake.deferred_partitions:
            accounts = self.intake.accounts_with_room(partition)
            at = self.intake.first_deferred(partition, accounts)
            while accounts and at is not None and (found := self.since(partition, at)[:batch]):
                accounts = self.intake.readmit(partition, found, accounts)
                at = found[-1].offset + 1

    def since(self, partition: TopicPartition, offset: int) -> list[ConsumerRecord]:
        return [one for one in self.log[partition] if one.offset >= offset]

    @property
    def deferred(self) -> int:
        return len(self.intake._deferred)

    @property
    def present(self) -> int:
        return self.intake._budget.records.taken


def test_what_one_account_has_beyond_its_share_is_deferred_and_another_accounts_record_goes_into_its_lane():
    reader = Reader(max_outstanding=100)
    reader.read(ONE, *(f"loud:{number}" for number in range(500)))
    assert reader.present == 20
    reader.read(ONE, "quiet:1")
    assert b"quiet:1" in reader.begun
    assert not reader.consumer.paused()
    assert reader.assignment.progress[ONE].outstanding == 501, "nothing deferred is ever committed past"


def test_bytes_are_a_budget_like_numbers():
    reader = Reader(max_outstanding=100_000, max_outstanding_bytes=MIB)
    reader.read(ONE, *(f"loud:{number}" for number in range(500)), size=60_000)
    assert reader.present * 60_000 <= MIB / 5 + 60_000
    reader.read(ONE, "quiet:1", size=60_000)
    assert b"quiet:1" in reader.begun


def test_a_partition_that_fills_up_with_the_records_of_many_is_paused_and_read_again_when_they_are_done():
    reader = Reader(max_outstanding=40)
    reader.read(ONE, *(f"shop{number}:1" for number in range(30)))
    assert reader.consumer.paused() == {ONE}
    assert (reader.present, reader.deferred) == (20, 10), "what was fetched already is deferred, not let in"
    for number in range(20):
        reader.handle(f"shop{number}:1")
    reader.intake.pause_what_is_full(reader.consumer, ())
    assert not reader.consumer.paused()
    reader.reread()
    assert (reader.present, reader.deferred) == (10, 0)


def test_a_partition_is_paused_where_more_is_deferred_than_can_be_kept_account_of():
    reader = Reader(max_outstanding=100, max_deferred=50)
    reader.read(ONE, *(f"loud:{number}" for number in range(70)))
    assert reader.consumer.paused() == {ONE}
    reader.read(TWO, "quiet:1")
    assert reader.consumer.paused() == {ONE}


def test_deferred_records_that_the_log_no_longer_holds_are_given_up():
    reader = Reader(max_outstanding=10)
    reader.read(ONE, *(["loud:1"] * 10))
    assert reader.deferred == 8
    reader.log[ONE] = reader.since(ONE, 6)
    while not reader.lanes.rests(b"loud:1"):
        reader.handle("loud:1")
        reader.reread()
    assert [one.offset for one in reader.handled] == [0, 1, 6, 7, 8, 9]
    assert reader.assignment.progress[ONE].watermark == 10


def test_a_log_that_was_made_anew_has_nothing_deferred():
    reader = Reader(max_outstanding=10)
    reader.read(ONE, *(["loud:1"] * 10))
    reader.intake.take_in(ONE, [record(ONE, 0, "quiet:1")])
    assert reader.deferred == 0
    assert not reader.lanes._deferred


def test_the_end_of_an_epoch_leaves_nothing():
    reader = Reader(max_outstanding=10)
    reader.read(ONE, *(["loud:1"] * 10))
    reader.lanes.forget()
    reader.intake.forget()
    assert (reader.deferred, reader.present) == (0, 0)
    assert reader.lanes.rests(b"loud:1")


def test_the_size_of_a_record_is_all_that_it_brings():
    assert size_of(record(ONE, 0, "key", size=100)) == RECORD_BYTES + 3 + 100 + 9


KEYS = st.lists(st.sampled_from([f"{shop}:{number}" for shop in "ab" for number in range(3)] + ["c:0"]), max_size=60)
LIMITS = st.fixed_dictionaries(
    {"max_outstanding": st.integers(1, 30), "max_outstanding_bytes": st.just(MIB), "max_deferred": st.integers(1, 200)}
)


@settings(max_examples=100)
@given(KEYS, KEYS, LIMITS, st.integers(1, 400_000), st.randoms(use_true_random=False))
def test_every_record_is_handled_once_in_its_lanes_order_within_the_budget(
    one, two, limits, size, chance: random.Random
):
    reader = Reader(**limits)
    unread = {ONE: list(one), TWO: list(two)}
    while any(unread.values()) or reader.deferred or reader.present:
        steps = [partition for partition, keys in unread.items() if keys and partition not in reader.consumer.paused()]
        lanes = [key.decode() for key in reader.lanes._lanes]
        step = chance.choice([*steps, *lanes, "reread"])
        if step == "reread":
            reader.reread(batch=chance.randrange(1, 10))
        elif isinstance(step, TopicPartition):
            reader.read(
                step, *(unread[step].pop(0) for _ in range(chance.randrange(1, len(unread[step]) + 1))), size=size
            )
        else:
            reader.handle(step)
        reader.intake.pause_what_is_full(reader.consumer, ())
        assert reader.intake._budget.bytes.taken < MIB + size + 2 * RECORD_BYTES
        assert reader.present <= limits["max_outstanding"]
    for partition, keys in {ONE: one, TWO: two}.items():
        assert reader.assignment.progress[partition].watermark == len(keys)
        for key in set(keys):
            offsets = [
                done.offset for done in reader.handled if (done.partition, done.key.decode()) == (partition[1], key)
            ]
            assert offsets == [offset for offset, wanted in enumerate(keys) if wanted == key]


@pytest.mark.parametrize("flood", [100, 3000])
def test_the_watermark_moves_on_when_what_was_deferred_is_done(flood):
    reader = Reader(max_outstanding=50)
    reader.read(ONE, *(f"loud:{number % 9}" for number in range(flood)))
    while reader.deferred or reader.present:
        for key in list(reader.lanes._lanes):
            reader.handle(key.decode())
        reader.reread()
    assert reader.assignment.progress[ONE].watermark == flood
