"""What Kafka knows about the stages behind it: read with an admin client and a consumer that fetches nothing.

Both are made when somebody asks, kept while they work and thrown away when they fail; an answer is kept for two
seconds, so dashboards cannot become load.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from common.clock import Clock
from common.job_status import STATUS_GROUP, decode
from common.kafka.topics import DAY_MS, TOPICS
from ingest.notifications.times import milliseconds
from ingest.stages import CONSUMED, Partition, Stage, consumed_stage

TIMEOUT_SECONDS = 2.0
KEEP_SECONDS = 2.0
CLOSE_SECONDS = 1.0
BACKOFF_MS = 20
OLDEST_MS = 91 * DAY_MS
RESOLUTION_MS = 1000

PARTITIONS = {
    topic.name: [TopicPartition(topic.name, number) for number in range(topic.partitions)] for topic in TOPICS
}


class BacklogUnknown(Exception):
    """Kafka did not say, and why."""


class BacklogReader(Protocol):
    """Where the consuming stages are read from."""

    async def stages(self, *, published: int) -> dict[str, Stage]:
        """Return each consuming stage, no older than the publication number `published`. Raises BacklogUnknown."""
        ...

    async def close(self) -> None:
        """Let go of the connections."""
        ...


class Backlog:
    """Reads the stages that consume topics."""

    def __init__(self, connection: Mapping[str, Any], clock: Clock) -> None:
        """Take aiokafka's connection arguments; nothing is connected yet."""
        self._connection = connection
        self._clock = clock
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None
        self._lock = asyncio.Lock()
        self._taken_at = float("-inf")
        self._failed: tuple[float, str] | None = None
        self._published = 0
        self._wanted = 0
        self._stages: dict[str, Stage] = {}

    async def stages(self, *, published: int) -> dict[str, Stage]:
        """Return each consuming stage, at most two seconds old. Raises BacklogUnknown within two seconds or so.

        `published` counts what this process has published: an answer from before the latest of it is not given, so
        whoever sends a webhook and then finds nothing waiting knows that it was worked off. One look answers all who
        wait for it, also where it fails: they do not wait for each other's.
        """
        asked_at, self._wanted = time.monotonic(), max(self._wanted, published)
        async with self._lock:
            if self._failed is not None and self._failed[0] > asked_at:
                raise BacklogUnknown(self._failed[1])
            if published > self._published or time.monotonic() - self._taken_at > KEEP_SECONDS:
                wanted = self._wanted
                try:
                    async with asyncio.timeout(TIMEOUT_SECONDS):
                        self._stages = await self._read()
                except (KafkaError, OSError, BacklogUnknown) as error:  # TimeoutError is an OSError
                    await self._let_go()
                    self._failed = time.monotonic(), _reason(error)
                    raise BacklogUnknown(self._failed[1]) from None
                self._taken_at, self._published = time.monotonic(), wanted
            return self._stages

    async def close(self) -> None:
        """Let go of the connections."""
        async with self._lock:
            await self._let_go()

    async def _let_go(self) -> None:
        if self._clients is None:
            return
        admin, consumer = self._clients
        self._clients = None
        closing = [asyncio.create_task(admin.close()), asyncio.create_task(consumer.stop())]
        _, late = await asyncio.wait(closing, timeout=CLOSE_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*closing, return_exceptions=True)

    async def _connected(self) -> tuple[AIOKafkaAdminClient, AIOKafkaConsumer]:
        if self._clients is None:
            self._clients = (
                AIOKafkaAdminClient(**self._connection),
                AIOKafkaConsumer(**self._connection, retry_backoff_ms=BACKOFF_MS),
            )
            admin, consumer = self._clients
            await admin.start()
            await consumer.start()
            missing = PARTITIONS.keys() - await consumer.topics()
            if missing:
                raise BacklogUnknown(f"topics are missing: {', '.join(sorted(missing))} (run `jawab topics apply`)")
        return self._clients

    async def _read(self) -> dict[str, Stage]:
        admin, consumer = await self._connected()
        sources = [topic for _, topics in CONSUMED.values() for topic in topics]
        everything = [tp for topic in sources for tp in (*PARTITIONS[topic], *PARTITIONS[f"{topic}.dlq"])]
        # First the commits, along the way of a message, then the ends: what moved on in between is seen waiting at its
        # next stage, never nowhere.
        commits = {stage: await _commits(admin, group) for stage, (group, _) in CONSUMED.items()}
        beginnings: dict[TopicPartition, int] = await consumer.beginning_offsets(everything)
        ends: dict[TopicPartition, int] = await consumer.end_offsets(everything)
        now_ms = milliseconds(self._clock.now())
        stages = {}
        for stage, (_, topics) in CONSUMED.items():
            committed = commits[stage]
            partitions = {
                tp: _partition(beginnings[tp], max(ends[tp], beginnings[tp]), committed.get(tp))
                for topic in topics
                for tp in PARTITIONS[topic]
            }
            waiting = {tp: p.position for tp, p in partitions.items() if p.lag and p.noted[1] is None}
            written = await _written_at(consumer, waiting, now_ms)
            stages[stage] = consumed_stage(
                [p.with_head(written.get(tp)) for tp, p in partitions.items()],
                dead_letters=sum(ends[tp] - beginnings[tp] for topic in topics for tp in PARTITIONS[f"{topic}.dlq"]),
                now_ms=now_ms,
            )
        told = [commit.metadata for commit in (await _commits(admin, STATUS_GROUP)).values() if commit.metadata]
        jobs = {name: status for text in told for name, status in decode(text).items()}
        stages["cleanup"] = stages["cleanup"].with_jobs(jobs, self._clock.now())
        return stages


async def _commits(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return a group's commits. A young cluster first has to make the topic that keeps them; the caller bounds that."""
    while True:
        try:
            commits: dict[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
        except GroupCoordinatorNotAvailableError:
            await asyncio.sleep(BACKOFF_MS / 1000)
        else:
            return commits


def _partition(beginning: int, end: int, commit: OffsetAndMetadata | None) -> Partition:
    if commit is None or commit.offset < 0:
        return Partition(beginning, end)
    return Partition(beginning, end, commit.offset, commit.metadata or "")


async def _written_at(
    consumer: AIOKafkaConsumer, offsets: Mapping[TopicPartition, int], now_ms: int
) -> dict[TopicPartition, int]:
    """Return when the record at each offset was written, to within a second, without fetching it.

    Kafka tells the first offset at or after a moment, so the moment is found by halving, all partitions at once.
    """
    found: dict[TopicPartition, int] = {}
    low = dict.fromkeys(offsets, 0)
    high = dict.fromkeys(offsets, now_ms + RESOLUTION_MS)
    guess = dict.fromkeys(offsets, max(now_ms - OLDEST_MS, 0))
    while guess:
        answers = await consumer.offsets_for_times(guess)
        for tp, answer in answers.items():
            if answer is not None and answer.offset == offsets[tp]:
                found[tp] = answer.timestamp
            elif answer is None or answer.offset > offsets[tp]:
                high[tp] = guess[tp]
            else:
                low[tp] = guess[tp]
        open_ones = [tp for tp in guess if tp not in found]
        found |= {tp: low[tp] for tp in open_ones if high[tp] - low[tp] <= RESOLUTION_MS}
        guess = {tp: (low[tp] + high[tp]) // 2 for tp in open_ones if tp not in found}
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, BacklogUnknown):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"Kafka did not answer within {TIMEOUT_SECONDS:g} s"
    return f"Kafka cannot be asked ({type(error).__name__})"
