"""The HTTP server of every service: uvicorn's own protocol, with bounds that uvicorn does not have.

uvicorn with httptools reads headers of any size for any time, keeps silent sockets for ever and queues any number of
pipelined requests; none of it needs a signature. Here each connection has a bound in bytes and in seconds for whatever
is no body, and all connections together a bound that those pay for who ask for nothing (`common.open_connections`).

A body's own bounds are the application's: how many bytes it may have is known only where it is read.
"""

import asyncio
import logging
import resource
from asyncio import TimerHandle
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

from litestar import Litestar
from prometheus_client import CollectorRegistry, Counter, Gauge
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from common.open_connections import OpenConnectionLimits, OpenConnections, source_of_address

# Not below uvicorn's own names: its configuration of logging would put the level back.
log = logging.getLogger("common.http_server")
log.setLevel(logging.ERROR)

Reason = Literal[
    "malformed", "header_bytes", "header_seconds", "request_seconds", "unread_body", "pipelined", "no_room"
]

SLICE_BYTES = 16 * 1024
"""What is parsed between two looks at the bounds: by so much they may be exceeded."""

RESERVED_FILES = 128
"""File descriptors kept for Kafka, MongoDB, outgoing calls and files, beside those of connections."""

MAX_FILES = 65_536


@dataclass(frozen=True)
class ConnectionLimits:
    """What one connection may cost. Seconds and bytes."""

    header_bytes: int = 32 * 1024
    """Of a request's line, headers, chunk sizes and trailers; beside a body as many again as the body has."""
    header_seconds: float = 10.0
    """From the connection, or the request's first byte, until its headers are complete."""
    request_seconds: float = 60.0
    """From complete headers until body and answer are complete; the application's own deadlines are shorter."""
    unread_seconds: float = 5.0
    """For the rest of a body that was answered before it was read, so that its sender sees the answer."""
    unread_bytes: int = 1024 * 1024
    pipelined: int = 16
    """Requests that wait on one connection for the answer to an earlier one."""


DEFAULT_LIMITS = ConnectionLimits()


class HttpMetrics:
    """How many connections are open, and which were closed for a bound."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.open = Gauge("jawab_http_connections", "Open HTTP connections", registry=registry)
        # A rise means that somebody tries the bounds, or that a bound is too narrow for a proxy in front.
        self.closed = Counter(
            "jawab_http_connections_closed", "Connections closed for a bound", ["reason"], registry=registry
        )


def protocol_of(
    app: Litestar, *, connections: OpenConnectionLimits, limits: ConnectionLimits = DEFAULT_LIMITS
) -> type["BoundedProtocol"]:
    """Return the class to give uvicorn as `http` for an app that `create_service` made."""
    shared: OpenConnections[BoundedProtocol] = OpenConnections(connections)

    class Bounded(BoundedProtocol):
        open_connections = shared
        own_limits = limits
        metrics = cast("HttpMetrics", app.state.http_metrics)

    return Bounded


def raise_file_limit() -> int:
    """Raise this process's soft limit on open files towards its hard one; return how many connections it leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):  # a system may allow less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = MAX_FILES if soft == resource.RLIM_INFINITY else soft
    return max(files - RESERVED_FILES, files // 2)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Its clock is the event loop's."""

    open_connections: ClassVar[OpenConnections["BoundedProtocol"]]
    own_limits: ClassVar[ConnectionLimits]
    metrics: ClassVar[HttpMetrics]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = log  # anybody can send what is no HTTP: it is counted, a line for each would fill the log
        self._timer: TimerHandle | None = None
        self._received = 0
        self._body = 0
        self._unread = 0
        self._asked = False  # whether there was ever a whole request, so that there is a `cycle`
        self._in_body = False
        self._in_headers = False

    # What the event loop calls.

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Begin to wait for a request, and let another connection make room where there is none."""
        super().connection_made(transport)
        self._expect("header_seconds", self.own_limits.header_seconds)
        evicted = self.open_connections.add(self, source_of_address(self.client[0] if self.client else None))
        self.metrics.open.set(len(self.open_connections))
        if evicted is not None:
            evicted.refuse("no_room", 503, "too many connections")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._expect(None)
        self.open_connections.remove(self)
        self.metrics.open.set(len(self.open_connections))
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, a slice at a time, as long as the bounds are kept."""
        if self._timer is None:
            self._expect("header_seconds", self.own_limits.header_seconds)
        for start in range(0, len(data), SLICE_BYTES):
            if self.transport.is_closing():
                return
            piece = data[start : start + SLICE_BYTES]
            self._received += len(piece)
            super().data_received(piece)
            if self._received - self._body > self.own_limits.header_bytes + self._body:
                self.refuse("header_bytes", 431, f"headers may have {self.own_limits.header_bytes} bytes")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, and count it."""
        self.metrics.closed.labels("malformed").inc()
        super().send_400_response(msg)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Count a request from here."""
        self._received = self._body = self._unread = 0
        self._in_headers = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin the time for body and answer."""
        self._asked, self._in_headers, self._in_body = True, False, True
        self.open_connections.mark_busy(self)
        self._expect("request_seconds", self.own_limits.request_seconds)
        super().on_headers_complete()
        if len(self.pipeline) > self.own_limits.pipelined:
            self.refuse("pipelined", 503, "too many requests at once on one connection")

    def on_body(self, body: bytes) -> None:
        """Count the body; what comes after the answer is thrown away, up to a bound."""
        self._body += len(body)
        if self.cycle.response_complete:
            self._unread += len(body)
            if self._unread > self.own_limits.unread_bytes:
                self.refuse("unread_body", 413, "the rest of the body is not read")
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's time where the answer is complete, too."""
        self._in_body = False
        super().on_message_complete()
        if self.cycle.response_complete:
            self._await_next()

    def on_response_complete(self) -> None:
        """End the request's time; an answer before the end of the body gives its sender some seconds to see it."""
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._expect("unread_body", self.own_limits.unread_seconds)
        elif self.cycle.response_complete:
            self._await_next()

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if nobody had asked for another protocol, then close: the parser reads no further request."""
        self.cycle.keep_alive = False

    # Time and room.

    def refuse(self, reason: Reason, status: int, detail: str) -> None:
        """Close the connection for a bound, with an answer where none has begun."""
        if self.transport.is_closing():
            return
        self.metrics.closed.labels(reason).inc()
        self._expect(None)
        if not self._asked or (self.cycle.response_complete and self._in_headers):
            self.transport.write(_whole_answer(status, detail))
            self.transport.close()
        elif self.cycle.response_complete and not self._in_body:
            self.transport.close()  # nothing was asked: an answer would be taken for that to the next request
        else:
            # An answer is under way, perhaps to a client that does not read it: what is unsent would keep it open.
            self.transport.abort()

    def _await_next(self) -> None:
        self.open_connections.mark_idle(self)
        if self._in_headers or self.timeout_keep_alive_task is None:
            self._expect("header_seconds", self.own_limits.header_seconds)
        else:
            self._expect(None)  # uvicorn's own time for keep-alive has begun

    def _expect(self, reason: Reason | None, seconds: float = 0.0) -> None:
        """Replace what is waited for, and how long."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, self._expired, reason) if reason is not None else None

    def _expired(self, reason: Reason) -> None:
        self.refuse(reason, 408, "the request took too long")


def _whole_answer(status: int, detail: str) -> bytes:
    """Return an answer in the shape that every service answers errors with, and the connection's end."""
    body = b'{"status_code":%d,"detail":"%b"}' % (status, detail.encode("ascii"))
    head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
    return b"".join([STATUS_LINE[status], head, body])
