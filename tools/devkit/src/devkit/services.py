"""The processes of the four services: the first of each under the service's name, replicas as ``ai-2``, ``ai-3``.

Methods block and may be called from any thread; a process may be killed while another thread waits for it.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Event, Lock, Thread

from devkit.ports import free_port
from devkit.process import ChildProcess, ProcessError
from devkit.readiness import HttpOk

HOST = "127.0.0.1"
SERVICES = ("ingest", "ai", "delivery", "cleanup")
READY_WITHIN = 90.0
GRACE_SECONDS = 30.0
WATCH_SECONDS = 0.2


@dataclass(frozen=True)
class Ended:
    """How a process that was asked to end did so: its exit code (minus the signal that ended it), and how soon."""

    exit_code: int | None
    seconds: float

    @property
    def in_order(self) -> bool:
        """Whether it ended by itself: uvicorn, once all is done, passes the SIGTERM it was given on to itself."""
        return self.exit_code in {0, -signal.SIGTERM}


@dataclass(eq=False)
class _Replica:
    service: str
    port: int
    process: ChildProcess
    wanted: bool = False
    """Started, and not asked to stop since: what `kept_running` keeps."""
    changing: Lock = field(default_factory=Lock)


class Services:
    """The services' processes. `environment` says what each is configured with, PORT apart, at its first start."""

    def __init__(
        self, home: Path, *, ports: Mapping[str, int], environment: Callable[[], Mapping[str, str]], folder: Path
    ) -> None:
        self._home = home
        self._ports = dict(ports)
        self._environment = environment
        self._folder = folder
        self._replicas: dict[str, _Replica] = {}
        self._changing = Lock()
        self._numbers = {service: count(2) for service in SERVICES}

    @property
    def processes(self) -> dict[str, ChildProcess]:
        """The processes by name, running or not."""
        return {name: replica.process for name, replica in list(self._replicas.items())}

    def names(self, service: str = "") -> list[str]:
        """Return the names of a service's processes (of all services' without `service`), running or not."""
        return [name for name, replica in list(self._replicas.items()) if service in {"", replica.service}]

    def url(self, name: str) -> str:
        """Return the address of a process. Raises `KeyError` for a name that is none."""
        replica = self._replicas.get(name)
        return f"http://{HOST}:{self._ports[name] if replica is None else replica.port}"

    def start(self, name: str, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start a process, or start it again after it ended; with `wait` return when it is ready.

        `settings` are environment variables for this start alone. Raises `devkit.process.ProcessError`.
        """
        replica = self._replica(name)
        with replica.changing:
            replica.process.start(settings)
            replica.wanted = True
        if wait:
            self.wait_ready(name)

    def wait_ready(self, name: str, within: float = READY_WITHIN) -> None:
        """Wait until a started process is ready. Raises `devkit.process.ProcessError`."""
        self._replica(name).process.wait_until(HttpOk(f"{self.url(name)}/readyz"), within)

    def start_replica(self, service: str, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> str:
        """Start one more process of a service on a free port and return its name; see `start`.

        One that does not get ready is not kept.
        """
        name = f"{service}-{next(self._numbers[service])}"
        self._add(name, service, free_port())
        try:
            self.start(name, settings, wait=wait)
        except BaseException:
            self._forget(name)
            raise
        return name

    def stop(self, name: str, grace: float = GRACE_SECONDS) -> Ended:
        """Ask a process to end (SIGTERM) and wait for it; after `grace` seconds kill it. A frozen one is thawed."""
        replica = self._known(name)
        replica.wanted = False
        begun = time.monotonic()
        with replica.changing:
            replica.process.thaw()
            code = replica.process.stop(grace)
        return Ended(code, time.monotonic() - begun)

    def kill(self, name: str) -> None:
        """End a process at once (SIGKILL), frozen or not, as a crash would."""
        replica = self._known(name)
        with replica.changing:
            replica.process.kill()

    def freeze(self, name: str) -> None:
        """Stop a process's time (SIGSTOP); returns when it stands still. Its connections stay open."""
        self._known(name).process.freeze()

    def thaw(self, name: str) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._known(name).process.thaw()

    def remove(self, name: str, grace: float = GRACE_SECONDS) -> Ended:
        """Stop a replica as `stop` does and forget it. Raises `ValueError` for the first process of a service."""
        if name in SERVICES:
            raise ValueError(f"{name} is the first of its service: stop it, only replicas can be removed")
        ended = self.stop(name, grace)
        self._forget(name)
        return ended

    def wait_ended(self, name: str, within: float) -> int:
        """Wait until a process ends by itself and return its exit code. Raises `devkit.process.NotReady`."""
        return self._known(name).process.wait_ended(within)

    def stop_all(self, grace: float) -> None:
        """Stop every process, all at once."""
        names = self.names()
        if names:
            with ThreadPoolExecutor(max_workers=len(names)) as pool:
                list(pool.map(lambda name: self.stop(name, grace), names))

    @contextmanager
    def kept_running(self, on_restart: Callable[[str], None]) -> Iterator[None]:
        """Start a process again when it ends by itself or is killed, as Kubernetes would; `on_restart` hears its name.

        Those asked to stop stay down. One that does not get ready again is left down, with the reason in its log.
        """
        ending = Event()

        def watch() -> None:
            while not ending.wait(WATCH_SECONDS):
                for name, replica in list(self._replicas.items()):
                    if replica.wanted and not replica.process.running and not ending.is_set():
                        with suppress(ProcessError, KeyError):
                            self.start(name)
                            on_restart(name)

        watcher = Thread(target=watch, name="keeps services running", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ending.set()
            watcher.join(READY_WITHIN)

    def _replica(self, name: str) -> _Replica:
        if name in SERVICES and name not in self._replicas:
            return self._add(name, name, self._ports[name])
        return self._known(name)

    def _known(self, name: str) -> _Replica:
        replica = self._replicas.get(name)
        if replica is None:
            raise KeyError(f"there is no process {name}; there are {', '.join(self.names()) or 'none'}")
        return replica

    def _add(self, name: str, service: str, port: int) -> _Replica:
        process = ChildProcess(
            name,
            [sys.executable, "-m", service],
            log=self._home / f"{name}.log",
            environment={**self._environment(), "PORT": str(port)},
            folder=self._folder,
        )
        with self._changing:
            return self._replicas.setdefault(name, _Replica(service, port, process))

    def _forget(self, name: str) -> None:
        replica = self._known(name)
        replica.wanted = False
        with replica.changing:
            replica.process.kill()
        with self._changing:
            self._replicas.pop(name, None)
