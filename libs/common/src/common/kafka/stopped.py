"""What is stopped because too many of its records die (`dead_letter_limit`): partitions, and accounts in a partition.

A stopped partition is read no more until a restart; a stopped account's lanes wait, and the others go on.
"""

import time
from collections.abc import Iterator

import structlog
from aiokafka import TopicPartition

from common.kafka.dead_letter_limit import DeadLetterLimit, Decision
from common.kafka.keys import account_of
from common.kafka.metrics import KafkaMetrics

log = structlog.get_logger("kafka")


class StoppedPartitions:
    """Counts the deaths in each assigned partition, and knows the partitions and accounts that are stopped.

    `percent` is the share of a partition's records that may die.
    """

    def __init__(self, metrics: KafkaMetrics, percent: float) -> None:
        self._metrics = metrics
        self._percent = percent
        self._limits: dict[TopicPartition, DeadLetterLimit] = {}
        self._stopped: set[TopicPartition] = set()
        self._accounts: set[tuple[TopicPartition, bytes]] = set()

    def __len__(self) -> int:
        """Return how many partitions are stopped."""
        return len(self._stopped)

    def __iter__(self) -> Iterator[TopicPartition]:
        """Iterate over the stopped partitions."""
        return iter(self._stopped)

    @property
    def accounts(self) -> frozenset[bytes]:
        """The accounts whose lanes wait in at least one partition."""
        return frozenset(account for _, account in self._accounts)

    def begin(self, partition: TopicPartition) -> None:
        """Begin to count in a partition that was assigned."""
        self._limits[partition] = DeadLetterLimit(self._percent)

    def handled(self, partition: TopicPartition, key: bytes | None) -> None:
        """Count a record that was handled, by its key."""
        self._limits[partition].handled(account_of(key), time.monotonic())

    def decide(self, partition: TopicPartition, key: bytes | None) -> Decision:
        """Return what becomes of a record that cannot be handled, and count it where it is a dead letter now.

        In a partition that nobody assigned to us, or that is stopped, nothing more dies.
        """
        limit, account, now = self._limits.get(partition), account_of(key), time.monotonic()
        if limit is None or partition in self._stopped:
            return Decision.STOP
        decision = limit.decide(account, now)
        match decision:
            case Decision.PUBLISH:
                limit.died(account, now)
                self._accounts.discard((partition, account))
            case Decision.WAIT:
                if (partition, account) not in self._accounts:
                    self._accounts.add((partition, account))
                    where = {"topic": partition.topic, "partition": partition.partition}
                    log.error("account.stopped", account=account.decode(errors="replace"), **where)
            case Decision.STOP:
                self._stopped.add(partition)
                log.error("partition.stopped", topic=partition.topic, partition=partition.partition)
        self._measure()
        return decision

    def forget(self) -> None:
        """Begin with nothing: the assignment ended."""
        self._limits.clear()
        self._stopped.clear()
        self._accounts.clear()
        self._measure()

    def _measure(self) -> None:
        self._metrics.stopped.set(len(self._stopped))
        self._metrics.stopped_accounts.set(len(self.accounts))
