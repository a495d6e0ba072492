"""Canaries: what `common.kafka` relies on inside aiokafka, which does not promise it.

Each says in one sentence what of ours breaks when it fails. A failing canary after an upgrade is not mended here: look
at the code it names first.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    GroupCoordinatorNotAvailableError,
    IllegalStateError,
    OffsetMetadataTooLargeError,
)
from aiokafka.structs import OffsetAndMetadata
from consumption import Listener, event, until
from faststream.kafka import KafkaBroker

from common.kafka.broker import kafka_broker
from common.kafka.link import producer_of
from common.settings import KafkaSettings

_names = count(1)


class _Cluster:
    def __init__(self, topics: dict[str, int]) -> None:
        self._topics = topics

    def partitions_for_topic(self, topic: str) -> set[int]:
        return set(range(self._topics[topic]))


@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 12])
def test_range_assignment_gives_one_replica_the_same_partitions_of_every_topic(replicas):
    """Otherwise two replicas work on one conversation, and the read barrier watches partitions it does not have."""
    topics = {"interactions": 12, "replies": 12, "control": 12}
    members = {f"member-{number}": RangePartitionAssignor.metadata(topics) for number in range(replicas)}
    assignment = RangePartitionAssignor.assign(_Cluster(topics), members)
    for given in assignment.values():
        by_topic = dict(given.assignment)
        assert set(by_topic) == set(topics)
        assert len({tuple(partitions) for partitions in by_topic.values()}) == 1
    everything = [tp for given in assignment.values() for tp in given.partitions()]
    assert len(everything) == len(set(everything)) == 36


@pytest.fixture
async def topic(kafka) -> str:
    name = f"canary-{next(_names)}"
    await created(kafka.bootstrap, name)
    return name


async def created(bootstrap: str, *names: str, partitions: int = 4) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        async with asyncio.timeout(20):
            for name in names:
                while not await led(admin, name):
                    await asyncio.sleep(0.02)
    finally:
        await admin.close()


async def led(admin: AIOKafkaAdminClient, name: str) -> bool:
    """Tell whether every partition of a new topic has its leader, as the brokers tell clients."""
    (described,) = await admin.describe_topics([name])
    return bool(described["partitions"]) and all(one["leader"] >= 0 for one in described["partitions"])


async def filled(bootstrap: str, topic: str, records: int, partitions: Sequence[int] = range(4)) -> None:
    """Append `records` numbered records to each of the partitions."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for partition in partitions:
            pending = [await producer.send(topic, b"%d" % number, partition=partition) for number in range(records)]
            await asyncio.gather(*pending)
    finally:
        await producer.stop()


@asynccontextmanager
async def consuming(
    bootstrap: str, *topics: str, group: str, listener: ConsumerRebalanceListener | None = None, **more: Any
) -> AsyncIterator[AIOKafkaConsumer]:
    """Run a consumer configured as ours is."""
    arguments = {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "partition_assignment_strategy": (RangePartitionAssignor,),
        "session_timeout_ms": 6000,
        "heartbeat_interval_ms": 200,
        **more,
    }
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, **arguments)
    consumer.subscribe(topics, listener=listener)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def read(consumer: AIOKafkaConsumer, records: int, within: float = 30.0) -> list[ConsumerRecord]:
    """Read at least so many records."""
    got: list[ConsumerRecord] = []
    async with asyncio.timeout(within):
        while len(got) < records:
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                got += batch
    return got


kafka_only = pytest.mark.kafka


@kafka_only
async def test_the_producer_and_the_builder_inside_a_broker_are_where_we_look_for_them(kafka, topic):
    """Readiness asks the cluster through them; without them every probe fails."""
    broker = kafka_broker(KafkaSettings(bootstrap_servers=kafka.bootstrap), client_id="canary")
    visitor = broker.config.broker_config.builder()
    assert isinstance(visitor, AIOKafkaConsumer)
    await visitor.start()
    try:
        assert topic in await visitor.topics()
    finally:
        await visitor.stop()
    await broker.start()
    try:
        assert isinstance(producer_of(broker), AIOKafkaProducer)
        assert topic in (await producer_of(broker).client.fetch_all_metadata()).topics()
    finally:
        await broker.stop()


