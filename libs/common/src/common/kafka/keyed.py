"""Key-ordered consumption: the records of one lane are handled one after another, different lanes at the same time.

FastStream's own concurrent modes either lose the order of a key or acknowledge what is not done yet
(docs/decisions/0005). This subscriber keeps FastStream's pipeline (codec, middlewares, handler) and replaces what is
around it:
- a lane per `lane_of(record)`, by default the record's key; a record without a key has a lane of its own;
- a bound on what is worked on at once, which a record that waits for its turn or for a retry does not count in, and a
  wider bound on the records and bytes in memory, both divided between accounts: what an account has beyond its share is
  deferred, and a partition that fills up with the records of several is paused, while polling goes on;
- a failed record is tried again inside its lane, so later records of the conversation wait and nobody else does;
- what cannot be handled goes to its dead-letter topic, and its offset moves only after that append is acknowledged;
  where too large a share of a partition dies, the partition is stopped instead;
- offsets are committed explicitly, only behind the contiguous finished prefix of a partition; the metadata says what is
  done beyond it, and whoever reads it again skips it;
- on revocation and on shutdown: no new starts, a bounded drain, a commit, and what only waited is let go. What is still
  at work then is fenced, also while Kafka has not heard from us for so long that another may own the partitions.

Here is the way of a record, and the order of the steps when partitions come and go. The steps themselves are in the
modules that are imported from beside this one.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka.subscriber.config import KafkaSubscriberConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber

from common.clock import Clock
from common.failpoints import failpoint
from common.kafka.assignment import Assignment
from common.kafka.burial import Burial
from common.kafka.dead_letter_limit import Decision
from common.kafka.hold import hand, hold
from common.kafka.intake import Intake, LaneOf
from common.kafka.lanes import Entry, Lane, Lanes, Watcher
from common.kafka.lease import Lease, lease_of
from common.kafka.log_reader import LogReader, connecting
from common.kafka.log_watch import LogWatch
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.placement import is_misplaced, move
from common.kafka.raw_records import RawRecords
from common.kafka.reading import Reading, refuse_unreadable
from common.kafka.rebalance import Rebalance
from common.kafka.rereading import Rereading
from common.kafka.retry import GiveUp, RetryPolicy, Tries, TryAgain, cause, verdict
from common.kafka.slots import Slots
from common.kafka.stall import LOOK_SECONDS, Stall
from common.kafka.stopped import StoppedPartitions
from common.kafka.waiting import InHand, Waiting
from common.kafka.workers import Workers
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")


AFTER_AN_ERROR = 1.0
AFTER_A_REBALANCE = 0.02
HEARTBEAT_SECONDS = 1.0

DECIDE_AGAIN_SECONDS = 5.0
"""Between two looks whether an account's dying records are its own fault."""


def _where(record: ConsumerRecord) -> dict[str, Any]:
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


