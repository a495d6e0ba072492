"""Run the sandbox on a real socket: for good as a process, or for a while beside a test."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate

import structlog
import uvicorn
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from devkit.sandbox.app import create_sandbox, platform_clock
from devkit.sandbox.settings import SandboxSettings

log = structlog.get_logger(__name__)

START_SECONDS = 15.0
BACKLOG = 2048


def dated(app: ASGIApp, now: Callable[[], float]) -> ASGIApp:
    """Return the application with a Date header in every answer that has none, by the platform's clock."""

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        async def dating(message: Message) -> None:
            if message["type"] == "http.response.start" and not any(name == b"date" for name, _ in message["headers"]):
                date = formatdate(now(), usegmt=True).encode("ascii")
                message = {**message, "headers": [*message["headers"], (b"date", date)]}
            await send(message)

        await app(scope, receive, dating)

    return answered


def _server(settings: SandboxSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        dated(create_sandbox(settings), platform_clock(settings)),
        date_header=False,
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_level="warning",
        ws="none",
        backlog=BACKLOG,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def serve(settings: SandboxSettings) -> None:
    """Serve until the process is told to stop."""
    log.info("sandbox.starting", host=settings.host, port=settings.port, webhook_url=settings.webhook_url)
    _server(settings).run()


@contextmanager
def running_sandbox(settings: SandboxSettings | None = None) -> Iterator[str]:
    """Serve in a thread on a free port and give the address, e.g. ``http://127.0.0.1:40123``."""
    settings = settings or SandboxSettings(port=0)
    server = _server(settings)
    with socket.create_server((settings.host, settings.port), backlog=BACKLOG) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="sandbox")
        thread.start()
        try:
            deadline = time.monotonic() + START_SECONDS
            while not server.started:
                if time.monotonic() > deadline or not thread.is_alive():
                    raise RuntimeError("the sandbox did not start; see the log above")
                time.sleep(0.01)
            yield f"http://{settings.host}:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
