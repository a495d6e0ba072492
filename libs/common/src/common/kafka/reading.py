"""Reads from a consumer so that what cannot be read in one partition costs that partition alone, and nothing is lost.

When aiokafka raises while it returns what it has fetched, the records of other partitions that it had taken out before
are gone, and count as read. So after any error every partition goes back to what was really taken in, and for a while
the partitions are read apart. There a partition that Kafka cannot serve waits, and a record that aiokafka cannot parse
(a header's name that is not UTF-8) is replaced by one that says so, and ends as a dead letter like any other.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError

from common.clock import SystemClock
from common.errors import Permanent
from common.kafka.progress import PartitionProgress

log = structlog.get_logger("kafka")

Batches = Mapping[TopicPartition, Sequence[ConsumerRecord]]

POLL_SECONDS = 0.5
MAX_RECORDS = 200
"""Records taken in before the lanes get to run."""

APART_SECONDS = 10.0
"""How long after the last error the partitions are read apart."""

ILL_SECONDS = 1.0
"""How long a partition waits that Kafka could not serve."""

LOG_EVERY = 30
"""Failures of a partition, one after another, of which only the first is logged."""

LOOK_SECONDS = 0.02


class UnreadableRecord(ConsumerRecord):  # type: ignore[misc]  # aiokafka is untyped
    """Stands for a record that aiokafka cannot parse: nothing of it is known but where it lies."""


def refuse_unreadable(record: ConsumerRecord) -> None:
    """Raise Permanent for a record that could not be parsed."""
    if isinstance(record, UnreadableRecord):
        raise Permanent("the record cannot be parsed: one of its headers has a name that is not UTF-8")


class Reading:
    """Reads the partitions of one consumer, each from `progress[partition].next` on."""

    def __init__(self, consumer: AIOKafkaConsumer, progress: Mapping[TopicPartition, PartitionProgress]) -> None:
        self._consumer = consumer
        self._progress = progress
        self._apart_until = 0.0
        self._ill_until: dict[TopicPartition, float] = {}
        self._one_at_a_time: set[TopicPartition] = set()
        self._failures = Counter[TopicPartition]()

    async def batches(self) -> Batches:
        """Return the next records of some partitions, waiting up to POLL_SECONDS for them.

        Raises ConsumerStoppedError, and IllegalStateError when a rebalance comes in between.
        """
        if time.monotonic() < self._apart_until:
            return await self._apart()
        timeout_ms = int(POLL_SECONDS * 1000)
        try:
            batches: Batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=MAX_RECORDS)
        except (ConsumerStoppedError, IllegalStateError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, what others had ready must not be lost
            log.warning("kafka.not_read", error=type(error).__name__)
            self._go_back()
            return {}
        return batches

    def _go_back(self) -> None:
        """Let every partition be read again from what was taken in, and apart from the others."""
        self._apart_until = time.monotonic() + APART_SECONDS
        self._ill_until.clear()
        self._one_at_a_time.clear()
        for partition, progress in self._progress.items():
            self._consumer.seek(partition, progress.next)

    async def _apart(self) -> Batches:
        give_up = time.monotonic() + POLL_SECONDS
        while time.monotonic() < give_up:
            batches = {}
            for partition in list(self._progress):
                if self._ill_until.get(partition, 0.0) <= time.monotonic():
                    records = await self._read(partition)
                    if records:
                        batches[partition] = records
            if batches:
                return batches
            await asyncio.sleep(LOOK_SECONDS)
        return {}

    async def _read(self, partition: TopicPartition) -> Sequence[ConsumerRecord]:
        progress = self._progress[partition]
        alone = partition in self._one_at_a_time
        try:
            batch: Batches = await self._consumer.getmany(
                partition, timeout_ms=0, max_records=1 if alone else MAX_RECORDS
            )
        except (ConsumerStoppedError, IllegalStateError):
            raise
        except KafkaError as error:
            self._ill_until[partition] = time.monotonic() + ILL_SECONDS
            self._failures[partition] += 1
            if self._failures[partition] % LOG_EVERY == 1:
                log.warning("partition.not_read", **_location(partition, progress.next), error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 whatever a parser raises
            if alone:
                self._one_at_a_time.discard(partition)
                self._consumer.seek(partition, progress.next + 1)
                self._apart_until = time.monotonic() + APART_SECONDS
                log.error("record.unreadable", **_location(partition, progress.next), error=type(error).__name__)
                return [_unreadable(partition, progress.next)]
            self._one_at_a_time.add(partition)
        else:
            self._failures.pop(partition, None)
            return batch.get(partition, ())
        self._apart_until = time.monotonic() + APART_SECONDS
        self._consumer.seek(partition, progress.next)
        return ()


def _location(partition: TopicPartition, offset: int) -> dict[str, object]:
    return {"topic": partition.topic, "partition": partition.partition, "offset": offset}


def _unreadable(partition: TopicPartition, offset: int) -> UnreadableRecord:
    return UnreadableRecord(
        topic=partition.topic,
        partition=partition.partition,
        offset=offset,
        timestamp=int(SystemClock().now().timestamp() * 1000),
        timestamp_type=0,
        key=None,
        value=None,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=(),
    )
