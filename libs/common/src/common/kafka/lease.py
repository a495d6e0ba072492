"""How long this replica may believe that its partitions are its own.

A process that was frozen, or cut off from Kafka, does not know that the group gave its partitions away; it knows when
the coordinator last heard from it. A member whose heart does not beat is replaced a session timeout after its last
heartbeat arrived, so until that long after the last answered heartbeat was *sent* nobody else can own the partitions;
from then on nothing may be begun on their behalf (Kleppmann, "How to do distributed locking", 2016; Kafka's
`session.timeout.ms`). A member whose heart beats is replaced when it does not rejoin in time (`rebalance.timeout.ms`):
the subscriber asks for more of it than its drain can take. The clock counts the seconds in which the machine was
suspended, because the coordinator counts them, too. A static member (`group.instance.id`) is replaced at once by
another of its name: two replicas must never have the same.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from common.clock import monotonic


class Lease:
    """The right to act for a group's partitions, renewed by every heartbeat that the coordinator answers."""

    def __init__(self, session_timeout: float, now: Callable[[], float] = monotonic) -> None:
        self._session_timeout = session_timeout
        self._now = now
        self._renewed_at = float("-inf")

    @property
    def valid(self) -> bool:
        """Whether nobody else can own the partitions yet."""
        return self._now() - self._renewed_at < self._session_timeout

    def renew(self) -> None:
        """Note that the coordinator has just answered a join."""
        self._renewed_at = self._now()

    def renew_by(self, heartbeat: Callable[[], Awaitable[bool]]) -> Callable[[], Awaitable[bool]]:
        """Return `heartbeat`, which tells whether it was accepted, renewing the lease as of when it was sent."""

        async def renewing() -> bool:
            sent = self._now()
            accepted = await heartbeat()
            if accepted:
                self._renewed_at = max(self._renewed_at, sent)
            return accepted

        return renewing


def lease_of(consumer: Any, session_timeout: float) -> Lease:
    """Return a lease that is renewed by the heartbeats of a started aiokafka consumer.

    aiokafka tells nobody about its heartbeats, so its coordinator's own method is wrapped (pinned by a canary test).
    """
    lease = Lease(session_timeout)
    consumer._coordinator._do_heartbeat = lease.renew_by(consumer._coordinator._do_heartbeat)
    return lease