@kafka_only
async def test_publishing_without_confirmation_returns_a_future_of_the_acknowledgement(kafka, topic):
    """Ingest hands over all events of a webhook first and then awaits their acknowledgements together."""
    broker: KafkaBroker = kafka_broker(KafkaSettings(bootstrap_servers=kafka.bootstrap), client_id="canary")
    await broker.start()
    try:
        pending = [await broker.publish(event("c0", n), topic, key=b"c0", no_confirm=True) for n in range(3)]
        acknowledged = await asyncio.gather(*pending)
        assert [one.offset for one in acknowledged] == [0, 1, 2]
    finally:
        await broker.stop()


@kafka_only
async def test_metadata_committed_with_an_offset_comes_back_from_the_coordinator(kafka, topic):
    """It says what is done beyond the offset: without it, every restart does that work again."""
    note = "é" * 1750  # 3,500 bytes; as much as ours may have in ASCII
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        partition = TopicPartition(topic, 2)
        await consumer.commit({partition: OffsetAndMetadata(5, note)})
        kept = await consumer._coordinator.fetch_committed_offsets(list(consumer.assignment()))
    assert kept == {partition: OffsetAndMetadata(5, note)}  # and nothing for a partition without a commit


@kafka_only
async def test_a_commit_for_a_partition_that_is_not_ours_is_refused_before_it_is_sent(kafka, topic):
    """The last thing that keeps a late commit from moving another owner's offset backwards."""
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        with pytest.raises(IllegalStateError):
            await consumer.commit({TopicPartition("another", 0): OffsetAndMetadata(1, "")})
        for ask in (consumer.pause, consumer.resume):
            with pytest.raises(IllegalStateError):
                ask(TopicPartition("another", 0))
        with pytest.raises(IllegalStateError):
            consumer.seek(TopicPartition("another", 0), 1)


@kafka_only
async def test_a_commit_waits_for_a_coordinator_that_is_away_and_is_sent_again(kafka, topic):
    """Our commits rely on it to survive a coordinator change, and are cancelled at a revocation because of it."""
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        send, tries = consumer._coordinator._do_commit_offsets, []

        async def away_at_first(assignment: Any, offsets: Any) -> None:
            tries.append(offsets)
            if len(tries) == 1:
                raise GroupCoordinatorNotAvailableError
            await send(assignment, offsets)

        consumer._coordinator._do_commit_offsets = away_at_first
        await consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(1, "")})
        assert len(tries) == 2
        assert await consumer.committed(TopicPartition(topic, 0)) == 1


@kafka_only
async def test_records_fetched_ahead_of_a_pause_are_not_handed_out_and_come_again_after_it(kafka, topic):
    """Back-pressure rests on it: what came anyway would be beyond the bound, what got lost would be skipped."""
    await filled(kafka.bootstrap, topic, 200, partitions=(0, 1))
    stopped, running = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        await until(lambda: {stopped, running} <= consumer._fetcher._records.keys())  # both are fetched ahead
        first = (await consumer.getmany(stopped, timeout_ms=5000, max_records=10))[stopped]
        consumer.pause(stopped)
        assert consumer.paused() == {stopped}
        during = await read(consumer, 200)
        assert {one.partition for one in during} == {1}
        assert not await consumer.getmany(timeout_ms=300)
        consumer.resume(stopped)
        assert consumer.paused() == set()
        rest = await read(consumer, 190)
    assert [one.offset for one in [*first, *rest]] == list(range(200))


@kafka_only
async def test_a_pause_does_not_outlive_the_assignment(kafka, topic):
    """We forget at a revocation which partitions are paused: aiokafka must forget it too, or they are never read."""
    listener = Listener()
    async with consuming(kafka.bootstrap, topic, group=topic, listener=listener) as first:
        await until(first.assignment)
        first.pause(*first.assignment())
        async with consuming(kafka.bootstrap, topic, group=topic) as second:
            await until(second.assignment)
            await until(lambda: len(first.assignment()) == 2)
            assert first.paused() == set()


