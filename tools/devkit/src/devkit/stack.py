"""All of Jawab on this machine: Kafka, MongoDB, the sandbox world and the four services, each a process of its own.

Used by `jawab up`, `jawab demo`, the end-to-end tests, the load test and the crash suite. Everything the stack starts
ends with it, also when the starter is killed. Methods block; they may be called from any thread.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from common.kafka import topic_admin
from devkit.environment import development_environment, project_root
from devkit.fault_proxy import FaultProxies, FaultProxy
from devkit.kafka import EmbeddedKafka
from devkit.mongo import EmbeddedMongo
from devkit.ports import free_ports
from devkit.process import ChildProcess
from devkit.progress import Say, say
from devkit.readiness import HttpOk, TcpOpen
from devkit.services import GRACE_SECONDS, HOST, READY_WITHIN, SERVICES, Ended, Services

PROVIDERS = ("graph", "manychat", "openai")
STOP_GRACE_SECONDS = 20.0
SHARED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "VIRTUAL_ENV", "TZ")
"""What the services get of the starter's own environment: nothing that could configure them by accident."""


class PortTaken(Exception):
    """A port that was asked for is in use; the message names it and the way out."""


@dataclass(frozen=True)
class Ports:
    """Where each part listens."""

    ingest: int
    ai: int
    delivery: int
    cleanup: int
    sandbox: int

    @classmethod
    def free(cls) -> "Ports":
        """Return ports nothing listens on."""
        return cls(*free_ports(5))

    def of(self, service: str) -> int:
        """Return a service's port."""
        port: int = getattr(self, service)
        return port


USUAL_PORTS = Ports(ingest=8000, ai=8001, delivery=8002, cleanup=8003, sandbox=8090)


