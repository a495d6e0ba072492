"""Reads topics as they lie there, without a consumer group: nothing is committed, nobody's offsets move."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.partitioner import DefaultPartitioner

from cli.failures import Failure
from common.kafka.topic_admin import partition_counts

MOST_RECORDS = 200_000
"""Above this a range is refused: everything read is held in memory."""

DISORDER_MS = 5 * 60_000
"""How far behind a newer record an older one may lie: times are the producers', and a retry comes late."""

STALL_SECONDS = 20.0
POLL_MS = 500


@dataclass(frozen=True)
class Record:
    """One record as it lies in Kafka. `timestamp_ms` is since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Range:
    """From `since_ms` (inclusive) until `until_ms` (exclusive; None is now), ms since the epoch, of one key or all."""

    since_ms: int
    until_ms: int | None = None
    key: str | None = None

    def holds(self, record: Record) -> bool:
        """Tell whether a record belongs to it."""
        if record.timestamp_ms < self.since_ms or (self.until_ms is not None and record.timestamp_ms >= self.until_ms):
            return False
        return self.key is None or record.key == self.key.encode()


def partition_of(key: str, partitions: int) -> int:
    """Return the partition that the producers' partitioner gives a key."""
    every = list(range(partitions))
    partition: int = DefaultPartitioner()(key.encode(), every, every)
    return partition


async def read(connection: Mapping[str, Any], topics: Sequence[str], wanted: Range) -> list[Record]:
    """Return every record of `topics` in the range, in the order of their times.

    Raises Failure when a topic is missing or the range holds too much, KafkaError when Kafka is away.
    """
    counts = await _partitions(connection, topics)
    consumer = AIOKafkaConsumer(
        **connection, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100, max_poll_records=2000
    )
    try:
        await consumer.start()
        assigned = [
            TopicPartition(topic, partition)
            for topic in topics
            for partition in (range(counts[topic]) if wanted.key is None else [partition_of(wanted.key, counts[topic])])
        ]
        ends = await _sought(consumer, assigned, wanted)
        return await _read_until(consumer, ends, wanted)
    finally:
        await consumer.stop()


async def at(connection: Mapping[str, Any], topic: str, partition: int, offset: int) -> Record | None:
    """Return the record at one place, or None when there is none (any more)."""
    counts = await _partitions(connection, [topic])
    place = TopicPartition(topic, partition)
    if not 0 <= partition < counts[topic]:
        return None
    consumer = AIOKafkaConsumer(**connection, group_id=None, enable_auto_commit=False, fetch_max_wait_ms=100)
    try:
        await consumer.start()
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        if not first <= offset < (await consumer.end_offsets([place]))[place]:
            return None
        consumer.seek(place, offset)
        found = await _read_until(consumer, {place: offset + 1}, Range(since_ms=0))
        return found[0] if found else None
    finally:
        await consumer.stop()


async def _partitions(connection: Mapping[str, Any], topics: Sequence[str]) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**connection)
    try:
        await admin.start()
        counts = await partition_counts(admin)
    finally:
        await admin.close()
    if missing := [topic for topic in topics if topic not in counts]:
        raise Failure(f"topics are missing: {', '.join(missing)}", "run `jawab topics apply`")
    return counts


async def _sought(
    consumer: AIOKafkaConsumer, assigned: list[TopicPartition], wanted: Range
) -> dict[TopicPartition, int]:
    """Place the consumer at the range's beginning; return where each partition that has something of it ends."""
    consumer.assign(assigned)
    starts = await consumer.offsets_for_times(dict.fromkeys(assigned, max(wanted.since_ms, 0)))
    ends = await consumer.end_offsets(assigned)
    if wanted.until_ms is not None:
        beyond = await consumer.offsets_for_times(dict.fromkeys(assigned, wanted.until_ms + DISORDER_MS))
        ends = {place: found.offset if (found := beyond.get(place)) else end for place, end in ends.items()}
    begun = {place: found.offset for place, found in starts.items() if found and found.offset < ends[place]}
    if (count := sum(ends[place] - offset for place, offset in begun.items())) > MOST_RECORDS:
        raise Failure(
            f"the range holds about {count} records, at most {MOST_RECORDS} are read",
            "narrow it with --from and --to, or name a --conversation",
        )
    # Not assigned anew: aiokafka's fetcher, stopped right after a second assignment, can wait for ever.
    consumer.pause(*(place for place in assigned if place not in begun))
    for place, offset in begun.items():
        consumer.seek(place, offset)
    return {place: ends[place] for place in begun}


async def _read_until(consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int], wanted: Range) -> list[Record]:
    found = list[Record]()
    left, moved = dict(ends), time.monotonic()
    while left:
        batches = await consumer.getmany(*left, timeout_ms=POLL_MS)
        for place, batch in batches.items():
            records = [_record(message) for message in batch if message.offset < ends[place]]
            found += [record for record in records if wanted.holds(record)]
        if batches:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALL_SECONDS:
            raise Failure("Kafka stopped giving records before the end of the range", "see `jawab doctor`")
        left = {place: end for place, end in left.items() if await consumer.position(place) < end}
        await asyncio.sleep(0)
    return sorted(found, key=lambda record: (record.timestamp_ms, record.topic, record.partition, record.offset))


def _record(message: Any) -> Record:
    headers = {name: value.decode(errors="replace") for name, value in message.headers if value is not None}
    value = message.value if message.value is not None else b""
    return Record(message.topic, message.partition, message.offset, message.timestamp, message.key, value, headers)