class KeyOrderedSubscriber(DefaultSubscriber):
    """A FastStream subscriber that keeps lanes in order and commits only what is done."""

    def __init__(
        self,
        config: KafkaSubscriberConfig,
        specification: KafkaSubscriberSpecification,
        calls: CallsCollection[ConsumerRecord],
        *,
        lane_of: LaneOf,
        retry: RetryPolicy,
        raw_records: RawRecords,
        burial: Burial,
        settings: KafkaSettings,
        metrics: KafkaMetrics,
        clock: Clock,
    ) -> None:
        config.listener = Rebalance(self.revoke, self.assigned_anew)
        super().__init__(config, specification, calls)
        self._retry = retry
        self._raw_records = raw_records
        self._burial = burial
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._working = Slots(settings.max_working)
        self._lanes = Lanes()
        self._workers = Workers(self._work)
        self._ownership = Ownership(Lease(settings.session_timeout))
        self._stopped = StoppedPartitions(metrics, settings.max_dead_letters)
        logs = LogReader(connecting(settings, "jawab-logs"), settings.request_timeout)
        self._assignment = Assignment(self._ownership, self._stopped, metrics, logs)
        self._progress = self._assignment.progress
        self._records = Intake(
            lane_of=lane_of,
            lanes=self._lanes,
            take_on=self._workers.take,
            assignment=self._assignment,
            ownership=self._ownership,
            settings=settings,
            metrics=metrics,
        )
        self._log_watch = LogWatch(self._assignment, self._ownership, logs, self._resume_at)
        self._rereading = Rereading(settings, self._records, self._ownership)
        self._waiting = Waiting(self._working, self._ownership)
        self._intake: asyncio.Task[Any] | None = None
        self._begun: int | None = None
        self._handled: Counter[str] = Counter()
        self._seconds = {topic: metrics.seconds.labels(topic) for topic in self.topic_names}

    # Reading

    async def start(self) -> None:
        """Connect the consumer and begin to read and to commit."""
        self._ownership.end_drain()
        await super().start()
        if self.consumer is not None:
            self._ownership.lease = lease_of(self.consumer, self._settings.session_timeout)
            self._ownership.lease.renew()
        self.add_task(self._commit_regularly)
        self.add_task(self._watch_for_stalls)
        self.add_task(self._rereading.run)
        self.add_task(self._log_watch.run)

    async def _watch_for_stalls(self) -> None:
        stall = Stall(self.consumer)
        while self.running:
            stall.look(well=self.lease_valid)
            await asyncio.sleep(LOOK_SECONDS)

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:
        self._intake = asyncio.current_task()
        if self._progress:
            self._begin_anew()
        reading = Reading(consumer, self._progress)
        while self.running:
            epoch = self._ownership.epoch
            try:
                await self._read_once(consumer, reading)
            except ConsumerStoppedError:
                return
            except IllegalStateError:
                await asyncio.sleep(AFTER_A_REBALANCE)
            except (KafkaError, OSError) as error:
                log.warning("kafka.not_read", error=type(error).__name__)
                await asyncio.sleep(AFTER_AN_ERROR)
            except Exception as error:  # noqa: BLE001 whatever broke it, reading goes on, and never at once
                log.error("intake.failed", error=type(error).__name__)
                await asyncio.sleep(AFTER_AN_ERROR)
                if self._ownership.owns(epoch) and self._progress:
                    self._begin_anew()

    async def _read_once(self, consumer: AIOKafkaConsumer, reading: Reading) -> None:
        """Read some records and take them in. Raises IllegalStateError when a rebalance comes in between."""
        if self._begun != self._ownership.epoch and self._ownership.assigned:
            self._begun = await self._assignment.take_up(consumer)
        epoch = self._ownership.epoch
        batches = await reading.batches()
        if self._begun != epoch or not self._ownership.owns(epoch):
            return  # nobody can tell from which assignment these are; the new epoch seeks back
        for partition, records in batches.items():
            self._take_in(partition, records)
        self._assignment.skip_gaps(consumer)
        self._records.pause_what_is_full(consumer, self._stopped)
        await asyncio.sleep(0)

    def _take_in(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        self._records.take_in(partition, records)

    # Working

    async def _work(self, key: Hashable, lane: Lane) -> None:
        try:
            while lane.waiting and await self._handle(lane, lane.waiting[0]):
                entry = lane.waiting[0]
                lane.done()
                if self._ownership.owns(entry.epoch):
                    self._records.finish(entry)
        finally:
            lane.waiting.clear()
            self._lanes.end(key, lane)

    async def _handle(self, lane: Lane, entry: Entry) -> bool:
        """Handle a record to its end. False when the lane is to be let go instead: drained, or no longer ours."""
        record = entry.record
        started = time.monotonic()
        tries = Tries(started)
        hand(InHand(self._ownership, self._waiting, lane, entry))
        while self._ownership.may_begin(entry.epoch):
            tries.begins(time.monotonic())
            try:
                if await self._process(entry):
                    self._count(entry, time.monotonic() - started)
                    return True
            except Exception as error:  # noqa: BLE001 a lane must outlive whatever its handler raises
                tries.failed(error, time.monotonic())
                decision = verdict(error, attempts=tries.failures, age=tries.age, policy=self._retry)
                reason = cause(error)
            else:
                return False
            attempts = tries.failures
            where = _where(record)
            match decision:
                case TryAgain(delay):
                    self._metrics.retries.labels(record.topic).inc()
                    log.warning("record.retrying", **where, attempts=attempts, delay=round(delay, 2), reason=reason)
                    await self._pause(delay)
                case GiveUp() if not self._ownership.may_act(entry.epoch):
                    # Whoever owns it by now decides; if that is still us, the next heartbeats will tell.
                    await self._pause(HEARTBEAT_SECONDS)
                case GiveUp(final) if await self._may_dead_letter(entry, final, attempts):
                    buried = await self._burial.bury(record, final, attempts, until=self._ownership.draining)
                    log.error("record.dead_lettered", **where, attempts=attempts, cause=final, buried=buried)
                    return buried
        return False

    async def _may_dead_letter(self, entry: Entry, cause: str, attempts: int) -> bool:
        """Wait until the record may go to the dead letters; False when it has to be looked at again, or is let go."""
        record, waits = entry.record, False
        while self._ownership.may_begin(entry.epoch) and self._ownership.may_act(entry.epoch):
            match self._stopped.decide(entry.partition, record.key):
                case Decision.PUBLISH:
                    return True
                case Decision.WAIT:
                    if not waits:
                        log.error("record.waits_for_its_account", **_where(record), attempts=attempts, cause=cause)
                    waits = True
                    await self._pause(DECIDE_AGAIN_SECONDS)
                case Decision.STOP:
                    log.error("record.held", **_where(record), attempts=attempts, cause=cause)
                    await self._ownership.draining.wait()
        return False

    async def _process(self, entry: Entry) -> bool:
        """Call the handler in a place of its own; False when the record was taken from us while it waited for one."""
        line = hold().line
        if not self._working.take(line):
            await self._working.acquire(line)
        try:
            if not self._ownership.may_begin(entry.epoch):
                return False
            await self._call(entry.record)
        finally:
            self._working.release(line)
        failpoint("kafka.after_done_before_commit")
        return True

    async def _call(self, record: ConsumerRecord) -> None:
        """Let the handler handle a record, unless it is not one that a handler may see."""
        refuse_unreadable(record)
        if is_misplaced(record, self.partitions_of(record.topic)):
            await move(record, self._raw_records)
        else:
            await self.process_message(record)

    def _count(self, entry: Entry, seconds: float) -> None:
        if self._ownership.owns(entry.epoch):
            self._stopped.handled(entry.partition, entry.record.key)
        self._handled[entry.record.topic] += 1
        self._seconds[entry.record.topic].observe(seconds)

    async def _pause(self, delay: float) -> None:
        """Wait `delay` seconds, or until a drain begins: what only waits is let go at once."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ownership.draining.wait(), delay)

    # What a read barrier asks

    @property
    def lease_valid(self) -> bool:
        """Whether nobody else can own our partitions yet."""
        return self._ownership.lease.valid

    def partitions_of(self, topic: str) -> int:
        """Return how many partitions a topic has. Raises IllegalStateError while that is not known."""
        if self.consumer is None or not (known := self.consumer.partitions_for_topic(topic)):
            raise IllegalStateError(f"the partitions of {topic} are not known yet")
        return len(known)

    async def at_rest(self, lane: Hashable, within: float) -> None:
        """Wait until another lane than that of the record in hand is empty. Raises TimeoutError, OwnershipLost."""
        await self._waiting.at_rest(self._lanes, lane, within)

    def watching(self, lane: Hashable) -> contextlib.AbstractContextManager[Watcher]:
        """Watch what comes into a lane."""
        return self._lanes.watching(lane)

    async def has_read(self, ends: Mapping[TopicPartition, int], within: float) -> None:
        """Wait until everything before these offsets was read. Raises TimeoutError.

        The caller keeps its place among those who work: reading needs none, and it must act at once afterwards.
        """
        await self._assignment.has_read(ends, within)

    # Committing

    async def commit(self) -> None:
        """Commit now what is done. Raises KafkaError when the offsets are not ours to commit any more."""
        if self.consumer is not None:
            await self._assignment.commit(self.consumer)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval)
            self._measure()
            if self.consumer is not None:
                await self._assignment.commit_or_warn(self.consumer)

    async def _commit_last(self) -> None:
        if self.consumer is not None:
            await self._assignment.commit_or_warn(self.consumer, within=self._settings.request_timeout)

    def _measure(self) -> None:
        self._assignment.measure(self.consumer, self._clock)
        self._records.measure()
        self._metrics.lanes.set(len(self._lanes))
        self._metrics.working.set(self._working.taken)
        for topic, count in self._handled.items():
            self._metrics.handled.labels(topic).inc(count)
        self._handled.clear()
        self._metrics.oldest_lane.set(self._lanes.longest())

    # Handing over

    async def drain(self, timeout: float) -> None:
        """Start nothing new and wait up to `timeout` seconds for what is being handled."""
        self._ownership.draining.set()
        await self._workers.finish(timeout)

    async def revoke(self) -> None:
        """Give the partitions back: drain, commit, fence, forget. aiokafka revokes all of them at every rebalance."""
        self._metrics.rebalances.inc()
        await self.drain(self._settings.drain_timeout)
        await self._commit_last()
        self._forget()
        self._ownership.end_drain()

    def _begin_anew(self) -> None:
        """End an epoch without a rebalance: the intake broke off in the middle of something, and is started again."""
        log.error("intake.restarted")
        self._forget()
        self._ownership.begin_again()

    async def _resume_at(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read some partitions again from these offsets. Raises KafkaError where that could not be committed."""
        self._forget()
        epoch = self._ownership.epoch
        try:
            if self.consumer is not None:
                await self.consumer.commit({one: OffsetAndMetadata(offset, "") for one, offset in offsets.items()})
        finally:
            if self._ownership.owns(epoch):  # no rebalance came in between
                self._ownership.begin_again()

    def assigned_anew(self) -> None:
        """Begin an epoch: the coordinator has just given us partitions."""
        self._ownership.begin()

    def _forget(self) -> None:
        """End the epoch. Whatever is still at work finds that it owns nothing any more."""
        self._assignment.let_go()
        self._lanes.forget()
        self._records.forget()
        self._metrics.paused.set(0)

    async def stop(self) -> None:
        """Stop reading, drain, commit, then leave the group. What was not finished is read again by its next owner."""
        if self._intake is not None:
            self._intake.cancel()
        if self.consumer is not None:
            await self.drain(self._settings.drain_timeout)
            await self._commit_last()
        self._measure()
        self._forget()
        await self._workers.cancel()
        await super().stop()

    def assigned(self) -> bool:
        """Tell whether the consumer holds at least one partition."""
        return self.consumer is not None and bool(self.consumer.assignment())