class Stack:
    """The whole system. `settings` override the development environment; `sandbox` goes to the sandbox alone.

    Naming KAFKA_BOOTSTRAP_SERVERS or MONGODB_URL in `settings` uses that server instead of an embedded one; naming
    OPENAI_BASE_URL, MANYCHAT_BASE_URL or INSTAGRAM_GRAPH_URL uses that API instead of the sandbox's.

    With `faults` the services reach each embedded server and each API of the sandbox through a proxy of its own,
    `faults["kafka" | "mongo" | "graph" | "manychat" | "openai"]`, that can be broken on purpose. What is no service
    goes past them: `kafka.direct_bootstrap`, `mongo.url`, `url("sandbox")`.
    """

    def __init__(
        self,
        home: Path,
        *,
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        sandbox: Mapping[str, str] | None = None,
        fast_mongo: bool | None = None,
        faults: bool = False,
        tell: Say = say,
    ) -> None:
        self.home = home
        self.ports = ports or Ports.free()
        self._settings = dict(settings or {})
        self._sandbox_settings = dict(sandbox or {})
        self._tell = tell
        self._root = project_root()
        kafka_port, advertised_port = free_ports(2)
        self.kafka = (
            None
            if "KAFKA_BOOTSTRAP_SERVERS" in self._settings
            else EmbeddedKafka(
                home / "kafka", kafka_port, advertised_port=advertised_port if faults else None, tell=tell
            )
        )
        self.mongo = (
            None if "MONGODB_URL" in self._settings else EmbeddedMongo(home / "mongo", fast=fast_mongo, tell=tell)
        )
        self.faults = FaultProxies(self._proxies() if faults else {})
        self._services = Services(
            home,
            ports={name: self.ports.of(name) for name in SERVICES},
            environment=lambda: {**self._own(), **self.environment()},
            folder=self._root,
        )
        self._sandbox: ChildProcess | None = None

    @property
    def processes(self) -> dict[str, ChildProcess]:
        """The processes of the services and of the sandbox by name, running or not."""
        sandbox = {} if self._sandbox is None else {"sandbox": self._sandbox}
        return {**self._services.processes, **sandbox}

    def url(self, name: str) -> str:
        """Return the address of a service, of a replica, or of the sandbox."""
        return f"http://{HOST}:{self.ports.sandbox}" if name == "sandbox" else self._services.url(name)

    def environment(self) -> dict[str, str]:
        """Return what the services are configured with (without PORT)."""
        sandbox = self.url("sandbox")
        through = {name: f"http://{HOST}:{self.faults[name].port}" for name in PROVIDERS if name in self.faults}
        apis = dict.fromkeys(PROVIDERS, sandbox) | through
        environment = {
            **development_environment(self._root),
            "HOST": HOST,
            "OPENAI_BASE_URL": f"{apis['openai']}/v1",
            "MANYCHAT_BASE_URL": f"{apis['manychat']}/manychat",
            "INSTAGRAM_GRAPH_URL": f"{apis['graph']}/graph/v25.0",
            "AI_MEDIA_HOSTS": sandbox,
            "OPERATOR_WEBHOOK_URL": f"{sandbox}/operator/notifications",
            "PUBLIC_URL": self.url("ingest"),
            "CLEANUP_SCHEDULE": "on",
            "PRIVACY_STATUS_URL": f"{self.url('cleanup')}/privacy",
            "KAFKA_SESSION_TIMEOUT": "6",  # a killed service's partitions come back sooner
            "NO_PROXY": f"{HOST},localhost",
            "PYTHONUNBUFFERED": "1",
        }
        if self.kafka is not None:
            environment["KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap
            environment["KAFKA_IDEMPOTENCE"] = "true" if self.kafka.idempotent else "false"
        if self.mongo is not None:
            through_port = self.faults["mongo"].port if "mongo" in self.faults else self.mongo.port
            environment["MONGODB_URL"] = self.mongo.url_on(through_port)
        return {**environment, **self._settings}

    def start(self, on_step: Callable[[str, float], None] | None = None) -> None:
        """Start everything and wait until all of it is ready.

        `on_step` hears each part's name and how many seconds it took. Raises PortTaken, KafkaUnavailable,
        MongoUnavailable or ProcessError, each with a message for a person; what was started is stopped then.
        """
        step = on_step or (lambda _name, _seconds: None)
        try:
            self._refuse_taken_ports()
            self.faults.start()
            with ThreadPoolExecutor(max_workers=6) as pool:
                stores = [pool.submit(self._timed, step, "Kafka", self._start_kafka)]
                stores.append(pool.submit(self._timed, step, "MongoDB", self._start_mongo))
                sandbox = pool.submit(self._timed, step, "sandbox world", self._start_sandbox)
                for store in stores:
                    store.result()
                self._timed(step, "topics", self._apply_topics)
                sandbox.result()
                services = [
                    pool.submit(self._timed, step, name, partial(self.start_service, name)) for name in SERVICES
                ]
                for service in services:
                    service.result()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything: services first, so that they can finish what they hold. Faults are lifted before."""
        self.faults.heal()
        rest: list[Callable[[], object]] = [] if self._sandbox is None else [self._sandbox.stop]
        for server in (self.kafka, self.mongo):
            if server is not None:
                server.resume()
                rest.append(server.stop)
        try:
            self._services.stop_all(STOP_GRACE_SECONDS)
        finally:
            with ThreadPoolExecutor(max_workers=3) as pool:
                stopping = [pool.submit(stop) for stop in rest]
            self.faults.stop()
        for stopped in stopping:
            stopped.result()

    # The services' processes; see `devkit.services.Services`.

    def names(self, service: str = "") -> list[str]:
        """Return the names of a service's processes, ``ai``, ``ai-2``, …; of all services' without `service`."""
        return self._services.names(service)

    def start_service(self, name: str, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> None:
        """Start a service's process, or start it again after it ended, and wait until it is ready.

        `settings` are environment variables for this start alone. Raises `devkit.process.ProcessError`.
        """
        self._services.start(name, settings, wait=wait)

    def wait_ready(self, name: str, within: float = READY_WITHIN) -> None:
        """Wait until a process started without waiting is ready. Raises `devkit.process.ProcessError`."""
        self._services.wait_ready(name, within)

    def start_replica(self, service: str, settings: Mapping[str, str] | None = None, *, wait: bool = True) -> str:
        """Start one more process of a service on a free port and return its name, e.g. ``ai-2``."""
        return self._services.start_replica(service, settings, wait=wait)

    def stop_service(self, name: str, grace: float = GRACE_SECONDS) -> Ended:
        """Ask a process to end (SIGTERM), kill it after `grace` seconds; say how and how soon it ended."""
        return self._services.stop(name, grace)

    def kill(self, name: str) -> None:
        """End a process at once (SIGKILL)."""
        self._services.kill(name)

    def freeze(self, name: str) -> None:
        """Stop a process's time (SIGSTOP); returns when it stands still."""
        self._services.freeze(name)

    def thaw(self, name: str) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._services.thaw(name)

    def remove(self, name: str, grace: float = GRACE_SECONDS) -> Ended:
        """Stop a replica and forget it; the first process of a service can only be stopped (`ValueError`)."""
        return self._services.remove(name, grace)

    def wait_ended(self, name: str, within: float) -> int:
        """Wait until a process ends by itself and return its exit code. Raises `devkit.process.NotReady`."""
        return self._services.wait_ended(name, within)

    def kept_running(self, on_restart: Callable[[str], None]) -> AbstractContextManager[None]:
        """Start processes again when they end by themselves or are killed; those asked to stop stay down."""
        return self._services.kept_running(on_restart)

    def rss_bytes(self) -> dict[str, int]:
        """Return the resident memory of every running part, in bytes."""
        sizes = {name: process.rss_bytes() for name, process in self.processes.items() if process.running}
        if self.kafka is not None and self.kafka.running:
            sizes["kafka"] = self.kafka.rss_bytes()
        if self.mongo is not None and self.mongo.running:
            sizes["mongodb"] = self.mongo.rss_bytes()
        return sizes

    def __enter__(self) -> Self:
        """Start everything."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    def _timed(self, step: Callable[[str, float], None], name: str, work: Callable[[], None]) -> None:
        begun = time.monotonic()
        work()
        step(name, time.monotonic() - begun)

    def _proxies(self) -> dict[str, FaultProxy]:
        proxies = {name: FaultProxy(HOST, self.ports.sandbox) for name in PROVIDERS}
        if self.kafka is not None:
            ports = self.kafka.ports
            proxies["kafka"] = FaultProxy(HOST, ports.client, port=ports.advertised)
        if self.mongo is not None:
            proxies["mongo"] = FaultProxy(HOST, self.mongo.port)
        return proxies

    def _refuse_taken_ports(self) -> None:
        for name in (*SERVICES, "sandbox"):
            port = self.ports.of(name)
            if TcpOpen(port)():
                raise PortTaken(
                    f"port {port} ({name}) is in use: stop what listens there (another `jawab up`?), "
                    "or choose other ports with --free-ports"
                )

    def _start_kafka(self) -> None:
        if self.kafka is not None:
            self.kafka.start()

    def _start_mongo(self) -> None:
        if self.mongo is not None:
            self.mongo.start()

    def _apply_topics(self) -> None:
        bootstrap = self._settings["KAFKA_BOOTSTRAP_SERVERS"] if self.kafka is None else self.kafka.direct_bootstrap
        asyncio.run(topic_admin.apply({"bootstrap_servers": bootstrap}))

    def _start_sandbox(self) -> None:
        environment = self.environment()
        process = self._sandbox = ChildProcess(
            "the sandbox world",
            [sys.executable, "-m", "devkit.sandbox"],
            log=self.home / "sandbox.log",
            environment={
                **self._own(),
                "PORT": str(self.ports.sandbox),
                "SANDBOX_WEBHOOK_URL": f"{self.url('ingest')}/webhooks/instagram",
                "SANDBOX_APP_SECRET": environment.get("META_APP_SECRET", "").split(",")[0],
                "SANDBOX_ACCOUNT_ID": environment.get("INSTAGRAM_PAGE_ID", ""),
                "SANDBOX_IGSID_FIELD_ID": environment.get("MANYCHAT_IGSID_FIELD_ID", ""),
                "NO_PROXY": environment["NO_PROXY"],
                **self._sandbox_settings,
            },
            folder=self._root,
        )
        process.start()
        process.wait_until(HttpOk(f"{self.url('sandbox')}/health"), READY_WITHIN)

    def _own(self) -> dict[str, str]:
        return {name: os.environ[name] for name in SHARED if name in os.environ}
