"""Run the sandbox on a real socket: for good as a process, or for a while beside a test."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
import uvicorn

from devkit.sandbox.app import create_sandbox
from devkit.sandbox.settings import SandboxSettings

log = structlog.get_logger(__name__)

START_SECONDS = 15.0
BACKLOG = 2048


def _server(settings: SandboxSettings) -> uvicorn.Server:
    config = uvicorn.Config(
        create_sandbox(settings),
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
