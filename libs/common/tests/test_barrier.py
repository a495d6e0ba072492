"""Asking where partitions end: never an old answer, and no more requests than needed."""

import asyncio

import pytest
from aiokafka import TopicPartition

from common.kafka.barrier import Ends

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
