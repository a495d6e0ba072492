"""Reads deferred records again as soon as their accounts have room, through a consumer that belongs to no group.

It is connected only while something is deferred, reads one partition at a time, from the first deferred offset of the
accounts that have room, and stops where none of them has room or deferred records any more.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from common.kafka.intake import Intake
from common.kafka.log_reader import connecting
from common.kafka.ownership import Ownership
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")

LOOK_SECONDS = 0.05
"""Between two looks for accounts with room: records are done one by one, and each look may open a fetch."""
IDLE_SECONDS = 1.0
READ_SECONDS = 5.0
"""A fetch that is given up begins anew at the next look: a broker that needs longer would never be read from."""
MAX_RECORDS = 100
AFTER_AN_ERROR = 1.0


class RecordsFrom:
    """The records of an assigned partition from an offset on, without those that cannot be parsed.

    Those were never deferred. aiokafka does not say which one it was, so it is found by reading one at a time.
    """

    def __init__(self, consumer: AIOKafkaConsumer, partition: TopicPartition, offset: int) -> None:
        self._consumer = consumer
        self._partition = partition
        self._next = offset
        self._max_records = MAX_RECORDS
        consumer.seek(partition, offset)

    async def next(self) -> Sequence[ConsumerRecord]:
        """Return the next records, none where there are none within READ_SECONDS. Raises KafkaError."""
        while True:
            try:
                found = await self._consumer.getmany(
                    self._partition, timeout_ms=int(READ_SECONDS * 1000), max_records=self._max_records
                )
            except ValueError:  # a header's name that is not UTF-8
                self._next += self._max_records == 1
                self._max_records = 1
                self._consumer.seek(self._partition, self._next)
                continue
            records: Sequence[ConsumerRecord] = found.get(self._partition, ())
            if records:
                self._next = records[-1].offset + 1
            return records


class Rereading:
    """The task that reads deferred records again."""

    def __init__(self, settings: KafkaSettings, intake: Intake, ownership: Ownership) -> None:
        self._connect = connecting(
            settings,
            "jawab-deferred",
            enable_auto_commit=False,
            # What retention has deleted meanwhile is noticed by reading on from the oldest record there is.
            auto_offset_reset="earliest",
            fetch_max_bytes=settings.partition_fetch_bytes,
            max_partition_fetch_bytes=settings.partition_fetch_bytes,
        )
        self._intake = intake
        self._ownership = ownership
        self._consumer: AIOKafkaConsumer | None = None

    async def run(self) -> None:
        """Read deferred records again until cancelled; whatever goes wrong meanwhile is tried again."""
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._intake.room.wait(), IDLE_SECONDS)
                self._intake.room.clear()
                await asyncio.sleep(LOOK_SECONDS if await self._read_all() else AFTER_AN_ERROR)
        finally:
            await self._disconnect()

    async def _read_all(self) -> bool:
        """Read what is deferred in each partition again; False where that failed in one of them."""
        well = True
        for partition in self._intake.deferred_partitions:
            try:
                await self._read(partition)
            except Exception as error:  # noqa: BLE001 what is deferred would stay in the log until a restart
                log.warning("deferred.not_read", partition=partition.partition, error=type(error).__name__)
                await self._disconnect()
                well = False
        if not self._intake.deferred_partitions:
            await self._disconnect()
        return well

    async def _read(self, partition: TopicPartition) -> None:
        epoch = self._ownership.epoch
        if not self._intake.accounts_with_room(partition) or not self._ownership.may_begin(epoch):
            return
        if self._consumer is None:
            self._consumer = await self._connect()
        consumer = self._consumer
        oldest = (await consumer.beginning_offsets([partition]))[partition]
        if not self._ownership.may_begin(epoch):
            return
        accounts = self._intake.accounts_with_room(partition)
        for account in accounts:
            self._intake.expire(partition, account, before=oldest)
        first = self._intake.first_deferred(partition, accounts)
        if first is None:
            return
        consumer.assign([partition])
        following = RecordsFrom(consumer, partition, first)
        try:
            while accounts:
                records = await following.next()
                if not records or not self._ownership.may_begin(epoch):
                    return
                accounts = self._intake.readmit(partition, records, accounts)
                await asyncio.sleep(0)
        finally:
            consumer.unsubscribe()

    async def _disconnect(self) -> None:
        if self._consumer is not None:
            consumer, self._consumer = self._consumer, None
            try:
                await consumer.stop()
            except Exception as error:  # noqa: BLE001 it is forgotten either way
                log.warning("deferred.not_disconnected", error=type(error).__name__)
