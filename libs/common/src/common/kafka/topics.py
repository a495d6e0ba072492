"""Every topic, declared once: partitions, retention, and who owns what. `jawab topics apply` creates them.

Topics keyed by conversation have the same number of partitions and the same partitioner, so that range assignment
gives one replica the same partitions of all of them: everything about one conversation is with one process.
Kafka can add partitions but a key then moves; that is why applying them (`topic_admin`) refuses to change one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.privacy import PRIVACY
from common.events.replies import REPLIES, REQUESTED

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
    Topic(REQUESTED, CONVERSATION_PARTITIONS, 14 * DAY_MS, "conversation"),
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


def differences(existing: Mapping[str, int], declared: Sequence[Topic] = TOPICS) -> list[str]:
    """Return a line for each declared topic that exists with another number of partitions."""
    return [
        f"{topic.name} has {existing[topic.name]} partitions, declared are {topic.partitions}"
        for topic in declared
        if topic.name in existing and existing[topic.name] != topic.partitions
    ]