@kafka_only
@pytest.mark.parametrize("way", ["getone", "getmany"])
async def test_reading_waits_while_all_is_paused_and_neither_the_session_nor_the_poll_interval_runs_out(
    kafka, topic, way
):
    """A service whose conversations all wait keeps its partitions for as long as it keeps asking for records."""
    await filled(kafka.bootstrap, topic, 5)
    listener = Listener()
    async with consuming(
        kafka.bootstrap, topic, group=topic, listener=listener, session_timeout_ms=1500, max_poll_interval_ms=1000
    ) as consumer:
        await until(consumer.assignment)
        consumer.pause(*consumer.assignment())
        beats = 0
        beat = consumer._coordinator._do_heartbeat

        async def counted() -> bool:
            nonlocal beats
            accepted = bool(await beat())
            beats += accepted
            return accepted

        consumer._coordinator._do_heartbeat = counted
        asking = asyncio.create_task(consumer.getone() if way == "getone" else consumer.getmany(timeout_ms=60_000))
        await until(lambda: beats >= 15)  # 3 s: two sessions, three poll intervals
        assert not asking.done()
        consumer.resume(*consumer.assignment())
        assert await asyncio.wait_for(asking, 10)
        assert [what for what, _ in listener.told if what == "revoked"] == ["revoked"]  # the one before joining


@kafka_only
async def test_heartbeats_go_through_a_method_that_can_be_wrapped_and_tells_whether_one_was_accepted(kafka, topic):
    """Our lease is renewed there; without it every effect would be refused a session timeout after the start."""
    told: list[object] = []
    async with consuming(kafka.bootstrap, topic, group=topic, session_timeout_ms=1500) as consumer:
        await until(consumer.assignment)
        beat = consumer._coordinator._do_heartbeat

        async def heard() -> object:
            answer = await beat()
            told.append(answer)
            return answer

        consumer._coordinator._do_heartbeat = heard
        await until(lambda: len(told) >= 2)
        assert told[:2] == [True, True]
        consumer._coordinator.generation += 100  # as for a member that was replaced
        await until(lambda: False in told)
    assert inspect.iscoroutinefunction(GroupCoordinator._do_heartbeat)


@kafka_only
async def test_everything_is_revoked_before_anything_is_assigned_and_commits_work_in_between(kafka, topic):
    """Drain, commit and fence all happen inside `on_partitions_revoked`."""
    await filled(kafka.bootstrap, topic, 3)
    everything = frozenset(TopicPartition(topic, partition) for partition in range(4))

    class Committing(Listener):
        consumer: AIOKafkaConsumer
        read_meanwhile: list[ConsumerRecord]

        async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
            await super().on_partitions_revoked(revoked)
            if revoked:
                reading = asyncio.create_task(self.consumer.getmany(timeout_ms=50))
                await asyncio.sleep(0.3)
                self.told.append(("parked" if not reading.done() else "read", frozenset()))
                self.reading = reading
                await self.consumer.commit({tp: OffsetAndMetadata(2, "mine") for tp in revoked})
                self.told.append(("committed", frozenset(revoked)))

    listener = Committing()
    async with consuming(kafka.bootstrap, topic, group=topic, listener=listener) as first:
        listener.consumer = first
        await until(first.assignment)
        await read(first, 12)
        async with consuming(kafka.bootstrap, topic, group=topic) as second:
            await until(lambda: len(first.assignment()) == 2)
            taken_over = await read(second, 2)
            await listener.reading
        kept = first.assignment()
    assert listener.told[:5] == [
        ("revoked", frozenset()),
        ("assigned", everything),
        ("revoked", everything),
        ("parked", frozenset()),
        ("committed", everything),
    ]
    assert listener.told[5] == ("assigned", kept)
    assert {one.offset for one in taken_over} == {2}


@kafka_only
async def test_a_member_that_drains_longer_than_the_rebalance_timeout_is_replaced_although_its_heart_beats(
    kafka, topic
):
    """`rebalance_timeout_ms` must be longer than a drain and its commit, or two replicas own one conversation."""
    let_go, replaced = asyncio.Event(), asyncio.Event()
    outcome: list[str] = []

    class Slow(Listener):
        consumer: AIOKafkaConsumer

        async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
            if revoked and not outcome:
                await let_go.wait()
                try:
                    await self.consumer.commit({tp: OffsetAndMetadata(1, "late") for tp in revoked})
                except CommitFailedError:
                    outcome.append("refused")
                else:
                    outcome.append("committed")
                replaced.set()

    async with consuming(kafka.bootstrap, topic, group=f"{topic}-untold", session_timeout_ms=7000) as untold:
        assert untold._rebalance_timeout_ms == 7000  # how long it is unless we say so
    listener = Slow()
    short = {"session_timeout_ms": 20_000, "rebalance_timeout_ms": 1000}  # a group waits for the longest of its members
    async with consuming(kafka.bootstrap, topic, group=topic, listener=listener, **short) as first:
        listener.consumer = first
        await until(first.assignment)
        asked = time.monotonic()
        async with consuming(kafka.bootstrap, topic, group=topic, **short) as second:
            await until(lambda: len(second.assignment()) == 4)  # everything, while the first still drains
            assert time.monotonic() - asked < 15  # and before the first's session would have ended
            let_go.set()
            async with asyncio.timeout(20):
                await replaced.wait()
            assert outcome == ["refused"]


