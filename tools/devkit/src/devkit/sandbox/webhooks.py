"""Tell Jawab's webhook what happened: echoes, reads and own comments, signed, retried and never in a caller's way.

The platform delivers again what is not answered with 200, batches when it has much to tell, and gives no order. So
does this: what is due at the same moment leaves in one body, the same body is tried again further and further apart,
and then it is given up. The journal has each update once, when it was acknowledged or given up.
"""

import asyncio
import heapq
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from itertools import count

import httpx2
import structlog

from devkit.sandbox.journal import Journal
from devkit.signing import serialise, signed_headers
from devkit.updates import Update, body_of

log = structlog.get_logger(__name__)

QUEUE_LIMIT = 50_000
BATCH_LIMIT = 50
POSTERS = 4
READ_LAG_SECONDS = 0.06
TICK_SECONDS = 0.02
TIMEOUT_SECONDS = 10.0
EARLY_TIMEOUT_SECONDS = 2.0
"""How long an echo that comes before a send's own answer may hold that answer up."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.25, 5.0
PATIENCE_SECONDS = 60.0
MAX_NAP_SECONDS = 0.02
OK = 200


def retry_waits(patience: float) -> tuple[float, ...]:
    """Return the pauses between attempts: doubling up to five seconds, `patience` seconds together."""
    waits: list[float] = []
    left, wait = patience, FIRST_RETRY_SECONDS
    while left > 0:
        waits.append(min(wait, left))
        left -= wait
        wait = min(wait * 2, LONGEST_RETRY_SECONDS)
    return tuple(waits)


@dataclass(slots=True)
class EchoSettings:
    """What is posted and when; changed while running through the control API. Shares are between 0 and 1."""

    echoes: bool = True
    reads: bool = True
    delay_seconds: float = 0.05
    delay_max_seconds: float = 0.0
    before_answer: float = 0.0
    duplicates: float = 0.0
    losses: float = 0.0


@dataclass(slots=True)
class Posted:
    """Counts of updates: posted, given up after the last attempt, refused by a full queue, lost on purpose.

    `attempts` counts bodies.
    """

    posted: int = 0
    failed: int = 0
    refused: int = 0
    lost: int = 0
    attempts: int = 0


@dataclass(slots=True)
class _Post:
    """Updates that leave in one body, which stays the same over its attempts."""

    updates: list[Update]
    since: list[float]
    """When there was each of them to tell, in the journal's time."""
    attempts: int = 0
    raw: bytes = b""


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
        seed: str = "",
        retry_seconds: tuple[float, ...] = retry_waits(PATIENCE_SECONDS),
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self.url = url
        self.settings = settings
        self.counts = Posted()
        self._secret = secret
        self._client = client
        self._journal = journal
        self._wants = wants
        self._random = random.Random(seed or None)  # noqa: S311 - a repeatable experiment, not a secret
        self._retry_seconds = retry_seconds
        self._queue_limit = queue_limit
        self._queue: list[tuple[float, int, _Post]] = []
        self._sequence = count()
        self._offered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = 0

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
        """How many updates are neither acknowledged nor given up."""
        return self._waiting

    async def tell(self, updates: tuple[Update, ...]) -> None:
        """Have updates posted: later, or for the set share of calls at once, before this returns."""
        if updates and self._hits(self.settings.before_answer):
            await self.post_now(updates)
        else:
            self.offer(updates)

    def offer(self, updates: tuple[Update, ...]) -> None:
        """Queue updates for posting after the set delay; a full queue refuses them and counts it."""
        for update in self._chosen(updates):
            lag = READ_LAG_SECONDS if update.kind == "read" else 0.0
            self._push(self._due() + lag, _Post([update], [self._journal.now()]))

    async def post_now(self, updates: tuple[Update, ...]) -> None:
        """Post updates at once, in a caller's time: one short attempt; what it does not achieve is queued."""
        chosen = self._chosen(updates)
        if chosen:
            await self._post(_Post(chosen, [self._journal.now()] * len(chosen)), EARLY_TIMEOUT_SECONDS)

    async def forward(
        self, raw: bytes, headers: Mapping[str, str] | None = None, *, timeout: float = TIMEOUT_SECONDS
    ) -> int:
        """Post these bytes once, signed unless `headers` say otherwise, and return the HTTP status.

        Raises `httpx2.TransportError` when nobody answers in time.
        """
        sent = signed_headers(raw, self._secret) if headers is None else dict(headers)
        response = await self._client.post(self.url, content=raw, headers=sent, timeout=timeout)
        return response.status_code

    def _hits(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def _chosen(self, updates: tuple[Update, ...]) -> list[Update]:
        """Return what of it is to be posted, and count it as waiting from now on."""
        if not self.url:
            return []
        settings = self.settings
        chosen: list[Update] = []
        for update in updates:
            if not (settings.reads if update.kind == "read" else settings.echoes) or not self._wants(update):
                continue
            if update.kind != "read" and self._hits(settings.losses):
                self.counts.lost += 1
                continue
            twice = update.kind != "read" and self._hits(settings.duplicates)
            chosen += [update, update] if twice else [update]
        room = max(0, self._queue_limit - self._waiting)
        self.counts.refused += max(0, len(chosen) - room)
        self._waiting += len(chosen[:room])
        return chosen[:room]

    def _due(self) -> float:
        settings = self.settings
        delay = settings.delay_seconds
        if settings.delay_max_seconds > delay:
            delay = self._random.uniform(delay, settings.delay_max_seconds)
        due = asyncio.get_running_loop().time() + delay
        # Rounded, so that one body carries what falls in one tick.
        return math.ceil(due / TICK_SECONDS) * TICK_SECONDS if delay else due

    def _push(self, due: float, post: _Post) -> None:
        heapq.heappush(self._queue, (due, next(self._sequence), post))
        self._offered.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._offered.wait()
            post = self._take(loop.time())
            if not self._queue:
                self._offered.clear()
            if post is not None:
                await self._post(post, TIMEOUT_SECONDS)
            elif self._queue:
                await asyncio.sleep(min(MAX_NAP_SECONDS, max(0.0, self._queue[0][0] - loop.time())))

    def _take(self, now: float) -> _Post | None:
        """Take what is due: a body that is tried again, or one made of what is new."""
        taken: _Post | None = None
        while self._queue and self._queue[0][0] <= now:
            post = self._queue[0][2]
            if taken is None:
                taken = post
            elif post.attempts or len(taken.updates) >= BATCH_LIMIT:
                break
            else:
                taken.updates += post.updates
                taken.since += post.since
            heapq.heappop(self._queue)
            if taken.attempts:
                break
        return taken

    async def _post(self, post: _Post, timeout: float) -> None:
        post.raw = post.raw or serialise(body_of(*post.updates), escape_slashes=True)
        post.attempts += 1
        self.counts.attempts += 1
        try:
            outcome = str(await self.forward(post.raw, timeout=timeout))
        except httpx2.TransportError as error:
            outcome = type(error).__name__
        acknowledged = outcome == str(OK)
        if not acknowledged and post.attempts <= len(self._retry_seconds):
            self._push(asyncio.get_running_loop().time() + self._retry_seconds[post.attempts - 1], post)
            return
        if acknowledged:
            self.counts.posted += len(post.updates)
        else:
            log.warning("webhook.given_up", updates=len(post.updates), outcome=outcome)
            self.counts.failed += len(post.updates)
        self._waiting -= len(post.updates)
        self._write(post, outcome, acknowledged=acknowledged)

    def _write(self, post: _Post, outcome: str, *, acknowledged: bool) -> None:
        for update, since in zip(post.updates, post.since, strict=True):
            entry = self._journal.write(
                api="webhook",
                kind=update.kind,
                method="POST",
                path="",
                account=update.account,
                contact=update.contact,
                outcome=outcome,
                effect=acknowledged,
                message_id=update.id,
                detail={"attempts": post.attempts},
                received=since,
            )
            if acknowledged:
                self._journal.note_answered(entry)

    def told(self) -> dict[str, int]:
        """Return the counts as JSON would have them."""
        return {"waiting": self.waiting, **asdict(self.counts)}
