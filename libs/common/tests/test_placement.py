"""Where a record belongs, and how one that lies elsewhere is moved."""

from types import SimpleNamespace
from typing import Any

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.dead_letters import OFFSET, PARTITION, TOPIC, origin_of
from common.kafka.placement import is_misplaced, move, partition_of
from common.tombstones import Position


class Appended:
    """A log that keeps what is appended, lying where its key belongs."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self.records: list[Any] = []

    async def append(self, topic: str, *, key: bytes, value: bytes | None, headers: Any, timestamp_ms: int) -> None:
        partition = partition_of(key, self._partitions)
        self.records.append(record(key, partition, value=value, headers=tuple(headers), timestamp=timestamp_ms))


def record(key: bytes | None, partition: int, **more: Any) -> Any:
    lying = {"topic": "t", "partition": partition, "offset": 7, "key": key, "value": b"{}", "timestamp": 5}
    return SimpleNamespace(**lying | {"headers": ()} | more)


@given(st.binary(max_size=40), st.integers(1, 40))
def test_a_key_belongs_where_the_default_partitioner_puts_it(key, partitions):
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)
    assert not is_misplaced(record(key, partition_of(key, partitions)), partitions)


def test_a_record_without_a_key_belongs_anywhere():
    assert not is_misplaced(record(None, 3), 4)


@given(st.binary(max_size=40), st.integers(2, 40))
async def test_a_misplaced_record_is_moved_once_as_it_was_and_says_where_it_was_received(key, partitions):
    elsewhere = (partition_of(key, partitions) + 1) % partitions
    lying = record(key, elsewhere, value=None, headers=(("x", b"\xff"), ("y", None)))
    assert is_misplaced(lying, partitions)
    log: Any = Appended(partitions)
    await move(lying, log)
    [moved] = log.records
    assert (moved.key, moved.value, moved.timestamp, moved.headers[:2]) == (key, None, 5, lying.headers)
    assert origin_of(moved) == Position("t", elsewhere, 7)
    assert not is_misplaced(moved, partitions + 1), "whoever counts partitions otherwise must not move it again"


async def test_a_dead_letter_that_was_published_again_keeps_its_first_origin_when_it_is_moved():
    first = ((TOPIC, b"t"), (PARTITION, b"2"), (OFFSET, b"40"))
    log: Any = Appended(4)
    await move(record(b"c0", 3, headers=first), log)
    assert origin_of(log.records[0]) == Position("t", 2, 40)
