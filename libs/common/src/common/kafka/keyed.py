"""Key-ordered consumption: the records of one lane are handled one after another, different lanes at the same time.

FastStream's own concurrent modes either lose the order of a key or acknowledge what is not done yet
(docs/decisions/0005). This subscriber keeps FastStream's pipeline (codec, middlewares, handler) and replaces what is
around it:

- a lane per `lane_of(record)`, by default the record's key; a record without a key has a lane of its own;
- a bound on what is worked on at once, which a record that waits for its turn or for a retry does not count in, and a
  wider bound on outstanding records: beyond it, reading waits;
- a failed record is tried again inside its lane, so later records of the conversation wait and nobody else does;
- what cannot be handled goes to its dead-letter topic, and its offset moves only after that append is acknowledged;
- offsets are committed explicitly and only behind the contiguous finished prefix of a partition;
- on revocation and on shutdown: no new starts, a bounded drain, a commit, and what only waited is let go.

The pure parts are `progress` (watermarks) and `retry` (verdicts).
"""

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.structs import OffsetAndMetadata
from faststream._internal.broker.registrator import Registrator
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka import KafkaBroker
from faststream.kafka.message import KafkaMessage
from faststream.kafka.schemas import Topic
from faststream.kafka.subscriber.config import KafkaSubscriberConfig, KafkaSubscriberSpecificationConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber
from faststream.middlewares import AckPolicy

from common.clock import Clock
from common.events import AnyEvent
from common.kafka import dead_letters
from common.kafka.metrics import KafkaMetrics
from common.kafka.progress import PartitionProgress
from common.kafka.retry import GiveUp, RetryPolicy, TryAgain, cause, verdict
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")

LaneOf = Callable[[ConsumerRecord], Hashable]
Handler = Callable[[AnyEvent], Awaitable[None]]


def key_of(record: ConsumerRecord) -> Hashable:
    """Return the record's key: one lane a conversation, across topics."""
    return record.key if record.key is not None else (record.topic, record.partition, record.offset)


