"""Every topic, declared once: partitions, retention, and who owns what. `jawab topics apply` creates them.

Topics keyed by conversation have the same number of partitions and the same partitioner, so that range assignment
gives one replica the same partitions of all of them: everything about one conversation is with one process.
Kafka can add partitions but a key then moves; that is why `apply` refuses to change one of them.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.privacy import PRIVACY
from common.events.replies import REPLIES

CONVERSATION_PARTITIONS = 12
DAY_MS = 24 * 60 * 60 * 1000
MAX_RECORD_BYTES = 9 * 1024 * 1024
"""Above the largest webhook ingest accepts (8 MiB): one item may be nearly the whole body."""


@dataclass(frozen=True)
class Topic:
    """One topic as it should be."""

    name: str
    partitions: int
    retention_ms: int
    keyed_by: str

    @property
    def dead_letters(self) -> str:
        """The topic that takes this one's dead letters."""
        return f"{self.name}.dlq"


SOURCES: tuple[Topic, ...] = (
    Topic(INTERACTIONS, CONVERSATION_PARTITIONS, 14 * DAY_MS, "conversation"),
    Topic(REPLIES, CONVERSATION_PARTITIONS, 14 * DAY_MS, "conversation"),
    Topic(OUTCOMES, CONVERSATION_PARTITIONS, 14 * DAY_MS, "conversation"),
    Topic(CONTROL, CONVERSATION_PARTITIONS, 14 * DAY_MS, "conversation"),
    Topic(PRIVACY, 1, 90 * DAY_MS, "request code"),
)

TOPICS: tuple[Topic, ...] = (
    *SOURCES,
    *(Topic(source.dead_letters, 3, 30 * DAY_MS, source.keyed_by) for source in SOURCES),
)


class TopicsDiffer(Exception):
    """The cluster's topics are not as declared, and changing them would move keys between partitions."""


@dataclass(frozen=True)
class TopicReport:
    """What `apply` found or did for one topic: `created`, `there`, or `missing` on a dry run."""

    topic: Topic
    state: str


def new_topic(topic: Topic, *, replication_factor: int, min_insync_replicas: int) -> NewTopic:
    """Return the request that creates `topic`."""
    return NewTopic(
        name=topic.name,
        num_partitions=topic.partitions,
        replication_factor=replication_factor,
        topic_configs={
            "retention.ms": str(topic.retention_ms),
            "min.insync.replicas": str(min_insync_replicas),
            "max.message.bytes": str(MAX_RECORD_BYTES),
            "cleanup.policy": "delete",
        },
    )


def differences(existing: Mapping[str, int], declared: Sequence[Topic] = TOPICS) -> list[str]:
    """Return a line for each declared topic that exists with another number of partitions."""
    return [
        f"{topic.name} has {existing[topic.name]} partitions, declared are {topic.partitions}"
        for topic in declared
        if topic.name in existing and existing[topic.name] != topic.partitions
    ]


async def partition_counts(admin: AIOKafkaAdminClient, timeout: float = 10.0) -> dict[str, int]:
    """Return each declared topic that exists in the cluster, with its number of partitions."""
    described: list[dict[str, Any]] = await asyncio.wait_for(admin.describe_topics(), timeout)
    declared = {topic.name for topic in TOPICS}
    return {row["topic"]: len(row["partitions"]) for row in described if row["topic"] in declared}


async def apply(
    connection: Mapping[str, Any],
    *,
    replication_factor: int = 1,
    min_insync_replicas: int = 1,
    dry_run: bool = False,
    timeout: float = 30.0,
) -> list[TopicReport]:
    """Create what is missing and return what was found.

    `connection` are aiokafka's connection arguments. Raises TopicsDiffer when a topic exists with another number of
    partitions, and KafkaError when the cluster cannot be reached or refuses.
    """
    admin = AIOKafkaAdminClient(**connection)
    await asyncio.wait_for(admin.start(), timeout)
    try:
        existing = await partition_counts(admin, timeout)
        if lines := differences(existing):
            raise TopicsDiffer("; ".join(lines) + " (a key would move to another partition; create a new version)")
        missing = [topic for topic in TOPICS if topic.name not in existing]
        if missing and not dry_run:
            response = await asyncio.wait_for(
                admin.create_topics(
                    [
                        new_topic(t, replication_factor=replication_factor, min_insync_replicas=min_insync_replicas)
                        for t in missing
                    ]
                ),
                timeout,
            )
            _raise_for(response)
        return [TopicReport(t, "there" if t.name in existing else "missing" if dry_run else "created") for t in TOPICS]
    finally:
        await admin.close()


def _raise_for(response: Any) -> None:
    for name, code, *rest in response.topic_errors:
        error: type[KafkaError] = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise error(f"{name}: {rest[0] if rest and rest[0] else 'could not be created'}")
