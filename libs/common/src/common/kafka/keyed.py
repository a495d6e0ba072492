"""Key-ordered consumption: the records of one lane are handled one after another, different lanes at the same time.

FastStream's own concurrent modes either lose the order of a key or acknowledge what is not done yet
(docs/decisions/0005). This subscriber keeps FastStream's pipeline (codec, middlewares, handler) and replaces what is
around it:

- a lane per `lane_of(record)`, by default the record's key; a record without a key has a lane of its own;
- a bound on what is worked on at once, which a record that waits for its turn or for a retry does not count in, and a
  wider bound on the records in hand: a partition that holds too many of them is paused, while polling goes on;
- a failed record is tried again inside its lane, so later records of the conversation wait and nobody else does;
- what cannot be handled goes to its dead-letter topic, and its offset moves only after that append is acknowledged;
  where too large a share of a partition dies, the partition is stopped instead;
- offsets are committed explicitly and only behind the contiguous finished prefix of a partition; what is done beyond
  it is told in the commit's metadata, and skipped by whoever reads it again;
- on revocation and on shutdown: no new starts, a bounded drain, a commit, and what only waited is let go. What is still
  at work then is fenced: `hold().owned` is false for it, also while Kafka has not heard from us for so long that
  another replica may own the partitions (`lease`).

The pure parts are `progress`, `retry`, `back_pressure` and `dead_letter_limit`.
"""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream.kafka.subscriber.config import KafkaSubscriberConfig
from faststream.kafka.subscriber.specification import KafkaSubscriberSpecification
from faststream.kafka.subscriber.usecase import DefaultSubscriber

from common.clock import Clock
from common.failpoints import failpoint
from common.kafka.back_pressure import to_pause
from common.kafka.burial import Burial
from common.kafka.commits import Commits
from common.kafka.dead_letter_limit import DeadLetterLimit, account_of
from common.kafka.hold import OwnershipLost, Wanted, hand
from common.kafka.lanes import Entry, Lane, Lanes, Watcher
from common.kafka.lease import Lease, lease_of
from common.kafka.metrics import KafkaMetrics
from common.kafka.progress import PartitionProgress
from common.kafka.retry import GiveUp, RetryPolicy, Tries, TryAgain, cause, verdict
from common.kafka.slots import Slots
from common.kafka.stall import LOOK_SECONDS, Stall
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")

T = TypeVar("T")
LaneOf = Callable[[ConsumerRecord], Hashable]
Ready = Mapping[TopicPartition, tuple[int, str]]

POLL_SECONDS = 0.5
MOST_AT_ONCE = 200
"""Records taken in before the lanes get to run."""

AFTER_AN_ERROR = 1.0
HEARTBEAT_SECONDS = 1.0


