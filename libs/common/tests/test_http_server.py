"""Senders of every bad manner, on real sockets: each loses its own connection, and a good one is answered meanwhile."""

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import requires, version
from typing import Any

import pytest
import uvicorn
from litestar import Request, post
from packaging.requirements import Requirement
from prometheus_client import CollectorRegistry
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from common.health import Health
from common.http_server import DEFAULT_LIMITS, BoundedProtocol, ConnectionLimits, protocol_of, raise_file_limit
from common.open_connections import OpenConnectionLimits
from common.service import create_service, run
from common.settings import ServiceSettings

KIB = 1024
MANY = OpenConnectionLimits(total=1000, per_source=0)
ANSWER = b"GET /livez HTTP/1.1\r\nhost: test\r\n\r\n"
SECONDS = 10
"""No wait of these tests ends later than this."""


class Peer:
    """One raw connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send, unless the server has closed already."""
        self.writer.write(data)
        await self.writer.drain()

    async def status(self) -> int:
        """Read the head and the body of one answer; return its status."""
        async with asyncio.timeout(SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            await self.reader.readexactly(length)
            return int(head.split()[1])

    async def rest(self) -> bytes:
        """Return all that comes until the server closes."""
        async with asyncio.timeout(SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        """Close."""
        self.writer.close()


class Server:
    """A service on a port of this machine."""

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self.port, self.registry = port, registry
        self.peers: list[Peer] = []

    async def peer(self) -> Peer:
        """Open a connection."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self.port))
        self.peers.append(peer)
        return peer

    def closed(self, reason: str) -> float:
        """Return how many connections were closed for that."""
        return self.registry.get_sample_value("jawab_http_connections_closed_total", {"reason": reason}) or 0.0

    async def answers(self) -> bool:
        """Tell whether a well-behaved client is answered."""
        peer = await self.peer()
        await peer.send(ANSWER)
        return await peer.status() == 200


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> dict[str, int]:
    """Read the whole body."""
    return {"bytes": len(await request.body())}


@post("/unread", status_code=200)
async def unread() -> dict[str, str]:
    """Read nothing."""
    return {}


@post("/slow", status_code=200)
async def slow() -> dict[str, str]:
    """Never end by itself."""
    await asyncio.Event().wait()
    return {}


@asynccontextmanager
async def serving(
    limits: ConnectionLimits = DEFAULT_LIMITS, connections: OpenConnectionLimits = MANY
) -> AsyncIterator[Server]:
    """Run a service as `common.service.run` does."""
    registry = CollectorRegistry()
    app = create_service(
        "test",
        routes=[echo, unread, slow],
        lifespan=[],
        health=Health("test", {}),
        registry=registry,
        max_body=64 * KIB * KIB,
    )
    protocol = protocol_of(app, connections=connections, limits=limits)
    config = uvicorn.Config(app, http=protocol, ws="none", log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    here = Server(listening.getsockname()[1], registry)
    try:
        async with asyncio.timeout(SECONDS):
            while not server.started:
                await asyncio.sleep(0.01)
        yield here
    finally:
        for peer in here.peers:
            peer.close()
        server.should_exit = True
        await task


async def endless(peer: Peer, piece: bytes, most: int) -> int:
    """Send a piece again and again until the server has enough; return how many bytes it took."""
    sent = 0
    try:
        while sent < most:
            await peer.send(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


ENDLESS = {
    "one header without an end": (b"GET /livez HTTP/1.1\r\nx: ", b"a" * KIB),
    "headers without an end": (b"GET /livez HTTP/1.1\r\n", b"x: a\r\n" * 200),
    "a path without an end": (b"GET /", b"a" * KIB),
    "a method without an end": (b"GET /livez?", b"a=b&" * 200),
    "nothing but line ends": (b"\r\n", b"\r\n" * 500),
    "a header's name without an end": (b"GET /livez HTTP/1.1\r\n", b"a" * KIB),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_what_never_ends_is_431_after_its_share_of_bytes_and_costs_no_more_memory(what):
    begin, piece = ENDLESS[what]
    async with serving() as server:
        peer = await server.peer()
        await peer.send(begin)
        took = asyncio.create_task(endless(peer, piece, 64 * KIB * KIB))
        answer = await peer.rest()
        assert answer.split()[:2] == [b"HTTP/1.1", b"431"] or answer == b""
        peer.close()
        assert await took < 8 * KIB * KIB  # what the kernel's buffers take beside the 32 KiB
        assert server.closed("header_bytes") == 1
        assert await server.answers()


@pytest.mark.parametrize("after", [b"0\r\nx: ", b"1;ext="])
async def test_trailers_and_chunk_extensions_without_an_end_are_bounded_like_headers(after):
    async with serving() as server:
        peer = await server.peer()
        await peer.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n" + after)
        took = asyncio.create_task(endless(peer, b"a" * KIB, 64 * KIB * KIB))
        await peer.rest()
        peer.close()
        assert await took < 8 * KIB * KIB
        assert server.closed("header_bytes") == 1
        assert await server.answers()


async def test_thirty_kibibytes_of_headers_are_read_and_the_next_request_has_as_many_again():
    async with serving() as server:
        peer = await server.peer()
        for _ in range(3):
            await peer.send(b"GET /livez HTTP/1.1\r\nhost: t\r\nx: " + b"a" * (30 * KIB) + b"\r\n\r\n")
            assert await peer.status() == 200


@pytest.mark.parametrize("chunk", [1, 100, 100_000])
async def test_a_body_is_read_in_chunks_of_any_usual_size(chunk):
    body = b"x" * (3_000 if chunk == 1 else 3_000_000)
    async with serving() as server:
        peer = await server.peer()
        await peer.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n")
        for start in range(0, len(body), chunk):
            piece = body[start : start + chunk]
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")
        assert await peer.status() == 200


@pytest.mark.parametrize("begin", [b"", b"G", b"GET /livez HTTP/1.1\r\nhost:"])
async def test_a_socket_that_stays_silent_is_closed(begin):
    async with serving(ConnectionLimits(header_seconds=0.05)) as server:
        peer = await server.peer()
        await peer.send(begin)
        assert (await peer.rest()).startswith(b"HTTP/1.1 408")
        assert server.closed("header_seconds") == 1


async def test_a_header_that_trickles_in_is_closed_when_its_time_is_over():
    async with serving(ConnectionLimits(header_seconds=0.2)) as server:
        peer = await server.peer()

        async def trickle() -> None:
            await peer.send(b"GET /livez HTTP/1.1\r\nx: ")
            while True:
                await peer.send(b"a")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert (await peer.rest()).startswith(b"HTTP/1.1 408")
        trickling.cancel()
        assert await server.answers()


async def test_the_second_request_of_a_connection_has_the_same_time():
    async with serving(ConnectionLimits(header_seconds=0.2)) as server:
        peer = await server.peer()
        await peer.send(ANSWER)
        assert await peer.status() == 200
        await peer.send(b"GET /livez")
        assert (await peer.rest()).startswith(b"HTTP/1.1 408")


async def test_a_body_that_never_comes_and_an_answer_that_nobody_makes_end():
    async with serving(ConnectionLimits(request_seconds=0.2)) as server:
        for path in (b"/echo", b"/slow"):
            peer = await server.peer()
            await peer.send(b"POST " + path + b" HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nabc")
            assert await peer.rest() == b""
        assert server.closed("request_seconds") == 2


async def test_an_answer_before_the_end_of_the_body_is_seen_and_the_rest_not_read_for_ever():
    async with serving(ConnectionLimits(unread_seconds=0.2)) as server:
        peer = await server.peer()
        await peer.send(b"POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 100\r\n\r\nabc")
        assert await peer.status() == 200
        await peer.rest()
        assert server.closed("unread_body") == 1
    async with serving() as server:
        peer = await server.peer()
        await peer.send(b"POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 999999999\r\n\r\n")
        assert await peer.status() == 200
        await endless(peer, b"a" * 64 * KIB, 64 * KIB * KIB)
        await peer.rest()
        assert server.closed("unread_body") == 1


async def test_after_an_unread_body_the_connection_goes_on_being_used_and_bounded():
    async with serving(ConnectionLimits(header_seconds=0.2)) as server:
        peer = await server.peer()
        await peer.send(b"POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n")
        assert await peer.status() == 200
        await peer.send(b"abc" + ANSWER)
        assert await peer.status() == 200
        await peer.send(b"POST /unread HTTP/1.1\r\nhost: t\r\ncontent-length: 3\r\n\r\n")
        assert await peer.status() == 200
        await peer.send(b"abc")
        assert await peer.rest() == b""


async def test_pipelined_requests_are_answered_in_order_up_to_a_bound():
    async with serving(ConnectionLimits(pipelined=8)) as server:
        peer = await server.peer()
        await peer.send(ANSWER * 8)
        assert [await peer.status() for _ in range(8)] == [200] * 8
        flood = await server.peer()
        await flood.send(b"POST /slow HTTP/1.1\r\nhost: t\r\ncontent-length: 0\r\n\r\n" + ANSWER * 100)
        await flood.rest()
        assert server.closed("pipelined") == 1
        assert await server.answers()


async def test_an_upgrade_is_answered_as_if_nobody_had_asked_for_one():
    async with serving() as server:
        peer = await server.peer()
        await peer.send(ANSWER[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert (await peer.rest()).startswith(b"HTTP/1.1 200")


async def test_eleven_hundred_silent_sockets_push_out_one_another_and_nobody_else():
    """The file limit of many systems is 1,024."""
    async with serving(connections=OpenConnectionLimits(total=300, per_source=0)) as server:
        good = await server.peer()
        await good.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\n")
        for _ in range(11):
            silent = await asyncio.gather(*(server.peer() for _ in range(100)))
            assert await server.answers()
            assert all(not one.writer.is_closing() for one in silent[-10:])
        assert server.closed("no_room") >= 800
        open_now = server.registry.get_sample_value("jawab_http_connections")
        assert open_now is not None
        assert open_now <= 300
        await good.send(b"ok")  # what was being answered all the time
        assert await good.status() == 200


async def test_one_source_keeps_to_its_share():
    async with serving(connections=OpenConnectionLimits(total=300, per_source=10)) as server:
        busy = [await server.peer() for _ in range(10)]
        for one in busy:
            await one.send(b"POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 2\r\n\r\n")
        async with asyncio.timeout(SECONDS):
            while server.closed("no_room") == 0:
                one = await server.peer()
                await one.rest()
        for one in busy[:5]:
            await one.send(b"ok")
            assert await one.status() == 200
        assert await server.answers()


async def test_what_is_no_http_is_counted_and_writes_no_log(caplog):
    async with serving() as server:
        for _ in range(5):
            peer = await server.peer()
            await peer.send(b"\x16\x03\x01 hello\r\n\r\n")
            assert (await peer.rest()).startswith(b"HTTP/1.1 400")
        assert server.closed("malformed") == 5
        assert [record for record in caplog.records if record.levelname == "WARNING"] == []
        assert await server.answers()


def test_every_service_is_served_with_these_bounds(monkeypatch):
    served: dict[str, Any] = {}

    def serve(app: Any, **options: Any) -> None:
        served.update(options, app=app)

    monkeypatch.setenv("JAWAB_ENV", "development")
    monkeypatch.setenv("HTTP_MAX_CONNECTIONS", "321")
    monkeypatch.setenv("HTTP_MAX_CONNECTIONS_PER_SOURCE", "7")
    monkeypatch.setattr(uvicorn, "run", serve)
    registry = CollectorRegistry()
    run(
        "test",
        ServiceSettings,
        lambda _: create_service("test", routes=[], lifespan=[], health=Health("test", {}), registry=registry),
    )
    assert issubclass(served["http"], BoundedProtocol)
    assert served["http"].open_connections._limits == OpenConnectionLimits(total=321, per_source=7)
    assert served["ws"] == "none"


def test_the_file_limit_leaves_room_beside_the_connections():
    assert 0 < raise_file_limit() <= 65_536


def test_the_installed_uvicorn_is_the_one_the_protocol_was_written_for():
    """The protocol overrides methods that uvicorn does not promise; look at http_server.py when this fails."""
    pinned = {one.name: one.specifier for one in map(Requirement, requires("jawab-common") or [])}
    assert version("uvicorn") in pinned["uvicorn"]
    assert any(bound.operator == "<" for bound in pinned["uvicorn"])
    source = inspect.getsource(HttpToolsProtocol)
    for used in (
        "self.parser.feed_data(data)",
        "def on_message_begin(self)",
        "def on_headers_complete(self)",
        "def on_body(self, body: bytes)",
        "def on_message_complete(self)",
        "on_response=self.on_response_complete",
        "self.pipeline.appendleft",
        "self.timeout_keep_alive_task = self.loop.call_later(",
        "self._unsupported_upgrade_warning()",
    ):
        assert used in source
