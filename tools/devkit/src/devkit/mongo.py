"""A MongoDB server for development and tests, on any machine, without Docker or an installed MongoDB."""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from devkit.cache import cache_dir
from devkit.mongo_checks import answers_ping, run_checks
from devkit.mongo_servers import MongoUnavailable, choose_server, fast_program
from devkit.ports import free_port
from devkit.process import ChildProcess, ProcessDied
from devkit.progress import Say, say
from devkit.readiness import TcpOpen
from devkit.wheels import WheelUnavailable

HOST = "127.0.0.1"
DATABASE = "jawab"
CLIENT_OPTIONS = "directConnection=true&serverMonitoringMode=poll"
"""Without the first, clients would follow the server's own idea of its address, past a proxy. Without the second
they open a further connection in the background, and PyMongo 4.20 leaks its socket when closed meanwhile."""
START_TIMEOUT = 60.0


class MongoUnfit(RuntimeError):
    """The server runs but lacks something Jawab relies on."""


@dataclass(frozen=True)
class ServerAnswers:
    """The server answers MongoDB's ping."""

    url: str
    port: int

    def __call__(self) -> bool:
        """Ping once; a port that is still closed is not worth the driver's half second between attempts."""
        return TcpOpen(self.port)() and answers_ping(self.url)

    def __str__(self) -> str:
        """Name the condition."""
        return f"an answer to MongoDB's ping from {self.url}"


class EmbeddedMongo:
    """One server that keeps its data in `data_dir`; its methods block and may be called from any thread.

    `fast` insists on the server built from source (True) or the wheel (False); by default whichever is there.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        fast: bool | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
        tell: Say = say,
    ) -> None:
        self.port = port or free_port()
        self._home = data_dir.absolute()
        self._fast = fast
        self._environ = environ
        self._cache = cache_dir(environ)
        self._tell = tell
        self._process: ChildProcess | None = None
        self._checked = False

    @property
    def url(self) -> str:
        """The address for clients, with the database's name."""
        return self.url_on(self.port)

    def url_on(self, port: int) -> str:
        """Return the address for clients that reach the server through another port (of a proxy)."""
        return f"mongodb://{HOST}:{port}/{DATABASE}?{CLIENT_OPTIONS}"

    @property
    def name(self) -> str:
        """What runs: the program's file name."""
        return "" if self._process is None else Path(self._process.command[0]).name

    @property
    def fast(self) -> bool:
        """Whether the fast server is the one that runs; the other does about 50 findAndModify a second."""
        return self.name == fast_program(self._cache).name

    @property
    def running(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.running

    @property
    def pid(self) -> int:
        """The server's process id. Raises `devkit.process.ProcessDied` when it does not run."""
        if self._process is None:
            raise ProcessDied("MongoDB has not been started")
        return self._process.pid

    def start(self, within: float = START_TIMEOUT) -> None:
        """Install the server where need be, start it, wait until it serves and try what Jawab relies on.

        `within` bounds the start in seconds, not the installation. Raises `MongoUnavailable`, `MongoUnfit`
        or `devkit.process.ProcessError`.
        """
        if self._process is None:
            self._process = self._prepare()
        self._process.start()
        try:
            self._process.wait_until(ServerAnswers(self.url, self.port), within)
            self._check()
        except BaseException:
            self._process.kill()
            raise

    def stop(self, grace: float = 15.0) -> None:
        """Shut the server down in order; after `grace` seconds kill it."""
        if self._process is not None:
            self._process.stop(grace)

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL). Acknowledged writes are kept."""
        if self._process is not None:
            self._process.kill()

    def restart(self, grace: float = 15.0) -> None:
        """Stop the server if it runs and start it on the same port and data; returns when it serves."""
        self.stop(grace)
        self.start()

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open and nothing answers."""
        if self._process is not None:
            self._process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen server go on."""
        if self._process is not None:
            self._process.send(signal.SIGCONT)

    def rss_bytes(self) -> int:
        """Return the server's resident memory in bytes."""
        return 0 if self._process is None else self._process.rss_bytes()

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the server."""
        self.stop()

    def _prepare(self) -> ChildProcess:
        try:
            program = choose_server(self._cache, self._fast, environ=self._environ, tell=self._tell)
        except WheelUnavailable as problem:
            raise MongoUnavailable(f"no MongoDB: {problem}. Set MONGODB_URL to a server of yours") from problem
        self._home.mkdir(parents=True, exist_ok=True)
        config = self._home / "server.toml"
        config.touch()  # named so that no file of the user's is picked up instead
        command = [
            *(str(program), "--config", str(config), "--host", HOST, "--port", str(self.port)),
            *("--storage-path", str(self._home / "data"), "--cache-size", "256M", "--log-level", "WARNING"),
            # Without this a killed server forgets writes it has acknowledged, journaled ones too.
            "--sync-on-commit",
        ]
        return ChildProcess("MongoDB", command, log=self._home / "mongo.log")

    def _check(self) -> None:
        if self._checked:
            return
        if lacking := run_checks(self.url):
            raise MongoUnfit("\n".join([f"{self.name} lacks what Jawab relies on:", *lacking]))
        self._checked = True
