"""What becomes of a record that was read: it goes into its lane, is skipped as done, or stays in the log for now.

Memory is a budget of records and bytes, by partition and by account (`account_budget`). What an account has beyond its
share is deferred (`deferred`), and the partition is read on, so one account's flood, outage or broken document delays
nobody else's records. A partition is paused only where it fills up with the records of several accounts, or where more
is deferred than may be kept account of.
"""

import asyncio
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.kafka.account_budget import RecordBudget
from common.kafka.assignment import Assignment
from common.kafka.back_pressure import to_pause
from common.kafka.deferred import Deferred
from common.kafka.keys import account_of
from common.kafka.lanes import Entry, Lane, Lanes
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.reading import UnreadableRecord
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")

LaneOf = Callable[[ConsumerRecord], Hashable]

RECORD_BYTES = 512
"""What a record takes beyond its key, value and headers, about."""


def key_of(record: ConsumerRecord) -> Hashable:
    """Return the record's key: one lane a conversation, across topics."""
    return record.key if record.key is not None else (record.topic, record.partition, record.offset)


def size_of(record: ConsumerRecord) -> int:
    """Return the bytes that a record takes in memory, about."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return RECORD_BYTES + len(record.key or b"") + len(record.value or b"") + headers


class Intake:
    """Puts records into lanes, within the budget. `take_on` is called with each lane that has just begun."""

    def __init__(
        self,
        *,
        lane_of: LaneOf,
        lanes: Lanes,
        take_on: Callable[[Hashable, Lane], None],
        assignment: Assignment,
        ownership: Ownership,
        settings: KafkaSettings,
        metrics: KafkaMetrics,
    ) -> None:
        self._lane_of = lane_of
        self._lanes = lanes
        self._take_on = take_on
        self._assignment = assignment
        self._ownership = ownership
        self._settings = settings
        self._metrics = metrics
        self._deferred: Deferred[TopicPartition] = Deferred()
        self._budget = self._new_budget()
        self.room = asyncio.Event()
        """Set when a record is done while others are deferred."""

    def _new_budget(self) -> RecordBudget[TopicPartition, Hashable]:
        return RecordBudget(max_records=self._settings.max_outstanding, max_bytes=self._settings.max_outstanding_bytes)

    def take_in(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        """Take in what was read of a partition."""
        progress = self._assignment.progress[partition]
        for record in records:
            if record.offset < progress.next:
                progress = self._assignment.went_back(partition, record.offset)
                for lane in self._deferred.pop_partition(partition):
                    self._lanes.readmit(lane)
            self._assignment.note_gap(partition, record.offset)
            if progress.begin(record.offset, record.timestamp):
                self._admit_or_defer(partition, record)
            else:
                self._metrics.skipped.inc()
        progress.set_mark(records[-1])
        self._assignment.more_was_read()

    def _admit_or_defer(self, partition: TopicPartition, record: ConsumerRecord) -> None:
        account, size = account_of(record.key), size_of(record)
        if isinstance(record, UnreadableRecord):
            self._put(partition, record, size)  # it could not be read again
            return
        if (partition, account) not in self._deferred and self._budget.admits(
            partition, (partition.topic, account), size
        ):
            self._put(partition, record, size)
            return
        lane = self._lane_of(record)
        self._deferred.add(partition, account, record.offset, lane)
        self._lanes.defer(lane)

    def _put(self, partition: TopicPartition, record: ConsumerRecord, size: int) -> None:
        entry = Entry(record, partition, self._assignment.progress[partition], self._ownership.epoch, size)
        self._budget.take(partition, entry.flow, size)
        key = self._lane_of(record)
        lane = self._lanes.put(key, entry)
        if lane is not None:
            self._take_on(key, lane)

    def finish(self, entry: Entry) -> None:
        """Mark a record done that is still ours, and free what it took."""
        entry.progress.finish(entry.record.offset)
        self._budget.release(entry.partition, entry.flow, entry.size)
        if self._deferred:
            self.room.set()

    def pause_what_is_full(self, consumer: AIOKafkaConsumer, stopped: Iterable[TopicPartition]) -> None:
        """Pause partitions that are full or stopped, and resume those that are neither any more."""
        paused = frozenset(consumer.paused())
        records, sizes = self._budget.partition_records, self._budget.partition_bytes
        full, roomy = to_pause(records.taken_by_each, paused, bound=records.total)
        large, small = to_pause(sizes.taken_by_each, paused, bound=sizes.total)
        never = set(stopped)
        if len(self._deferred) >= self._settings.max_deferred:
            never |= self._deferred.partitions
        full = (full | large | never) - paused
        roomy = (roomy & small) - never
        if full:
            consumer.pause(*full)
        if roomy:
            consumer.resume(*roomy)
        if full or roomy:
            self._metrics.paused.set(len((paused | full) - roomy))

    # Deferred records

    @property
    def deferred_partitions(self) -> frozenset[TopicPartition]:
        """The partitions with deferred records."""
        return self._deferred.partitions

    def accounts_with_room(self, partition: TopicPartition) -> set[bytes]:
        """Return the accounts with deferred records in a partition of which more may be in memory again."""
        return {
            account
            for account in self._deferred.accounts(partition)
            if self._budget.is_half_free(partition, (partition.topic, account))
        }

    def first_deferred(self, partition: TopicPartition, accounts: Collection[bytes]) -> int | None:
        """Return the first deferred offset of these accounts; None where there is none."""
        firsts = (self._deferred.first(partition, account) for account in accounts)
        return min((first for first in firsts if first is not None), default=None)

    def readmit(self, partition: TopicPartition, records: Sequence[ConsumerRecord], accounts: set[bytes]) -> set[bytes]:
        """Take in the deferred ones of these accounts among records that were read again.

        The records are all that the log holds from the first deferred offset of these accounts on. Returns the
        accounts that have more deferred records, and room for them.
        """
        open_accounts = set(accounts)
        for record in records:
            account = account_of(record.key)
            if account not in open_accounts or self._deferred.first(partition, account) is None:
                continue
            self.expire(partition, account, before=record.offset)
            if self._deferred.first(partition, account) != record.offset:
                continue  # done by an earlier owner of the partition
            size = size_of(record)
            if self._budget.admits(partition, (partition.topic, account), size):
                self._lanes.readmit(self._deferred.pop(partition, account)[1])
                self._put(partition, record, size)
            else:
                open_accounts.discard(account)
        for account in open_accounts:
            self.expire(partition, account, before=records[-1].offset + 1)
        return {account for account in open_accounts if (partition, account) in self._deferred}

    def expire(self, partition: TopicPartition, account: bytes, *, before: int) -> None:
        """Give up deferred offsets of an account before this one, which the log no longer holds."""
        while (first := self._deferred.first(partition, account)) is not None and first < before:
            offset, lane = self._deferred.pop(partition, account)
            self._assignment.progress[partition].finish(offset)
            self._lanes.readmit(lane)
            self._metrics.expired.labels(partition.topic).inc()
            log.error("record.expired", topic=partition.topic, partition=partition.partition, offset=offset)

    def forget(self) -> None:
        """End the epoch: nothing is in memory, nothing is deferred."""
        self._deferred.clear()
        self._budget = self._new_budget()
        self.room.clear()
        self.measure()

    def measure(self) -> None:
        """Set the metrics of what is in memory and what is deferred."""
        self._metrics.outstanding_bytes.set(self._budget.bytes.taken)
        self._metrics.deferred.set(len(self._deferred))
