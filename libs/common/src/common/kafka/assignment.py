"""The partitions of one epoch: taken up where their last owner committed, committed as far as they are done, let go.

A commit says in its metadata what is done beyond its offset, so a partition is taken up with both: read from the
offset, and without what its last owner had finished behind it (docs/decisions/0009). Both are believed only inside the
log in which they were counted (`resume_point`, docs/decisions/0013).
"""

import asyncio
from collections import deque
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from common.clock import Clock
from common.kafka.commit_note import Mark
from common.kafka.commits import Commits
from common.kafka.log_reader import LogReader
from common.kafka.metrics import KafkaMetrics
from common.kafka.ownership import Ownership
from common.kafka.progress import PartitionProgress
from common.kafka.resume_point import Commit, ResumePoint
from common.kafka.stopped import StoppedPartitions

log = structlog.get_logger("kafka")

MAX_GAPS = 1000
"""Gaps between offsets that are kept until somebody looks what they were; the oldest are forgotten."""


class Assignment:
    """How far each assigned partition is: read, done, committed."""

    def __init__(
        self, ownership: Ownership, stopped: StoppedPartitions, metrics: KafkaMetrics, logs: LogReader
    ) -> None:
        self.progress: dict[TopicPartition, PartitionProgress] = {}
        self._ownership = ownership
        self._stopped = stopped
        self._metrics = metrics
        self._logs = logs
        self._commits = Commits(metrics)
        self._read = asyncio.Event()
        self._gaps: deque[tuple[TopicPartition, int, int]] = deque(maxlen=MAX_GAPS)

    async def take_up(self, consumer: AIOKafkaConsumer) -> int:
        """Read on from what is committed, knowing what is done beyond it; returns the epoch that was begun.

        When the epoch ends meanwhile nothing is taken up.
        """
        epoch = self._ownership.epoch
        partitions = list(consumer.assignment())
        # `consumer.committed` returns only the offset; the metadata says what is done (pinned by a canary test).
        committed = await consumer._coordinator.fetch_committed_offsets(partitions)
        commits = {partition: Commit(one.offset, one.metadata) for partition, one in committed.items()}
        points = await self._logs.resume_points(partitions, commits)
        if not self._ownership.owns(epoch):
            return epoch
        for partition, point in points.items():
            commit = commits.get(partition)
            self.report(partition, commit, point)
            consumer.seek(partition, point.offset)
            self.progress[partition] = PartitionProgress(point.offset, point.done, point.mark)
            self._stopped.begin(partition)
            if commit is not None:
                self._commits.begin(partition, commit.offset, commit.metadata)
            else:
                self._commits.begin(partition, point.offset, "")
        self.more_was_read()
        return epoch

    def report(self, partition: TopicPartition, commit: Commit | None, point: ResumePoint) -> None:
        """Log and count what of a commit is not believed, and what nobody can read any more."""
        where = {"topic": partition.topic, "partition": partition.partition}
        if point.refusal is not None and commit is not None:
            self._metrics.commits_refused.labels(point.refusal).inc()
            log.error("commit.refused", **where, reason=point.refusal, committed=commit.offset, resumed=point.offset)
        if point.expired:
            self._report_expired(partition, point.expired, point.offset)

    def _report_expired(self, partition: TopicPartition, records: int, resumed: int) -> None:
        self._metrics.expired.labels(partition.topic).inc(records)
        where = {"topic": partition.topic, "partition": partition.partition}
        log.error("records.expired_unread", **where, records=records, resumed=resumed)

    def went_back(self, partition: TopicPartition, offset: int) -> PartitionProgress:
        """Go back with a log that was cut off or made anew: its offsets mean other records now."""
        log.error("partition.went_back", topic=partition.topic, partition=partition.partition, offset=offset)
        self._metrics.commits_refused.labels("other_log").inc()
        progress = self.progress[partition] = PartitionProgress(offset)
        return progress

    def skip_gaps(self, consumer: AIOKafkaConsumer) -> None:
        """Count the offsets as read that the consumer has passed without a record.

        A transaction's end takes an offset and is no record; compaction leaves such offsets, too. Whoever waits until a
        log's end is read would otherwise wait until an ordinary record comes. `consumer.position` may wait itself, so
        its state is read (pinned by a canary test).
        """
        assigned = consumer._subscription.subscription.assignment
        for partition, progress in self.progress.items():
            state = assigned.state_value(partition)
            if state is not None and state.has_valid_position and state.position > progress.next:
                self.note_gap(partition, state.position)
                progress.skip_to(state.position)
                self.more_was_read()

    def note_gap(self, partition: TopicPartition, offset: int) -> None:
        """Note that reading goes on at an offset: where that is not the next one, something between is no record."""
        if offset > self.progress[partition].next:
            self._gaps.append((partition, self.progress[partition].next, offset))

    async def count_expired(self, logs: LogReader) -> None:
        """Count and log what retention deleted in the gaps that were noted. Raises KafkaError."""
        if not self._gaps:
            return
        begins = await logs.begins(list({partition for partition, _, _ in self._gaps}))
        while self._gaps:
            partition, first, end = self._gaps.popleft()
            if (expired := min(end, begins.get(partition, 0)) - first) > 0:
                self._report_expired(partition, expired, end)

    def marks(self) -> dict[TopicPartition, Mark]:
        """Return a record of each log that was read."""
        return {one: progress.mark for one, progress in self.progress.items() if progress.mark is not None}

    def more_was_read(self) -> None:
        """Tell those who wait for what is read to look again."""
        self._read.set()
        self._read = asyncio.Event()

    async def has_read(self, ends: Mapping[TopicPartition, int], within: float) -> None:
        """Wait until everything before these offsets was read. Raises TimeoutError."""
        async with asyncio.timeout(within):
            while not all(tp in self.progress and self.progress[tp].next >= end for tp, end in ends.items()):
                await self._read.wait()

    async def commit(self, consumer: AIOKafkaConsumer) -> None:
        """Commit what is done. Raises KafkaError when the offsets are not ours to commit any more."""
        await self._commits.commit(consumer, self.progress)

    async def commit_or_warn(self, consumer: AIOKafkaConsumer, *, within: float | None = None) -> None:
        """Commit what is done; what does not work, or takes longer than `within` seconds, is logged."""
        await self._commits.commit_or_warn(consumer, self.progress, within=within)

    def outstanding(self) -> dict[TopicPartition, int]:
        """Return how many records of each partition are begun and not finished."""
        return {partition: progress.outstanding for partition, progress in self.progress.items()}

    def let_go(self) -> None:
        """End the epoch: a commit under way is given up, and nothing is known of any partition any more."""
        self._ownership.end()
        self._commits.forget()
        self._metrics.lag.clear()
        self.progress.clear()
        self._stopped.forget()
        self._gaps.clear()

    def measure(self, consumer: AIOKafkaConsumer | None, clock: Clock) -> None:
        """Tell Prometheus how far the partitions are."""
        oldest = [progress.oldest_ms for progress in self.progress.values() if progress.oldest_ms is not None]
        age = clock.now().timestamp() - min(oldest) / 1000 if oldest else 0.0
        self._metrics.watermark_age.set(max(age, 0.0))
        self._metrics.outstanding.set(sum(self.outstanding().values()))
        if consumer is None:
            return
        for partition in self.progress.keys() & consumer.assignment():
            lag = (consumer.highwater(partition) or 0) - self.progress[partition].next
            self._metrics.lag.labels(partition.topic, str(partition.partition)).set(max(lag, 0))
