"""Asking where partitions end: never an old answer, and no more requests than needed."""

import asyncio
from typing import Any, cast

import pytest
from aiokafka import TopicPartition

from common.errors import Retryable
from common.kafka.barrier import Ends, KafkaReadBarrier
from common.kafka.hold import Hold, hand, hold
from common.kafka.lanes import Lanes
from common.kafka.placement import partition_of
from common.settings import KafkaSettings

HERE, THERE = TopicPartition("t", 0), TopicPartition("t", 1)


class Broker:
    """A client that answers when it is told to, with the ends as they are when it is asked."""

    def __init__(self) -> None:
        self.end = 0
        self.asked: list[set[TopicPartition]] = []
        self.answers = asyncio.Semaphore(0)
        self.away = False
        self.stopped = False

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if self.away:
            raise ConnectionError
        self.asked.append(set(partitions))
        now = dict.fromkeys(partitions, self.end)
        await self.answers.acquire()
        return now

    async def stop(self) -> None:
        self.stopped = True


def ends_of(broker: Broker) -> Ends:
    async def connect() -> Broker:
        return broker

    return Ends(connect)


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_whoever_asks_while_a_request_is_under_way_gets_the_answer_of_a_later_one():
    broker = Broker()
    ends = ends_of(broker)
    first = asyncio.create_task(ends.of([HERE]))
    await turn()
    broker.end = 5
    later = [asyncio.create_task(ends.of([partition])) for partition in (HERE, THERE, HERE)]
    await turn()
    broker.answers.release()
    broker.answers.release()
    assert await first == {HERE: 0}
    assert await asyncio.gather(*later) == [{HERE: 5}, {THERE: 5}, {HERE: 5}]
    assert broker.asked == [{HERE}, {HERE, THERE}]
    await ends.close()
    assert broker.stopped


async def test_a_failure_goes_to_all_who_asked_and_the_next_one_asks_anew():
    broker = Broker()
    broker.away = True
    ends = ends_of(broker)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await ends.of([HERE])
    broker.away = False
    broker.answers.release()
    assert await ends.of([HERE]) == {HERE: 0}
    await ends.close()


async def test_one_who_gives_up_does_not_take_the_answer_from_the_others():
    broker = Broker()
    ends = ends_of(broker)
    impatient, patient = asyncio.create_task(ends.of([HERE])), asyncio.create_task(ends.of([HERE]))
    await turn()
    impatient.cancel()
    await turn()
    broker.answers.release()
    assert await patient == {HERE: 0}
    await ends.close()


class Subscriber:
    """A subscriber of twelve partitions that has read everything of those in `reads`, and nothing of others."""

    def __init__(self, reads: set[int]) -> None:
        self._reads, self.lanes = reads, Lanes()
        self.waited_for: list[TopicPartition] = []

    async def at_rest(self, _: object, within: float) -> None:
        assert within > 0

    def watching(self, lane: object) -> object:
        return self.lanes.watching(lane)

    def partitions_of(self, _: str) -> int:
        return 12

    async def has_read(self, ends: dict[TopicPartition, int], within: float) -> None:
        self.waited_for += ends
        if not {one.partition for one in ends} <= self._reads:
            async with asyncio.timeout(within):
                await asyncio.Event().wait()


class InPartition:
    """The record in hand, as far as the barrier asks."""

    def __init__(self, partition: int) -> None:
        self.partition = partition


@pytest.fixture
def in_partition_3():
    before = hold()
    record: Any = InPartition(3)
    hand(cast("Hold", record))
    yield
    hand(before)


def barrier_over(subscriber: Subscriber, broker: Broker) -> KafkaReadBarrier:
    reader: Any = subscriber
    barrier = KafkaReadBarrier(reader, KafkaSettings(), topics=["t", "u"], lane=str, look_within=0.05)
    barrier._ends = ends_of(broker)
    broker.answers.release()
    return barrier


async def test_the_end_of_the_conversations_own_partition_counts_wherever_the_record_in_hand_was_found(in_partition_3):
    theirs = partition_of(b"1:77", 12)
    assert theirs != 3
    subscriber = Subscriber({theirs})
    barrier = barrier_over(subscriber, Broker())
    async with barrier.watching("1:77") as watch:
        assert await watch.undisturbed()
    assert subscriber.waited_for == [TopicPartition("t", theirs), TopicPartition("u", theirs)]
    await barrier.close()


@pytest.mark.parametrize("away", [False, True], ids=["behind its end", "without an answer"])
async def test_a_look_takes_no_longer_than_the_caller_may_act_on_it(in_partition_3, away):
    broker = Broker()
    barrier = barrier_over(Subscriber(set()), broker)
    if away:
        await broker.answers.acquire()
    async with barrier.watching("1:77") as watch, asyncio.timeout(1):
        with pytest.raises(Retryable):
            await watch.undisturbed()
    await barrier.close()
