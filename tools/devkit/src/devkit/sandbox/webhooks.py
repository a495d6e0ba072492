"""Tell Jawab's webhook what happened: echoes, reads and own comments, signed, retried and never in a caller's way.

The platform delivers again what is not answered with 200, batches when it has much to tell, and gives no order. So
does this: what is due at the same moment leaves in one body, a few attempts are made, and then it is given up.
"""

import asyncio
import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import httpx2
import structlog

from devkit.sandbox.journal import Journal
from devkit.signing import serialise, signed_headers
from devkit.simulator import Update, body_of

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 50_000
BATCH_LIMIT = 50
POSTERS = 4
READ_LAG_SECONDS = 0.06
TICK_SECONDS = 0.02
TIMEOUT_SECONDS = 10.0
RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 4.0)
MAX_NAP_SECONDS = 0.02
OK = 200


@dataclass(slots=True)
class EchoSettings:
    """What is posted and when; changed while running through the control API."""

    echoes: bool = True
    reads: bool = True
    delay_seconds: float = 0.05
    before_answer: bool = False


@dataclass(slots=True)
class Posted:
    """Counts of updates: waiting now, posted, given up after the last attempt, refused by a full queue."""

    posted: int = 0
    failed: int = 0
    refused: int = 0
    attempts: int = 0


class WebhookPoster:
    """A bounded queue of updates and the few tasks that post them."""

    def __init__(
        self,
        *,
        url: str,
        secret: str,
        client: httpx2.AsyncClient,
        journal: Journal,
        settings: EchoSettings,
        wants: Callable[[Update], bool],
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self.url = url
        self.settings = settings
        self.counts = Posted()
        self._secret = secret
        self._client = client
        self._journal = journal
        self._wants = wants
        self._retry_seconds = retry_seconds
        self._queue_limit = queue_limit
        self._queue: list[tuple[float, int, Update]] = []
        self._sequence = count()
        self._offered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._busy = 0

    def start(self) -> None:
        """Start the posting tasks; call inside a running loop."""
        self._tasks = [asyncio.create_task(self._run(), name=f"webhook-poster-{n}") for n in range(POSTERS)]

    async def stop(self) -> None:
        """Stop at once; what still waits is not posted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    @property
    def waiting(self) -> int:
        """How many updates are not yet posted."""
        return len(self._queue) + self._busy

    def offer(self, updates: tuple[Update, ...]) -> None:
        """Queue updates for posting after the set delay; a full queue refuses them and counts it."""
        if not self.url:
            return
        due = asyncio.get_running_loop().time() + self.settings.delay_seconds
        if self.settings.delay_seconds:
            due = math.ceil(due / TICK_SECONDS) * TICK_SECONDS  # so that one body carries what falls in one tick
        for update in self._chosen(updates):
            if len(self._queue) >= self._queue_limit:
                self.counts.refused += 1
                continue
            lag = READ_LAG_SECONDS if update.kind == "read" else 0.0
            heapq.heappush(self._queue, (due + lag, next(self._sequence), update))
            self._offered.set()

    async def post_now(self, updates: tuple[Update, ...]) -> None:
        """Post updates at once and wait for it, attempts included."""
        chosen = self._chosen(updates)
        if self.url and chosen:
            await self._post(chosen)

    async def forward(self, raw: bytes, headers: Mapping[str, str] | None = None) -> int:
        """Post these bytes once, signed unless `headers` say otherwise, and return the HTTP status.

        Raises `httpx2.TransportError` when nobody answers in time.
        """
        sent = signed_headers(raw, self._secret) if headers is None else dict(headers)
        response = await self._client.post(self.url, content=raw, headers=sent, timeout=TIMEOUT_SECONDS)
        return response.status_code

    def _chosen(self, updates: tuple[Update, ...]) -> list[Update]:
        settings = self.settings
        return [
            update
            for update in updates
            if (settings.reads if update.kind == "read" else settings.echoes) and self._wants(update)
        ]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._offered.wait()
            batch: list[Update] = []
            while self._queue and self._queue[0][0] <= loop.time() and len(batch) < BATCH_LIMIT:
                batch.append(heapq.heappop(self._queue)[2])
            if not self._queue:
                self._offered.clear()
            if batch:
                self._busy += len(batch)
                try:
                    await self._post(batch)
                finally:
                    self._busy -= len(batch)
            elif self._queue:
                await asyncio.sleep(min(MAX_NAP_SECONDS, max(0.0, self._queue[0][0] - loop.time())))

    async def _post(self, batch: list[Update]) -> None:
        raw = serialise(body_of(*batch), escape_slashes=True)
        outcome = ""
        for wait in (*self._retry_seconds, None):
            self.counts.attempts += 1
            try:
                status = await self.forward(raw)
            except httpx2.TransportError as error:
                outcome = type(error).__name__
            else:
                outcome = str(status)
                if status == OK:
                    break
            if wait is None:
                log.warning("webhook.given_up", updates=len(batch), outcome=outcome)
                self.counts.failed += len(batch)
                self._write(batch, outcome, effect=False)
                return
            await asyncio.sleep(wait)
        self.counts.posted += len(batch)
        self._write(batch, outcome, effect=True)

    def _write(self, batch: list[Update], outcome: str, *, effect: bool) -> None:
        for update in batch:
            self._journal.write(
                api="webhook",
                kind=update.kind,
                method="POST",
                path="",
                account=update.account,
                contact=update.contact,
                outcome=outcome,
                effect=effect,
                message_id=update.id,
            )

    def told(self) -> dict[str, Any]:
        """Return the counts as JSON would have them."""
        counts = self.counts
        return {
            "waiting": self.waiting,
            "posted": counts.posted,
            "failed": counts.failed,
            "refused": counts.refused,
            "attempts": counts.attempts,
        }
