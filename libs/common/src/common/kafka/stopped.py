"""The partitions that were stopped because too large a share of their records died (`dead_letter_limit`).

Nothing more of them is read or buried until a restart; the others go on.
"""

import time
from collections.abc import Iterator

import structlog
from aiokafka import TopicPartition

from common.kafka.dead_letter_limit import DeadLetterLimit
from common.kafka.keys import account_of
from common.kafka.metrics import KafkaMetrics

log = structlog.get_logger("kafka")


class StoppedPartitions:
    """Counts the deaths in each assigned partition, and knows those that have had one too many.

    `percent` is the share of a partition's records that may die.
    """

    def __init__(self, metrics: KafkaMetrics, percent: float) -> None:
        self._metrics = metrics
        self._percent = percent
        self._limits: dict[TopicPartition, DeadLetterLimit] = {}
        self._stopped: set[TopicPartition] = set()

    def __len__(self) -> int:
        """Return how many partitions are stopped."""
        return len(self._stopped)

    def __iter__(self) -> Iterator[TopicPartition]:
        """Iterate over the stopped partitions."""
        return iter(self._stopped)

    def begin(self, partition: TopicPartition) -> None:
        """Begin to count in a partition that was assigned."""
        self._limits[partition] = DeadLetterLimit(self._percent)

    def handled(self, partition: TopicPartition, key: bytes | None) -> None:
        """Count a record that was handled, by its key."""
        self._limits[partition].handled(account_of(key), time.monotonic())

    def may_die(self, partition: TopicPartition, key: bytes | None) -> bool:
        """Count a death; False, and the partition stopped, when it is one too many."""
        limit, account, now = self._limits.get(partition), account_of(key), time.monotonic()
        if limit is None or partition in self._stopped:
            return False
        if not limit.would_exceed(account, now):
            limit.died(account, now)
            return True
        self._stopped.add(partition)
        self._metrics.stopped.set(len(self._stopped))
        log.error("partition.stopped", topic=partition.topic, partition=partition.partition)
        return False

    def forget(self) -> None:
        """Begin with nothing: the assignment ended."""
        self._limits.clear()
        self._stopped.clear()
        self._metrics.stopped.set(0)