class _Lane:
    """The waiting records of one lane, each with the progress of the partition it was read from."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: deque[tuple[ConsumerRecord, PartitionProgress]] = deque()


class KeyOrderedSubscriber(DefaultSubscriber):
    """A FastStream subscriber that keeps lanes in order and commits only what is done."""

    def __init__(
        self,
        config: KafkaSubscriberConfig,
        specification: KafkaSubscriberSpecification,
        calls: CallsCollection[ConsumerRecord],
        *,
        broker: KafkaBroker,
        lane_of: LaneOf,
        retry: RetryPolicy,
        outstanding: int,
        working: int,
        commit_interval: float,
        drain_timeout: float,
        metrics: KafkaMetrics,
        clock: Clock,
    ) -> None:
        config.listener = _Rebalance(self)
        super().__init__(config, specification, calls)
        self._broker = broker
        self._lane_of = lane_of
        self._retry = retry
        self._commit_interval = commit_interval
        self._drain_timeout = drain_timeout
        self._metrics = metrics
        self._clock = clock
        self._slots = asyncio.Semaphore(outstanding)
        self._working = asyncio.Semaphore(working)
        self._progress: dict[TopicPartition, PartitionProgress] = {}
        self._committed: dict[TopicPartition, tuple[int, str]] = {}
        self._lanes: dict[Hashable, _Lane] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._commit_lock = asyncio.Lock()
        self._intake: asyncio.Task[Any] | None = None
        self._draining = asyncio.Event()
        self._rebalances = 0

    async def start(self) -> None:
        """Connect the consumer and begin to read and to commit."""
        self._draining.clear()
        await super().start()
        self.add_task(self._commit_regularly)

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:
        self._intake = asyncio.current_task()
        await super()._run_consume_loop(consumer)

    async def get_msg(self, consumer: AIOKafkaConsumer) -> ConsumerRecord:
        """Return the next record.

        When a rebalance happened while it was awaited, nobody can tell which side of the rebalance it is from; its
        partition is then read again from the committed offset. Taking a record from before it would move the watermark
        over records that were never begun.
        """
        while True:
            before = self._rebalances
            record = await consumer.getone()
            if before == self._rebalances:
                return record
            partition = TopicPartition(record.topic, record.partition)
            if partition in consumer.assignment():
                self._progress.pop(partition, None)
                committed = await consumer.committed(partition)
                if committed is None:
                    await consumer.seek_to_beginning(partition)  # what auto_offset_reset=earliest means
                else:
                    consumer.seek(partition, committed)

    async def consume_one(self, msg: ConsumerRecord) -> None:
        """Put a record at the end of its lane; waits while too many records are outstanding."""
        partition = TopicPartition(msg.topic, msg.partition)
        # The progress object is the assignment's fence: a revocation forgets it, and what was read under it with it.
        progress = self._progress.setdefault(partition, PartitionProgress())
        await self._slots.acquire()
        if self._progress.get(partition) is not progress:
            self._slots.release()
            return
        progress.begin(msg.offset, msg.timestamp)
        self._metrics.outstanding.inc()
        key = self._lane_of(msg)
        lane = self._lanes.get(key)
        if lane is not None:
            lane.waiting.append((msg, progress))
            return
        lane = self._lanes[key] = _Lane()
        lane.waiting.append((msg, progress))
        worker = asyncio.create_task(self._work(key, lane), name=f"lane {msg.topic}")
        self._workers.add(worker)
        worker.add_done_callback(self._workers.discard)

    async def _work(self, key: Hashable, lane: _Lane) -> None:
        try:
            while lane.waiting and await self._handle(*lane.waiting[0]):
                record, progress = lane.waiting.popleft()
                if self._owns(record, progress):
                    progress.finish(record.offset)
                self._release()
        finally:
            for _ in lane.waiting:
                self._release()
            lane.waiting.clear()
            if self._lanes.get(key) is lane:
                del self._lanes[key]

    def _release(self) -> None:
        self._slots.release()
        self._metrics.outstanding.dec()

    def _owns(self, record: ConsumerRecord, progress: PartitionProgress) -> bool:
        return self._progress.get(TopicPartition(record.topic, record.partition)) is progress

    async def _handle(self, record: ConsumerRecord, progress: PartitionProgress) -> bool:
        """Handle a record to its end. False when the lane is to be let go instead: drained, or no longer ours."""
        started = time.monotonic()
        attempts = 0
        while self._owns(record, progress) and not self._draining.is_set():
            attempts += 1
            try:
                async with self._working:
                    if self._draining.is_set():
                        return False
                    await self.process_message(record)
            except Exception as error:  # noqa: BLE001 a lane must outlive whatever its handler raises
                age = time.monotonic() - started
                decision = verdict(error, attempts=attempts, age=age, policy=self._retry)
                reason = cause(error)
            else:
                self._metrics.handled.labels(record.topic).inc()
                self._metrics.seconds.labels(record.topic).observe(time.monotonic() - started)
                return True
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            match decision:
                case TryAgain(delay):
                    self._metrics.retries.labels(record.topic).inc()
                    log.warning("record.retrying", **where, attempts=attempts, delay=round(delay, 2), reason=reason)
                    await self._pause(delay)
                case GiveUp(final):
                    buried = await self._bury(record, final, attempts)
                    log.error("record.dead_lettered", **where, attempts=attempts, cause=final)
                    return buried
        return False

    async def _pause(self, delay: float) -> None:
        """Wait `delay` seconds, or until a drain begins: what only waits is let go at once."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), delay)

    async def _bury(self, record: ConsumerRecord, final: str, attempts: int) -> bool:
        headers = dead_letters.headers_of(
            record, group=self.group_id or "", cause=final, attempts=attempts, at=self._clock.now()
        )
        delay = self._retry.first_delay
        while not self._draining.is_set():
            try:
                await self._broker.publish(record.value, f"{record.topic}.dlq", key=record.key, headers=headers)
                self._metrics.dead_letters.labels(record.topic).inc()
                return True
            except Exception as error:  # noqa: BLE001 the offset must not move before the append is acknowledged
                log.error("record.dead_letter_not_written", topic=record.topic, error=_name(error))
                await self._pause(delay)
                delay = min(delay * 2, self._retry.longest_delay)
        return False

    async def commit(self) -> None:
        """Commit the watermark of every assigned partition that moved. Raises KafkaError."""
        async with self._commit_lock:
            consumer = self.consumer
            if consumer is None:
                return
            ready = self._to_commit(consumer.assignment())
            if not ready:
                return
            await consumer.commit({tp: OffsetAndMetadata(offset, note) for tp, (offset, note) in ready.items()})
            self._metrics.commits.inc()
            self._committed.update(ready)

    def _to_commit(self, assigned: frozenset[TopicPartition]) -> dict[TopicPartition, tuple[int, str]]:
        ready = {}
        for partition, progress in self._progress.items():
            if partition not in assigned or progress.watermark is None:
                continue
            entry = (progress.watermark, in_progress_note(progress))
            if self._committed.get(partition) != entry:
                ready[partition] = entry
        return ready

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._commit_interval)
            self._measure()
            await self._commit_or_warn()

    async def _commit_or_warn(self) -> None:
        try:
            await self.commit()
        except Exception as error:  # noqa: BLE001 the next commit covers this one
            self._metrics.commit_failures.inc()
            log.warning("offsets.not_committed", error=_name(error))

    def _measure(self) -> None:
        oldest = [progress.oldest_ms for progress in self._progress.values() if progress.oldest_ms is not None]
        age = self._clock.now().timestamp() - min(oldest) / 1000 if oldest else 0.0
        self._metrics.watermark_age.set(max(age, 0.0))
        self._metrics.lanes.set(len(self._lanes))

    async def drain(self, timeout: float) -> None:
        """Start nothing new and wait up to `timeout` seconds for what is being handled."""
        self._draining.set()
        workers = list(self._workers)
        if workers:
            _, late = await asyncio.wait(workers, timeout=timeout)
            if late:
                log.warning("lanes.not_drained", late=len(late), timeout=timeout)

    async def revoke(self) -> None:
        """Give the partitions back: drain, commit, forget. aiokafka revokes all of them at every rebalance."""
        self._metrics.rebalances.inc()
        await self.drain(self._drain_timeout)
        await self._commit_or_warn()
        self._progress.clear()
        self._committed.clear()
        self._lanes.clear()
        self._rebalances += 1
        self._draining.clear()

    async def stop(self) -> None:
        """Stop reading, drain, commit, then leave the group. What was not finished is read again by its next owner."""
        if self._intake is not None:
            self._intake.cancel()
        if self.consumer is not None:
            await self.drain(self._drain_timeout)
            await self._commit_or_warn()
        self._progress.clear()
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await super().stop()

    def assigned(self) -> bool:
        """Tell whether the consumer holds at least one partition."""
        return self.consumer is not None and bool(self.consumer.assignment())


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    def __init__(self, subscriber: KeyOrderedSubscriber) -> None:
        self._subscriber = subscriber

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._subscriber.revoke()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        log.info("partitions.assigned", count=len(assigned))