def key_of(record: ConsumerRecord) -> Hashable:
    """Return the record's key: one lane a conversation, across topics."""
    return record.key if record.key is not None else (record.topic, record.partition, record.offset)


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
        burial: Burial,
        settings: KafkaSettings,
        metrics: KafkaMetrics,
        clock: Clock,
    ) -> None:
        config.listener = _Rebalance(self)
        super().__init__(config, specification, calls)
        self._lane_of = lane_of
        self._retry = retry
        self._burial = burial
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._working = Slots(settings.max_working)
        self._lease = Lease(settings.session_timeout)
        self._lanes = Lanes()
        self._progress: dict[TopicPartition, PartitionProgress] = {}
        self._limits: dict[TopicPartition, DeadLetterLimit] = {}
        self._stopped: set[TopicPartition] = set()
        self._commits = Commits(metrics)
        self._workers: set[asyncio.Task[None]] = set()
        self._intake: asyncio.Task[Any] | None = None
        self._draining = asyncio.Event()
        self._read = asyncio.Event()
        self._fresh: deque[tuple[Hashable, Lane]] = deque()
        self._taker_comes = False
        self._handled: Counter[str] = Counter()
        self._seconds = {topic: metrics.seconds.labels(topic) for topic in self.topic_names}
        self._epoch = 0
        self._assigned_in = -1

    # Reading

    async def start(self) -> None:
        """Connect the consumer and begin to read and to commit."""
        self._draining.clear()
        await super().start()
        if self.consumer is not None:
            self._lease = lease_of(self.consumer, self._settings.session_timeout)
            self._lease.renew()
        self.add_task(self._commit_regularly)
        self.add_task(self._watch_for_stalls)

    async def _watch_for_stalls(self) -> None:
        stall = Stall(self.consumer)
        while self.running:
            stall.look(well=self.lease_valid)
            await asyncio.sleep(LOOK_SECONDS)

    async def _run_consume_loop(self, consumer: AIOKafkaConsumer) -> None:
        self._intake = asyncio.current_task()
        if self._progress:
            self._begin_anew()
        begun: int | None = None
        while self.running:
            try:
                if begun != self._epoch and self._assigned_in == self._epoch:
                    begun = await self._begin_epoch(consumer)
                epoch = self._epoch
                batches = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=MOST_AT_ONCE)
                if epoch != self._epoch or begun != epoch:
                    continue  # nobody can tell from which assignment these are; the new epoch seeks back
                for partition, records in batches.items():
                    self._take_in(partition, records)
                self._pause_what_is_full(consumer)
                await asyncio.sleep(0)
            except ConsumerStoppedError:
                return
            except IllegalStateError:
                continue  # a rebalance came in between
            except KafkaError as error:
                log.warning("kafka.not_read", error=type(error).__name__)
                await asyncio.sleep(AFTER_AN_ERROR)

    async def _begin_epoch(self, consumer: AIOKafkaConsumer) -> int:
        """Read on from what is committed, knowing what is done beyond it; returns the epoch that was begun."""
        epoch = self._epoch
        partitions = list(consumer.assignment())
        # `consumer.committed` tells only the offset; the metadata says what is done (pinned by a canary test).
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        oldest = await consumer.beginning_offsets(partitions)
        if epoch != self._epoch:
            return epoch
        for partition in partitions:
            offset, note = committed.get(partition, OffsetAndMetadata(0, ""))
            start = max(offset, oldest[partition])
            consumer.seek(partition, start)
            self._progress[partition] = PartitionProgress(start, note if start == offset else "")
            self._limits[partition] = DeadLetterLimit(self._settings.max_dead_letters)
            self._commits.begin(partition, offset if partition in committed else start, note)
        self._tell_that_more_was_read()
        return epoch

    def _take_in(self, partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        progress = self._progress[partition]
        for record in records:
            if record.offset < progress.next:
                progress = self._begin_again(partition, record.offset)
            if progress.begin(record.offset, record.timestamp):
                self._put(Entry(record, partition, progress, self._epoch))
            else:
                self._metrics.skipped.inc()
        self._tell_that_more_was_read()

    def _begin_again(self, partition: TopicPartition, offset: int) -> PartitionProgress:
        """Go back with a log that was cut off or made anew: its offsets mean other records now."""
        log.error("partition.went_back", topic=partition.topic, partition=partition.partition, offset=offset)
        progress = self._progress[partition] = PartitionProgress(offset)
        return progress

    def _put(self, entry: Entry) -> None:
        key = self._lane_of(entry.record)
        lane = self._lanes.put(key, entry)
        if lane is not None:
            self._fresh.append((key, lane))
            self._call_a_worker()

    def _call_a_worker(self) -> None:
        """See to it that somebody comes for the lanes that nobody has taken yet."""
        if self._fresh and not self._taker_comes:
            self._taker_comes = True
            worker = asyncio.create_task(self._take_lanes(), name="lanes")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _take_lanes(self) -> None:
        """Work off lane after lane; where one makes us wait, the worker called meanwhile takes the next.

        A task costs as much as a third of a record's handling, so only a lane that waits gets one to itself.
        """
        self._taker_comes = False
        while self._fresh:
            key, lane = self._fresh.popleft()
            self._call_a_worker()
            await self._work(key, lane)

    def _pause_what_is_full(self, consumer: AIOKafkaConsumer) -> None:
        outstanding = {partition: progress.outstanding for partition, progress in self._progress.items()}
        paused = frozenset(consumer.paused())
        full, roomy = to_pause(outstanding, paused, bound=self._settings.max_outstanding)
        full |= self._stopped - paused
        roomy -= self._stopped
        if full:
            consumer.pause(*full)
        if roomy:
            consumer.resume(*roomy)
        if full or roomy:
            self._metrics.paused.set(len((paused | full) - roomy))

    # Working

    async def _work(self, key: Hashable, lane: Lane) -> None:
        try:
            while lane.waiting and await self._handle(lane, lane.waiting[0]):
                entry = lane.waiting[0]
                lane.done()
                if self.owns(entry):
                    entry.progress.finish(entry.record.offset)
        finally:
            lane.waiting.clear()
            self._lanes.end(key, lane)

    def owns(self, entry: Entry) -> bool:
        """Tell whether a record's partition is ours under the same assignment in which the record was read."""
        return entry.epoch == self._epoch

    async def _handle(self, lane: Lane, entry: Entry) -> bool:
        """Handle a record to its end. False when the lane is to be let go instead: drained, or no longer ours."""
        record = entry.record
        started = time.monotonic()
        tries = Tries(started)
        hand(_InHand(self, lane, entry))
        while self._may_begin(entry):
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
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            match decision:
                case TryAgain(delay):
                    self._metrics.retries.labels(record.topic).inc()
                    log.warning("record.retrying", **where, attempts=attempts, delay=round(delay, 2), reason=reason)
                    await self._pause(delay)
                case GiveUp() if not (self.owns(entry) and self.lease_valid):
                    # Whoever owns it by now decides; if that is still us, the next heartbeats will tell.
                    await self._pause(HEARTBEAT_SECONDS)
                case GiveUp(final) if self._may_bury(entry):
                    buried = await self._burial.bury(record, final, attempts, until=self._draining)
                    log.error("record.dead_lettered", **where, attempts=attempts, cause=final, buried=buried)
                    return buried
                case GiveUp(final):
                    log.error("record.held", **where, attempts=attempts, cause=final)
                    await self._draining.wait()
        return False

    def _may_begin(self, entry: Entry) -> bool:
        return self.owns(entry) and not self._draining.is_set()

    async def _process(self, entry: Entry) -> bool:
        """Call the handler in a place of its own; False when the record was taken from us while it waited for one."""
        if not self._working.take():
            await self._working.acquire()
        try:
            if not self._may_begin(entry):
                return False
            await self.process_message(entry.record)
        finally:
            self._working.release()
        failpoint("kafka.after_done_before_commit")
        return True

    def _count(self, entry: Entry, seconds: float) -> None:
        if self.owns(entry):
            self._limits[entry.partition].handled(account_of(entry.record.key), time.monotonic())
        self._handled[entry.record.topic] += 1
        self._seconds[entry.record.topic].observe(seconds)

    async def _pause(self, delay: float) -> None:
        """Wait `delay` seconds, or until a drain begins: what only waits is let go at once."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._draining.wait(), delay)

    def _may_bury(self, entry: Entry) -> bool:
        """Count a death; False, and the partition stopped, when it is one too many."""
        limit, account, now = self._limits.get(entry.partition), account_of(entry.record.key), time.monotonic()
        if limit is None:
            return False
        if entry.partition not in self._stopped and not limit.would_exceed(account, now):
            limit.died(account, now)
            return True
        if entry.partition not in self._stopped:
            self._stopped.add(entry.partition)
            self._metrics.stopped.set(len(self._stopped))
            log.error("partition.stopped", topic=entry.partition.topic, partition=entry.partition.partition)
        return False

    # What a handler and a read barrier ask

    @property
    def lease_valid(self) -> bool:
        """Whether nobody else can own our partitions yet."""
        return self._lease.valid

    async def later_within(self, lane: Lane, wanted: Wanted, seconds: float) -> bool:
        """Wait for a wanted record behind the one in hand; what waits does not count as work.

        Raises OwnershipLost when the lane is drained meanwhile.
        """
        give_up = time.monotonic() + seconds
        try:
            async with self._only_waiting():
                while not (found := lane.has_later(wanted)) and (left := give_up - time.monotonic()) > 0:
                    lane.arrived = asyncio.Event()
                    await self._first_of(lane.arrived, self._draining, within=left)
                    if self._draining.is_set():
                        raise OwnershipLost("its lane was drained")
                return found
        finally:
            lane.arrived = None

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        """Wait for something in a place that others may use. Raises OwnershipLost when a drain begins meanwhile."""
        drained = asyncio.create_task(self._draining.wait())
        try:
            async with self._only_waiting():
                await asyncio.wait((awaited, drained), return_when=asyncio.FIRST_COMPLETED)
            if self._draining.is_set():
                raise OwnershipLost("its lane was drained")
            return await awaited
        finally:
            drained.cancel()
            awaited.cancel()

    async def at_rest(self, lane: Hashable, within: float) -> None:
        """Wait until another lane than that of the record in hand has no records. Raises TimeoutError.

        Raises OwnershipLost during a drain: what waited is let go then, so a lane without records took nothing in.
        """
        while not self._lanes.rests(lane):  # more may have come while we waited for a place among those who work
            async with self._only_waiting(), asyncio.timeout(within):
                await self._lanes.at_rest(lane)
        if self._draining.is_set():
            raise OwnershipLost("its lane was drained")

    def watching(self, lane: Hashable) -> contextlib.AbstractContextManager[Watcher]:
        """Watch what comes into a lane."""
        return self._lanes.watching(lane)

    async def has_read(self, ends: Mapping[TopicPartition, int], within: float) -> None:
        """Wait until everything before these offsets was read. Raises TimeoutError.

        The caller keeps its place among those who work: reading needs none, and it must act at once afterwards.
        """
        async with asyncio.timeout(within):
            while not all(tp in self._progress and self._progress[tp].next >= end for tp, end in ends.items()):
                await self._read.wait()

    @contextlib.asynccontextmanager
    async def _only_waiting(self) -> AsyncIterator[None]:
        """Give the place of a handler that waits for something to those who can work, and take one again."""
        self._working.release()
        try:
            yield
        finally:
            await self._working.acquire()

    def _tell_that_more_was_read(self) -> None:
        self._read.set()
        self._read = asyncio.Event()

    @staticmethod
    async def _first_of(*events: asyncio.Event, within: float) -> None:
        waits = [asyncio.create_task(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # Committing

    async def commit(self) -> None:
        """Commit now what is done. Raises KafkaError when the offsets are not ours to commit any more."""
        if self.consumer is not None:
            await self._commits.commit(self.consumer, self._progress)

    async def _commit_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._settings.commit_interval)
            self._measure()
            if self.consumer is not None:
                await self._commits.commit_or_warn(self.consumer, self._progress)

    async def _commit_last(self) -> None:
        if self.consumer is not None:
            await self._commits.commit_or_warn(self.consumer, self._progress, within=self._settings.request_timeout)

    def _measure(self) -> None:
        oldest = [progress.oldest_ms for progress in self._progress.values() if progress.oldest_ms is not None]
        age = self._clock.now().timestamp() - min(oldest) / 1000 if oldest else 0.0
        self._metrics.watermark_age.set(max(age, 0.0))
        self._metrics.lanes.set(len(self._lanes))
        self._metrics.outstanding.set(sum(progress.outstanding for progress in self._progress.values()))
        self._metrics.working.set(self._working.taken)
        for topic, count in self._handled.items():
            self._metrics.handled.labels(topic).inc(count)
        self._handled.clear()
        self._metrics.oldest_lane.set(self._lanes.longest())
        if self.consumer is None:
            return
        for partition in self._progress.keys() & self.consumer.assignment():
            lag = (self.consumer.highwater(partition) or 0) - self._progress[partition].next
            self._metrics.lag.labels(partition.topic, str(partition.partition)).set(max(lag, 0))

    # Handing over

    async def drain(self, timeout: float) -> None:
        """Start nothing new and wait up to `timeout` seconds for what is being handled."""
        self._draining.set()
        workers = list(self._workers)
        if workers:
            _, late = await asyncio.wait(workers, timeout=timeout)
            if late:
                log.warning("lanes.not_drained", late=len(late), timeout=timeout)

    async def revoke(self) -> None:
        """Give the partitions back: drain, commit, fence, forget. aiokafka revokes all of them at every rebalance."""
        self._metrics.rebalances.inc()
        await self.drain(self._settings.drain_timeout)
        await self._commit_last()
        self._forget()
        self._draining = asyncio.Event()

    def _begin_anew(self) -> None:
        """End an epoch without a rebalance: the intake broke off in the middle of something, and is started again."""
        log.error("intake.restarted")
        self._forget()
        self._assigned_in = self._epoch

    def assigned_anew(self) -> None:
        """Begin an epoch: the coordinator has just given us partitions."""
        self._epoch += 1
        self._assigned_in = self._epoch
        self._lease.renew()

    def _forget(self) -> None:
        """End the epoch. Whatever is still at work finds that it owns nothing any more."""
        self._epoch += 1
        self._commits.forget()
        self._metrics.lag.clear()
        self._progress.clear()
        self._limits.clear()
        self._stopped.clear()
        self._lanes.forget()
        self._metrics.paused.set(0)
        self._metrics.stopped.set(0)

    async def stop(self) -> None:
        """Stop reading, drain, commit, then leave the group. What was not finished is read again by its next owner."""
        if self._intake is not None:
            self._intake.cancel()
        if self.consumer is not None:
            await self.drain(self._settings.drain_timeout)
            await self._commit_last()
        self._measure()
        self._forget()
        self._fresh.clear()
        self._taker_comes = False
        for worker in list(self._workers):
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await super().stop()

    def assigned(self) -> bool:
        """Tell whether the consumer holds at least one partition."""
        return self.consumer is not None and bool(self.consumer.assignment())


class _InHand:
    """What a handler may ask about the record it handles (`common.kafka.hold.Hold`)."""

    __slots__ = ("_entry", "_lane", "_subscriber")

    def __init__(self, subscriber: KeyOrderedSubscriber, lane: Lane, entry: Entry) -> None:
        self._subscriber = subscriber
        self._lane = lane
        self._entry = entry

    @property
    def owned(self) -> bool:
        return self._subscriber.owns(self._entry) and self._subscriber.lease_valid

    @property
    def partition(self) -> int | None:
        return int(self._entry.record.partition)

    def later(self, wanted: Wanted) -> bool:
        return self._lane.has_later(wanted)

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:
        return await self._subscriber.later_within(self._lane, wanted, seconds)

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        return await self._subscriber.wait_for(awaited)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    def __init__(self, subscriber: KeyOrderedSubscriber) -> None:
        self._subscriber = subscriber

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        if revoked:
            await self._subscriber.revoke()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._subscriber.assigned_anew()
        log.info("partitions.assigned", count=len(assigned))
