"""Commits: one at a time, only what moved, never above a watermark.

A broker may be set to take less metadata than a note has (`offset.metadata.max.bytes`): the notes become shorter then,
because an offset that cannot be committed at all would repeat everything.

aiokafka repeats a commit for as long as the coordinator is away, under whatever generation it is in by then. So a
commit that is under way ends with the epoch whose offsets it carries.
"""

import asyncio
from collections.abc import Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetMetadataTooLargeError
from aiokafka.structs import OffsetAndMetadata

from common.failpoints import sabotaged
from common.kafka.commit_note import MAX_NOTE
from common.kafka.metrics import KafkaMetrics
from common.kafka.progress import PartitionProgress

log = structlog.get_logger("kafka")

Progress = Mapping[TopicPartition, PartitionProgress]


class Commits:
    """What is committed of the assigned partitions, as far as this replica knows."""

    def __init__(self, metrics: KafkaMetrics) -> None:
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._known: dict[TopicPartition, tuple[int, str]] = {}
        self._room = MAX_NOTE
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, partition: TopicPartition, offset: int, note: str) -> None:
        """Note where a partition is taken up."""
        self._known[partition] = (offset, note)

    def forget(self) -> None:
        """End the epoch: give up a commit that is under way, and what is known."""
        for commit in self._under_way:
            commit.cancel()
        self._known.clear()

    async def commit(self, consumer: AIOKafkaConsumer, progress: Progress) -> None:
        """Commit the watermark of every assigned partition that moved; waits while the coordinator is away.

        Raises KafkaError when the offsets are not ours to commit any more.
        """
        async with self._lock:
            ready = self._ready(consumer.assignment(), progress)
            if ready:
                try:
                    await consumer.commit({tp: OffsetAndMetadata(offset, note) for tp, (offset, note) in ready.items()})
                except OffsetMetadataTooLargeError:
                    self._room //= 2
                    log.warning("offsets.notes_shortened", room=self._room)
                    raise
                self._metrics.commits.inc()
                self._known.update(ready)

    async def commit_or_warn(
        self, consumer: AIOKafkaConsumer, progress: Progress, *, within: float | None = None
    ) -> None:
        """Commit; what does not work is logged, because the next commit covers it."""
        commit = asyncio.create_task(self._commit_within(consumer, progress, within), name="commit")
        self._under_way.add(commit)
        commit.add_done_callback(self._under_way.discard)
        await asyncio.wait({commit})

    async def _commit_within(self, consumer: AIOKafkaConsumer, progress: Progress, within: float | None) -> None:
        try:
            async with asyncio.timeout(within):
                await self.commit(consumer, progress)
        except Exception as error:  # noqa: BLE001 the next commit covers this one
            self._metrics.commit_failures.inc()
            log.warning("offsets.not_committed", error=type(error).__name__)

    def _ready(
        self, assigned: frozenset[TopicPartition], progress: Progress
    ) -> Mapping[TopicPartition, tuple[int, str]]:
        eager = sabotaged("sabotage.eager_commit")
        now = {
            partition: (one.next, "") if eager else (one.watermark, one.note(self._room))
            for partition, one in progress.items()
            # Without a mark nobody could tell later in which log the offset was counted; nothing was read either.
            if partition in assigned and one.mark is not None
        }
        return {partition: entry for partition, entry in now.items() if self._known[partition] != entry}
