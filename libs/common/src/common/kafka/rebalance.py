"""What happens when the group's coordinator takes partitions away and gives some back."""

from collections.abc import Awaitable, Callable

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition

log = structlog.get_logger("kafka")


class Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    """Calls `revoke` before partitions go, and `assigned` when they have come."""

    def __init__(self, revoke: Callable[[], Awaitable[None]], assigned: Callable[[], None]) -> None:
        self._revoke = revoke
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        """Give partitions back; the first assignment is preceded by a revocation of none."""
        if revoked:
            await self._revoke()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        """Begin an epoch."""
        self._assigned()
        log.info("partitions.assigned", count=len(assigned))
