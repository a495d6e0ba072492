"""Reading deferred records again passes over what cannot be parsed."""

from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.rereading import RecordsFrom

HERE = TopicPartition("t", 0)


class Consumer:
    """A consumer of a log in which the records at `broken` cannot be parsed, as aiokafka reads it."""

    def __init__(self, end: int, broken: set[int]) -> None:
        self._end, self._broken, self._position = end, broken, 0

    def seek(self, _: TopicPartition, offset: int) -> None:
        self._position = offset

    async def getmany(self, partition: TopicPartition, *, timeout_ms: int, max_records: int) -> dict[Any, list[Any]]:
        taken = []
        while self._position < self._end and len(taken) < max_records:
            if self._position in self._broken:
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
            taken.append(SimpleNamespace(offset=self._position))
            self._position += 1
        return {partition: taken} if taken else {}


@given(st.integers(0, 8), st.integers(0, 30), st.sets(st.integers(0, 30)))
async def test_every_record_that_can_be_parsed_is_read_in_order_from_an_offset_on(first, end, broken):
    consumer: Any = Consumer(end, broken)
    following, read = RecordsFrom(consumer, HERE, first), []
    while records := await following.next():
        read += [one.offset for one in records]
    assert read == [offset for offset in range(first, end) if offset not in broken]
