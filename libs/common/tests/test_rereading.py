"""Deferred records are read again whatever goes wrong in between."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from common.kafka import rereading
from common.kafka.lease import Lease
from common.kafka.ownership import Ownership
from common.kafka.rereading import RecordsFrom, Rereading
from common.settings import KafkaSettings

ONE = TopicPartition("t", 1)


class Intake:
    """Has one deferred record, of an account with room, until it was read."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.deferred_partitions = frozenset({ONE})

    def accounts_with_room(self, partition):
        return {b"shop"} if self.deferred_partitions else set()

    def expire(self, partition, account, *, before):
        pass

    def first_deferred(self, partition, accounts):
        return 7

    def readmit(self, partition, records, accounts):
        self.deferred_partitions = frozenset()
        return set()


class Record:
    offset = 7


class Consumer:
    """A consumer that fails at what `fails` names, also when it is stopped."""

    def __init__(self, fails: str) -> None:
        self.fails = fails
        self.stopped = False

    def _may_fail(self, name: str) -> None:
        if self.fails == name:
            raise KafkaConnectionError

    async def beginning_offsets(self, partitions):
        self._may_fail("beginning_offsets")
        return dict.fromkeys(partitions, 0)

    def assign(self, partitions):
        self._may_fail("assign")

    def seek(self, partition, offset):
        self._may_fail("seek")

    def unsubscribe(self):
        pass

    async def getmany(self, partition, **_):
        self._may_fail("getmany")
        return {partition: [Record()]}

    async def stop(self):
        self.stopped = True
        if self.fails:
            raise OSError


async def test_each_failure_is_tried_again_with_a_connection_of_its_own(monkeypatch):
    monkeypatch.setattr(rereading, "AFTER_AN_ERROR", 0.0)
    ownership = Ownership(Lease(10))
    ownership.begin()
    intake = Intake()
    task = Rereading(KafkaSettings(), intake, ownership)
    consumers = [Consumer(name) for name in ("beginning_offsets", "assign", "seek", "getmany", "")]
    left = iter(consumers)

    async def connect():
        return next(left)

    task._connect = connect
    running = asyncio.create_task(task.run())
    async with asyncio.timeout(10):
        while not consumers[-1].stopped:
            await asyncio.sleep(0)
    assert all(consumer.stopped for consumer in consumers)
    assert not intake.deferred_partitions
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


TWO = TopicPartition("t", 2)


class TwoPartitions(Intake):
    """Has deferred records in two partitions, of which one cannot be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.deferred_partitions = (ONE, TWO)

    def readmit(self, partition, records, accounts):
        assert partition == TWO
        self.deferred_partitions = (ONE,)
        return set()


class IllPartition(Consumer):
    """A consumer of two partitions; the first of them has no leader."""

    async def beginning_offsets(self, partitions):
        if ONE in partitions:
            raise KafkaConnectionError
        return dict.fromkeys(partitions, 0)


async def test_a_partition_that_cannot_be_asked_keeps_no_other_from_being_read_again(monkeypatch):
    monkeypatch.setattr(rereading, "AFTER_AN_ERROR", 0.0)
    ownership = Ownership(Lease(10))
    ownership.begin()
    intake = TwoPartitions()
    task = Rereading(KafkaSettings(), intake, ownership)

    async def connect():
        return IllPartition("")

    task._connect = connect
    running = asyncio.create_task(task.run())
    async with asyncio.timeout(10):
        while TWO in intake.deferred_partitions:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_record_that_a_broker_takes_seconds_to_find_is_waited_for():
    class Slow(Consumer):
        async def getmany(self, partition, *, timeout_ms, **_):
            return {partition: [Record()]} if timeout_ms > 3000 else {}

    assert await RecordsFrom(Slow(""), ONE, 7).next(), "each look begins a fetch of its own"
