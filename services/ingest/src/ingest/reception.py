"""What every request goes through, whatever it brings: bounded reading, counting, refusing, publishing.

A request that is refused raises `Refused`; every one of them leaves through `attended`, which counts how it ended.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import structlog
from litestar import Request
from litestar.exceptions import HTTPException

from common.clock import Clock
from common.events import Event
from common.failpoints import failpoint
from common.request_rate import RETRY_AFTER_SECONDS, RequestRate
from common.service import unread_encoding
from ingest.body import MAX_BODY_BYTES, BadBody, json_object
from ingest.metrics import IngestMetrics
from ingest.publishing import NotPublished, Publisher
from ingest.publishing_room import NoRoom, PublishingRoom
from ingest.settings import Settings
from ingest.stages import Stage
from ingest.throttle import source_of
from ingest.uploads import Upload, Uploads

log = structlog.get_logger("ingest")

Outcome = Literal[
    "accepted",
    "bad_signature",
    "throttled",
    "bad_body",
    "too_large",
    "encoded",
    "too_slow",
    "cut_off",
    "kafka_away",
    "busy",
    "bad_request",
    "off",
    "failed",
]

Platform = Literal["instagram", "manychat"]

AnyRequest = Request[Any, Any, Any]

COME_AGAIN: tuple[Outcome, ...] = ("kafka_away", "busy", "failed")
"""The outcomes that are ours to mend: the sender will try again."""


class Refused(HTTPException):
    """A request that is answered with an error: how it is counted, and one line for the sender."""

    def __init__(self, status: int, outcome: Outcome, detail: str, *, retry_after: int | None = None) -> None:
        headers = {"Retry-After": str(retry_after)} if retry_after is not None else None
        super().__init__(detail=detail, status_code=status, headers=headers)
        self.outcome: Outcome = outcome


class Reception:
    """Takes requests in and hands events on."""

    def __init__(self, settings: Settings, publisher: Publisher, metrics: IngestMetrics, clock: Clock) -> None:
        self.clock = clock
        self.metrics = metrics
        self._settings = settings
        self._publisher = publisher
        self._failures = RequestRate(settings.failures_per_minute)
        self._manychat = RequestRate(settings.manychat_per_minute)
        self._uploads = Uploads(settings.max_buffered)
        self._room = PublishingRoom(
            max_requests=settings.max_in_flight,
            max_bytes=settings.max_publishing,
            max_wait=settings.ack_deadline,
        )
        self.published = 0
        self._arrivals: dict[int, float] = {}
        self._arrived = 0
        self._completed = 0
        self._failed = 0

    @contextmanager
    def attended(self, platform: Platform, route: str) -> Iterator[None]:
        """Count and time one request; a `Refused` that passes through says how it ended."""
        self._arrived += 1
        ticket, began = self._arrived, time.monotonic()
        self._arrivals[ticket] = began
        self.metrics.in_flight.inc()
        outcome: Outcome = "failed"
        try:
            yield
            outcome = "accepted"
        except Refused as error:
            outcome = error.outcome
            raise
        finally:
            del self._arrivals[ticket]
            self.metrics.in_flight.dec()
            self.metrics.seconds.labels(platform).observe(time.monotonic() - began)
            self.metrics.webhooks.labels(platform, route, outcome).inc()
            self._completed += outcome == "accepted"
            self._failed += outcome in COME_AGAIN

    async def body(self, request: AnyRequest, *, limit: int = MAX_BODY_BYTES) -> bytes:
        """Return the raw body, at most `limit` bytes, read inside the deadline, whatever Content-Length claims.

        Raises Refused: 413 when it is larger, 415 when it is compressed, 408 when it comes too slowly, 503 when it has
        to make room for others that are being read.
        """
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(limit)
        encoding = unread_encoding(request)
        if encoding is not None:
            raise Refused(415, "encoded", encoding)
        chunks: list[bytes] = []
        async with self._uploading(request, limit) as upload:
            async for chunk in request.stream():
                self._uploads.grow(upload, len(chunk))
                self.metrics.buffered.set(self._uploads.bytes)
                if upload.size > limit:
                    raise _too_large(limit)
                if upload.evicted:
                    raise _evicted()
                chunks.append(chunk)
        return b"".join(chunks)

    @asynccontextmanager
    async def _uploading(self, request: AnyRequest, limit: int) -> AsyncIterator[Upload]:
        """Count a body while it is read inside the deadline. Raises Refused for whatever ends that early."""
        upload: Upload | None = None
        try:
            async with asyncio.timeout(self._settings.body_deadline) as timer:
                upload = self._uploads.begin(self._source_of(request), lambda: _end_now(timer))
                yield upload
        except TimeoutError:
            if upload is not None and upload.evicted:
                raise _evicted() from None
            raise Refused(408, "too_slow", f"the body took over {self._settings.body_deadline:g} s") from None
        except HTTPException as error:
            if isinstance(error, Refused):
                raise
            raise _too_large(limit) if error.status_code == 413 else _cut_off() from None  # noqa: PLR2004
        finally:
            if upload is not None:
                self._uploads.end(upload)
            self.metrics.buffered.set(self._uploads.bytes)

    def json(self, raw: bytes) -> dict[str, Any]:
        """Return the JSON object in a body. Raises Refused (400) with what is wrong."""
        try:
            return json_object(raw)
        except BadBody as error:
            self.metrics.bad_bodies.labels(error.reason).inc()
            raise Refused(400, "bad_body", error.detail) from None

    def unproven(self, request: AnyRequest, route: str, reason: str, detail: str, *, status: int = 401) -> Refused:
        """Count a failed proof of identity; return what to raise: `status`, or 429 beyond the address's share."""
        self.metrics.signature_failures.labels(route, reason).inc()
        if self._failures.exceeded(self._source_of(request)):
            detail = "too many refused requests from this address"
            return Refused(429, "throttled", detail, retry_after=RETRY_AFTER_SECONDS)
        log.warning("request.unproven", route=route, reason=reason)
        return Refused(status, "bad_signature", detail)

    def limit_manychat(self, account: str) -> None:
        """Count an account's External Request. Raises Refused (429) beyond the account's minute."""
        if self._manychat.exceeded(account):
            detail = f"more than {self._settings.manychat_per_minute} requests of this account in a minute"
            raise Refused(429, "throttled", detail, retry_after=RETRY_AFTER_SECONDS)

    async def publish(self, events: Sequence[Event], *, size: int = 0) -> None:
        """Return when Kafka has all `events`, made of `size` bytes. Raises Refused (503) when it has not, or too many
        wait for that already.

        Only what proved its identity comes this far; an account has no more than its share of the room.
        """
        account = events[0].partitionkey.partition(":")[0] if events else ""
        try:
            async with self._room.taken(account, size):
                await self._publish(events)
        except NoRoom:
            raise Refused(503, "busy", "too many webhooks are being handled at once", retry_after=1) from None

    async def _publish(self, events: Sequence[Event]) -> None:
        try:
            await self._publisher.publish(events)
            failpoint("ingest.after_append_before_answer")
        except NotPublished as error:
            log.error("events.not_published", reason=str(error), events=len(events))
            raise Refused(503, "kafka_away", "the events could not be stored; send them again", retry_after=5) from None
        finally:
            self.published += 1
        for event in events:
            self.metrics.events.labels(event.type).inc()

    def _source_of(self, request: AnyRequest) -> str:
        peer = request.client.host if request.client else None
        return source_of(peer, request.headers.getall("x-forwarded-for", []), self._settings.trusted_proxies)

    def stage(self) -> Stage:
        """Return this process's part of the way of a message: the requests themselves."""
        oldest = min(self._arrivals.values(), default=None)
        return Stage(
            waiting=0,
            in_progress=len(self._arrivals),
            completed=self._completed,
            failed=self._failed,
            oldest_age_seconds=round(time.monotonic() - oldest, 3) if oldest is not None else 0.0,
        )


def _too_large(limit: int) -> Refused:
    return Refused(413, "too_large", f"the body is larger than {limit} bytes")


def _evicted() -> Refused:
    return Refused(503, "busy", "too many bodies are being read at once", retry_after=1)


def _end_now(timer: asyncio.Timeout) -> None:
    if not timer.expired():
        timer.reschedule(asyncio.get_running_loop().time())


def _cut_off() -> Refused:
    return Refused(400, "cut_off", "the request ended before its body did")
