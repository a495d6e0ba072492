"""Which partition a record belongs in, and what is done with one that lies elsewhere.

Everything of a conversation is with one replica because its records lie in the partition that its key has. Another
client's partitioner (librdkafka's default), or one that names a partition, breaks that: the record would be handled
beside its conversation by another replica, and the read barrier would watch the wrong log. So it is moved: appended
where its key belongs, unchanged, and handled there. A crash in between moves it twice, which derived ids make harmless.
"""

from functools import lru_cache
from typing import Any

import structlog
from aiokafka.partitioner import murmur2

from common.kafka.dead_letters import OFFSET, PARTITION, TOPIC, origin_of
from common.kafka.raw_records import RawRecords

log = structlog.get_logger("kafka")

MOVED = "jawab-moved"
"""Marks a record that was moved. It is moved once: whoever counts partitions otherwise must not pass it on and on."""


MAX_CACHED_KEY = 256


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that the default partitioner of Kafka's clients gives a key."""
    return (_cached if len(key) <= MAX_CACHED_KEY else _hashed)(key, partitions)


def _hashed(key: bytes, partitions: int) -> int:
    return int(murmur2(key) & 0x7FFFFFFF) % partitions


# aiokafka's murmur2 is written in Python and takes longer than everything else that is done with a record here.
_cached = lru_cache(maxsize=10_000)(_hashed)


def is_misplaced(record: Any, partitions: int) -> bool:
    """Tell whether a record lies in another of its topic's partitions than its key has."""
    if record.key is None or partition_of(record.key, partitions) == record.partition:
        return False
    return all(name != MOVED for name, _ in record.headers)


async def move(record: Any, records: RawRecords) -> None:
    """Append a record where its key belongs. Raises KafkaError.

    Its headers say where it was received first, as those of a dead letter do that is published again: an erasure asks.
    """
    log.warning("record.moved", topic=record.topic, partition=record.partition, offset=record.offset)
    here = {TOPIC: record.topic, PARTITION: str(record.partition), OFFSET: str(record.offset)}
    origin = [] if origin_of(record) is not None else [(name, value.encode()) for name, value in here.items()]
    await records.append(
        record.topic,
        key=record.key,
        value=record.value,
        headers=[*record.headers, *origin, (MOVED, b"1")],
        timestamp_ms=record.timestamp,
    )