def in_progress_note(progress: PartitionProgress) -> str:
    """Return the commit metadata: how many records are in progress and since when, for `/api/queue/stats`."""
    if not progress.outstanding:
        return ""
    return json.dumps({"in_progress": progress.outstanding, "oldest_ms": progress.oldest_ms}, separators=(",", ":"))


def _name(error: BaseException) -> str:
    return type(error).__name__


def key_ordered_subscriber(
    broker: KafkaBroker,
    *topics: str,
    group: str,
    handler: Handler,
    settings: KafkaSettings,
    metrics: KafkaMetrics,
    clock: Clock,
    lane_of: LaneOf = key_of,
    retry: RetryPolicy | None = None,
) -> KeyOrderedSubscriber:
    """Register `handler` for `topics` in consumer group `group` and return the subscriber.

    The handler gets one event and returns when it is done; it raises `Retryable` or `Permanent` (common.errors) to say
    what a failure means.
    """
    declared: Sequence[Topic] = [Topic.validate(topic) for topic in topics]
    config = KafkaSubscriberConfig(
        topics=declared,
        group_id=group,
        no_reply=True,
        connection_args={
            "auto_offset_reset": "earliest",
            "partition_assignment_strategy": (RangePartitionAssignor,),
            "session_timeout_ms": int(settings.session_timeout * 1000),
            "heartbeat_interval_ms": int(settings.session_timeout * 1000 / 3),
            "max_poll_interval_ms": 15 * 60 * 1000,
            "group_instance_id": settings.group_instance_id,
        },
        _outer_config=broker.config.broker_config,
        _ack_policy=AckPolicy.MANUAL,
    )
    calls: CallsCollection[ConsumerRecord] = CallsCollection()
    specification = KafkaSubscriberSpecification(
        _outer_config=broker.config.broker_config,
        calls=calls,
        specification_config=KafkaSubscriberSpecificationConfig(topics=declared, title_=None, description_=None),
    )
    subscriber = KeyOrderedSubscriber(
        config,
        specification,
        calls,
        broker=broker,
        lane_of=lane_of,
        retry=retry or RetryPolicy(longest_age=settings.max_retry_age),
        outstanding=settings.max_outstanding,
        working=settings.max_working,
        commit_interval=settings.commit_interval,
        drain_timeout=settings.drain_timeout,
        metrics=metrics,
        clock=clock,
    )
    subscriber.parser.msg_class = KafkaMessage  # its ack() does nothing: the watermark owns the offsets
    Registrator.subscriber(broker, subscriber, persistent=True)
    subscriber.add_call(parser_=None, decoder_=None, codec_=None, dependencies_=())
    subscriber(handler)
    return subscriber
