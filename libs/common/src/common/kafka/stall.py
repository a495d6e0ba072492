"""Notices that the client stands still although Kafka is there, and sets it going again.

aiokafka 0.14 refreshes its metadata in one task. When that task ends or hangs (seen once in some dozens of restarts of
a broker), whatever waits for a refresh waits for ever: the coordinator is never found again, no heartbeat is sent, and
the replica owns nothing while it goes on fetching. A lease that stays away for longer than a rebalance or a restart of
Kafka takes is how that shows. The task is replaced then; where Kafka is really away that changes nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from common.clock import monotonic

log = structlog.get_logger("kafka")

PATIENCE_SECONDS = 15.0
LOOK_SECONDS = 0.5
LOOKS_APART = 5.0
"""Seconds between two looks beyond which the process itself was stopped: nothing is known about Kafka then."""


class Stall:
    """Watches one started consumer. `look` is called every LOOK_SECONDS."""

    def __init__(self, consumer: Any, now: Callable[[], float] = monotonic) -> None:
        self._client = consumer._client
        self._now = now
        self._since: float | None = None
        self._looked_at = now()

    def look(self, *, well: bool) -> bool:
        """Take in whether the lease is valid. True when the client was set going again, because it was not for long."""
        now = self._now()
        asleep, self._looked_at = now - self._looked_at > LOOKS_APART, now
        if well:
            self._since = None
            return False
        if self._since is None or asleep:
            self._since = now
        if now - self._since < PATIENCE_SECONDS:
            return False
        self._since = now
        self._set_going()
        return True

    def _set_going(self) -> None:
        client, stuck = self._client, self._client._sync_task
        if stuck is None:
            return  # it is being closed
        failure = stuck.exception() if stuck.done() and not stuck.cancelled() else None
        log.error(
            "kafka.client_set_going", ended=stuck.done(), error=type(failure).__name__ if failure is not None else None
        )
        stuck.cancel()
        waited_for, client._md_update_fut = client._md_update_fut, None
        if waited_for is not None and not waited_for.done():
            waited_for.set_result(False)
        client._md_update_waiter = asyncio.get_running_loop().create_future()
        client._sync_task = asyncio.create_task(client._md_synchronizer())
