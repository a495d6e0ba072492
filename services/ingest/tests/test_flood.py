"""Forged bodies on real sockets, as many and as large as they like: genuine webhooks are answered meanwhile."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn

from common.http_server import protocol_of
from common.open_connections import OpenConnectionLimits

MIB = 1024 * 1024
SECONDS = 20
"""No wait of these tests ends later than this."""

FORGED = b"x-hub-signature-256: sha256=" + b"0" * 64 + b"\r\n"


@pytest.fixture
async def port(world: Any) -> AsyncIterator[int]:
    """The world's ingest, with its fake Kafka, on a port of this machine."""
    app = world.client.app
    protocol = protocol_of(app, connections=OpenConnectionLimits(total=200, per_source=0))
    config = uvicorn.Config(app, http=protocol, ws="none", log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    async with asyncio.timeout(SECONDS):
        while not server.started:
            await asyncio.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    await task


async def post(
    port: int, head: bytes, body: bytes, *, announced: int | None = None
) -> tuple[int, asyncio.StreamWriter]:
    """Post a body, or a part of one that is `announced` longer; return the status, 0 where there is none yet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = len(body) if announced is None else announced
    writer.write(b"POST /webhooks/instagram HTTP/1.1\r\nhost: t\r\n" + head + b"content-length: %d\r\n\r\n" % length)
    writer.write(body)
    await writer.drain()
    if announced is not None:
        return 0, writer
    async with asyncio.timeout(SECONDS):
        line = await reader.readline()
    return int(line.split()[1]), writer


def genuine(world: Any, number: int, size: int) -> tuple[bytes, bytes]:
    """A signed webhook of a customer's message: its header and its body."""
    body = json.dumps(world.body(world.message(f"m{number}", "x" * size))).encode()
    [(name, value)] = world.sign(body).items()
    return f"{name}: {value}\r\n".encode(), body


@pytest.mark.parametrize("settings", [{"max_buffered": 32 * MIB, "failures_per_minute": 10_000}], indirect=True)
@pytest.mark.parametrize("head", [b"", FORGED], ids=["unsigned", "forged"])
@pytest.mark.parametrize("size", [0, MIB], ids=["small", "large"])
async def test_thirty_three_slow_bodies_of_eight_mebibytes_cost_no_genuine_webhook(world, port, head, size):
    slow = [await post(port, head, b"x" * (MIB - 1), announced=8 * MIB) for _ in range(33)]
    answers = [await post(port, *genuine(world, number, size)) for number in range(24)]
    assert [status for status, _ in answers] == [200] * 24
    for _, writer in (*slow, *answers):
        writer.close()


@pytest.mark.parametrize("settings", [{"body_deadline": 0.3}], indirect=True)
async def test_a_body_that_trickles_in_ends_with_its_deadline(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /webhooks/instagram HTTP/1.1\r\nhost: t\r\n" + FORGED + b"content-length: 1000\r\n\r\n")

    async def trickle() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.02)

    trickling = asyncio.create_task(trickle())
    async with asyncio.timeout(SECONDS):
        assert (await reader.readline()).split()[1] == b"408"
    trickling.cancel()
    writer.close()