@kafka_only
async def test_reading_is_bounded_keeps_a_partitions_order_and_follows_a_seek(kafka, topic):
    """An epoch begins with seeks to what is committed; what was fetched before them must not be handed out."""
    await filled(kafka.bootstrap, topic, 50, partitions=(0,))
    partition = TopicPartition(topic, 0)
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        first = await consumer.getmany(timeout_ms=5000, max_records=20)
        while not first:
            first = await consumer.getmany(timeout_ms=5000, max_records=20)
        assert [one.offset for one in first[partition]] == list(range(20))
        consumer.seek(partition, 5)
        again = await read(consumer, 45)
        assert [one.offset for one in again] == list(range(5, 50))
        assert consumer.highwater(partition) == 50
        assert await consumer.beginning_offsets([partition]) == {partition: 0}


@kafka_only
async def test_reading_from_a_stopped_consumer_raises_that_it_was_stopped(kafka, topic):
    """It ends our intake; anything else would be taken for a fault of Kafka and tried again for ever."""
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
    with pytest.raises(ConsumerStoppedError):
        await consumer.getmany(timeout_ms=10)


@kafka_only
async def test_a_client_without_a_group_tells_ends_at_once_and_the_one_that_reads_may_not(kafka, topic):
    """The read barrier asks through a client of its own, which must do without subscribing."""
    await filled(kafka.bootstrap, topic, 7, partitions=(1,))
    client = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=None)
    await client.start()
    try:
        ends = await client.end_offsets([TopicPartition(topic, 0), TopicPartition(topic, 1)])
    finally:
        await client.stop()
    assert ends == {TopicPartition(topic, 0): 0, TopicPartition(topic, 1): 7}


@kafka_only
async def test_the_consumers_state_says_where_it_is_without_waiting_and_moves_over_a_transactions_end(kafka, topic):
    """The read barrier takes what the consumer has passed for read; `position` itself may wait for a leader."""
    partition = TopicPartition(topic, 0)
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=topic)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, b"x", partition=0)
    finally:
        await producer.stop()
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        state = consumer._subscription.subscription.assignment.state_value(partition)
        assert [one.offset for one in await read(consumer, 1)] == [0]
        async with asyncio.timeout(20):
            while state.position < 2:
                await consumer.getmany(timeout_ms=100)
        assert state.has_valid_position
        assert consumer._subscription.subscription.assignment.state_value(TopicPartition("another", 0)) is None


@kafka_only
async def test_an_error_in_one_partition_loses_what_was_taken_out_of_another_and_counts_it_as_read(kafka, topic):
    """We seek back after every error because of it. Where this fails, `common.kafka.reading` may become simpler."""
    await filled(kafka.bootstrap, topic, 3, partitions=(0, 1))
    well, ill = TopicPartition(topic, 0), TopicPartition(topic, 1)
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        await until(lambda: {well, ill} <= consumer._fetcher._records.keys())
        fetched = consumer._fetcher._records

        def broken(_: Any) -> list[ConsumerRecord]:
            raise ValueError("a header's name is not UTF-8")

        fetched[ill].getall = broken
        fetched[well], fetched[ill] = fetched.pop(well), fetched.pop(ill)  # the order in which they are handed out
        with pytest.raises(ValueError, match="header"):
            await consumer.getmany(timeout_ms=1000)
        assert consumer._subscription.subscription.assignment.state_value(well).position == 3
        consumer.seek(well, 0)
        del consumer._fetcher._records[ill]
        assert [one.offset for one in await read(consumer, 3) if one.partition == 0] == [0, 1, 2]


@kafka_only
async def test_metadata_that_is_too_large_for_the_broker_has_an_error_of_its_own(kafka, topic):
    """Our notes become shorter for it; under another name no offset would be committed any more."""
    async with consuming(kafka.bootstrap, topic, group=topic) as consumer:
        await until(consumer.assignment)
        with pytest.raises(OffsetMetadataTooLargeError):
            await consumer.commit({TopicPartition(topic, 0): OffsetAndMetadata(1, "x" * 5000)})
