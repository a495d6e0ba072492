"""What cannot be read in one partition costs that partition alone, and nothing is passed over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import ConsumerStoppedError, CorruptRecordException, IllegalStateError

from common.kafka import reading
from common.kafka.progress import PartitionProgress
from common.kafka.reading import Reading, UnreadableRecord

WELL, ILL = TopicPartition("t", 0), TopicPartition("t", 1)


class Consumer:
    """Hands out logs as aiokafka does: an error in one partition loses what it had taken out of others before.

    `broken` maps an offset of ILL to what reading it raises, for as long as it is there.
    """

    def __init__(self, broken: dict[int, Exception], end: int = 6) -> None:
        self.broken, self.end = broken, end
        self.position = {WELL: 0, ILL: 0}
        self.asked: list[TopicPartition | None] = []

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position[partition] = offset

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        self.asked.append(partitions[0] if partitions else None)
        taken: dict[Any, list[Any]] = {}
        for partition in partitions or (WELL, ILL):
            while self.position[partition] < self.end and len(taken.get(partition, ())) < max_records:
                offset = self.position[partition]
                if partition is ILL and offset in self.broken:
                    raise self.broken[offset]
                taken.setdefault(partition, []).append(SimpleNamespace(offset=offset))
                self.position[partition] = offset + 1
        if not taken:
            await asyncio.sleep(timeout_ms / 1000)
        return taken


@pytest.fixture
def progress() -> dict[TopicPartition, PartitionProgress]:
    return {WELL: PartitionProgress(0), ILL: PartitionProgress(0)}


async def read(consumer: Any, progress: Any, rounds: int = 40) -> tuple[list[int], list[Any]]:
    """Read for some rounds as the subscriber does; return the offsets of WELL and the records of ILL."""
    reader, got = Reading(consumer, progress), {WELL: [], ILL: []}
    for _ in range(rounds):
        for partition, records in (await reader.batches()).items():
            got[partition] += records
            for record in records:
                progress[partition].begin(record.offset)
        if all(one.next == consumer.end for one in progress.values()):
            break
    return [one.offset for one in got[WELL]], got[ILL]


async def test_a_record_that_cannot_be_parsed_is_replaced_and_everything_else_is_read_once(progress):
    consumer = Consumer({3: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")})
    well, ill = await read(consumer, progress)
    assert well == list(range(6))
    assert [one.offset for one in ill] == list(range(6))
    assert [isinstance(one, UnreadableRecord) for one in ill] == [False, False, False, True, False, False]


async def test_every_record_of_a_partition_may_be_one_that_cannot_be_parsed(progress):
    consumer = Consumer(dict.fromkeys(range(6), ValueError()))
    well, ill = await read(consumer, progress)
    assert well == [one.offset for one in ill] == list(range(6))
    assert all(isinstance(one, UnreadableRecord) for one in ill)


async def test_a_partition_that_kafka_cannot_serve_waits_and_the_other_goes_on(progress, monkeypatch):
    monkeypatch.setattr(reading, "ILL_SECONDS", 0.01)
    consumer = Consumer({2: CorruptRecordException()})
    reader = Reading(consumer, progress)
    got: list[int] = []
    while len(got) < 6:
        for partition, records in (await reader.batches()).items():
            for record in records:
                progress[partition].begin(record.offset)
                got += [record.offset] if partition is WELL else []
    assert got == list(range(6))
    consumer.broken.clear()
    _, ill = await read(consumer, progress)
    assert [one.offset for one in ill] == list(range(6))
    assert not any(isinstance(one, UnreadableRecord) for one in ill), "what may be served later is not given up"


async def test_a_partition_that_cannot_be_served_is_not_asked_again_and_again(progress):
    consumer = Consumer({0: CorruptRecordException()})
    reader = Reading(consumer, progress)
    for _ in range(3):
        await reader.batches()
    assert consumer.asked.count(ILL) <= 2


@pytest.mark.parametrize("error", [ConsumerStoppedError(), IllegalStateError()])
async def test_the_end_of_a_consumer_and_a_rebalance_are_the_callers(progress, error):
    with pytest.raises(type(error)):
        await Reading(Consumer({0: error}), progress).batches()


async def test_after_a_while_without_errors_the_partitions_are_read_together_again(progress, monkeypatch):
    monkeypatch.setattr(reading, "APART_SECONDS", 0.05)
    consumer = Consumer({0: CorruptRecordException()}, end=2)
    reader = Reading(consumer, progress)
    await reader.batches()
    consumer.broken.clear()
    await read(consumer, progress)
    async with asyncio.timeout(5):
        while consumer.asked[-1] is not None:
            await reader.batches()
