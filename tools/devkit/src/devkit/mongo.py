"""A MongoDB server for development and tests, on any machine, without Docker or an installed MongoDB."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devkit.cache import cache_dir
from devkit.mongo_checks import answers_ping, run_checks
from devkit.mongo_servers import MongoUnavailable, choose_server, fast_program
from devkit.ports import free_port
from devkit.process import ChildProcess
from devkit.progress import Say, say
from devkit.readiness import TcpOpen
from devkit.server import EmbeddedServer
from devkit.wheels import WheelUnavailable

HOST = "127.0.0.1"
DATABASE = "jawab"
CLIENT_OPTIONS = "directConnection=true&serverMonitoringMode=poll"
"""Without the first, clients would follow the server's own idea of its address, past a proxy. Without the second
they open a further connection in the background, and PyMongo 4.20 leaks its socket when closed meanwhile."""


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


class EmbeddedMongo(EmbeddedServer):
    """One server that keeps its data in `data_dir`; acknowledged writes outlive a kill.

    `start` raises `MongoUnavailable`, `MongoUnfit` or `devkit.process.ProcessError`.

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

    def _await_service(self, process: ChildProcess, within: float) -> None:
        process.wait_until(ServerAnswers(self.url, self.port), within)
        self._check()

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
