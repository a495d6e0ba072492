"""What every request goes through, whatever it brings: bounded reading, counting, refusing, publishing.

A request that is refused raises `Refused`; every one of them leaves through `attended`, which counts how it ended.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import structlog
from litestar import Request
from litestar.exceptions import HTTPException

from common.clock import Clock
from common.events import Event
from common.failpoints import failpoint
from ingest.body import MAX_BODY_BYTES, BadBody, json_object
from ingest.metrics import IngestMetrics
from ingest.publishing import NotPublished, Publisher
from ingest.settings import Settings
from ingest.stages import Stage
from ingest.throttle import RETRY_AFTER_SECONDS, FailureLimit, source_of

log = structlog.get_logger("ingest")

Outcome = Literal[
    "accepted",
    "bad_signature",
    "throttled",
    "bad_body",
    "too_large",
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
        self._limit = FailureLimit(settings.failures_per_minute)
        self.published = 0
        self._publishing = 0
        self._buffered = 0
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

        Raises Refused: 413 when it is larger, 408 when it comes too slowly, 503 when too much is being read at once.
        """
        announced = request.headers.get("content-length", "")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(limit)
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._settings.body_deadline):
                async for chunk in request.stream():
                    size += len(chunk)
                    self._buffer(len(chunk))
                    if size > limit:
                        raise _too_large(limit)
                    if self._buffered > self._settings.max_buffered:
                        raise Refused(503, "busy", "too many bodies are being read at once", retry_after=1)
                    chunks.append(chunk)
        except TimeoutError:
            raise Refused(408, "too_slow", f"the body took over {self._settings.body_deadline:g} s") from None
        except HTTPException as error:
            if isinstance(error, Refused):
                raise
            raise _too_large(limit) if error.status_code == 413 else _cut_off() from None  # noqa: PLR2004
        finally:
            self._buffer(-size)
        return b"".join(chunks)

    def _buffer(self, change: int) -> None:
        self._buffered += change
        self.metrics.buffered.set(self._buffered)

    def json(self, raw: bytes) -> dict[str, Any]:
        """Return the JSON object in a body. Raises Refused (400) with what is wrong."""
        try:
            return json_object(raw)
        except BadBody as error:
            self.metrics.bad_bodies.labels(error.reason).inc()
            raise Refused(400, "bad_body", error.detail) from None

    async def unproven(
        self, request: AnyRequest, route: str, reason: str, detail: str, *, status: int = 401
    ) -> Refused:
        """Count a failed proof of identity; return what to raise: `status`, or 429 beyond the address's share."""
        self.metrics.signature_failures.labels(route, reason).inc()
        peer = request.client.host if request.client else None
        source = source_of(peer, request.headers.getall("x-forwarded-for", []), self._settings.trusted_proxies)
        if await self._limit.exceeded(source):
            detail = "too many refused requests from this address"
            return Refused(429, "throttled", detail, retry_after=RETRY_AFTER_SECONDS)
        log.warning("request.unproven", route=route, reason=reason)
        return Refused(status, "bad_signature", detail)

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when Kafka has all `events`. Raises Refused (503) when it has not, or too many wait for that already.

        Only what proved its identity comes this far, so nobody else can use up the places.
        """
        if self._publishing >= self._settings.max_in_flight:
            raise Refused(503, "busy", "too many webhooks are being handled at once", retry_after=1)
        self._publishing += 1
        try:
            await self._publisher.publish(events)
            failpoint("ingest.after_append_before_answer")
        except NotPublished as error:
            log.error("events.not_published", reason=str(error), events=len(events))
            raise Refused(503, "kafka_away", "the events could not be stored; send them again", retry_after=5) from None
        finally:
            self._publishing -= 1
            self.published += 1
        for event in events:
            self.metrics.events.labels(event.type).inc()

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


def _cut_off() -> Refused:
    return Refused(400, "cut_off", "the request ended before its body did")
