"""Brings a cluster's topics to what `topics` declares: creates what is missing, refuses what differs."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from common.kafka.topics import MAX_RECORD_BYTES, TOPICS, Topic, TopicReport, TopicsDiffer, differences


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
