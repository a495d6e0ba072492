"""All of Jawab on this machine: Kafka, MongoDB, the sandbox world and the four services, each a process of its own.

Used by `jawab up`, `jawab demo`, the end-to-end tests and the load test. Everything the stack starts ends with it, also
when the starter is killed. Methods block; they may be called from any thread.
"""

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event, Thread
from types import TracebackType
from typing import Self

from common.kafka import topic_admin
from devkit.environment import development_environment, project_root
from devkit.kafka import EmbeddedKafka
from devkit.mongo import EmbeddedMongo
from devkit.ports import free_ports
from devkit.process import ChildProcess, ProcessError
from devkit.progress import Say, say
from devkit.readiness import HttpOk, TcpOpen

HOST = "127.0.0.1"
SERVICES = ("ingest", "ai", "delivery", "cleanup")
READY_WITHIN = 90.0
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
    """

    def __init__(
        self,
        home: Path,
        *,
        ports: Ports | None = None,
        settings: Mapping[str, str] | None = None,
        sandbox: Mapping[str, str] | None = None,
        fast_mongo: bool | None = None,
        tell: Say = say,
    ) -> None:
        self.home = home
        self.ports = ports or Ports.free()
        self._settings = dict(settings or {})
        self._sandbox_settings = dict(sandbox or {})
        self._tell = tell
        self._root = project_root()
        self.kafka = None if "KAFKA_BOOTSTRAP_SERVERS" in self._settings else EmbeddedKafka(home / "kafka", tell=tell)
        self.mongo = (
            None if "MONGODB_URL" in self._settings else EmbeddedMongo(home / "mongo", fast=fast_mongo, tell=tell)
        )
        self.processes: dict[str, ChildProcess] = {}

    def url(self, name: str) -> str:
        """Return the address of a service or of the sandbox."""
        return f"http://{HOST}:{self.ports.of(name)}"

    def environment(self) -> dict[str, str]:
        """Return what the services are configured with (without PORT)."""
        sandbox = self.url("sandbox")
        environment = {
            **development_environment(self._root),
            "HOST": HOST,
            "OPENAI_BASE_URL": f"{sandbox}/v1",
            "MANYCHAT_BASE_URL": f"{sandbox}/manychat",
            "INSTAGRAM_GRAPH_URL": f"{sandbox}/graph/v25.0",
            "OPERATOR_WEBHOOK_URL": f"{sandbox}/operator/notifications",
            "PUBLIC_URL": self.url("ingest"),
            "PRIVACY_STATUS_URL": f"{self.url('cleanup')}/privacy",
            "KAFKA_SESSION_TIMEOUT": "6",  # a killed service's partitions come back sooner
            "NO_PROXY": f"{HOST},localhost",
            "PYTHONUNBUFFERED": "1",
        }
        if self.kafka is not None:
            environment["KAFKA_BOOTSTRAP_SERVERS"] = self.kafka.bootstrap
            environment["KAFKA_IDEMPOTENCE"] = "true" if self.kafka.idempotent else "false"
        if self.mongo is not None:
            environment["MONGODB_URL"] = self.mongo.url
        return {**environment, **self._settings}

    def start(self, on_step: Callable[[str, float], None] | None = None) -> None:
        """Start everything and wait until all of it is ready.

        `on_step` hears each part's name and how many seconds it took. Raises PortTaken, KafkaUnavailable,
        MongoUnavailable or ProcessError, each with a message for a person; what was started is stopped then.
        """
        step = on_step or (lambda _name, _seconds: None)
        try:
            self._refuse_taken_ports()
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

    def start_service(self, name: str) -> None:
        """Start one service, or start it again after it was killed, and wait until it is ready."""
        process = self.processes.get(name)
        if process is None:
            process = self.processes[name] = ChildProcess(
                name,
                [sys.executable, "-m", name],
                log=self.home / f"{name}.log",
                environment={**self._own(), **self.environment(), "PORT": str(self.ports.of(name))},
                folder=self._root,
            )
        process.start()
        process.wait_until(HttpOk(f"{self.url(name)}/readyz"), READY_WITHIN)

    def stop(self) -> None:
        """Stop everything: services first, so that they can finish what they hold."""
        with ThreadPoolExecutor(max_workers=6) as pool:
            services = [process for name, process in self.processes.items() if name in SERVICES]
            list(pool.map(lambda process: process.stop(20.0), services))
            rest: list[Callable[[], object]] = []
            if "sandbox" in self.processes:
                rest.append(self.processes["sandbox"].stop)
            if self.kafka is not None:
                rest.append(self.kafka.stop)
            if self.mongo is not None:
                rest.append(self.mongo.stop)
            list(pool.map(lambda stop: stop(), rest))

    @contextmanager
    def kept_running(self, on_restart: Callable[[str], None]) -> Iterator[None]:
        """Start a service again when it ends by itself or is killed, as Kubernetes would; `on_restart` hears its name.

        A service that does not get ready again is left down, with the reason in its log.
        """
        ending = Event()

        def watch() -> None:
            while not ending.wait(0.2):
                for name in SERVICES:
                    if not self.processes[name].running and not ending.is_set():
                        with suppress(ProcessError):
                            self.start_service(name)
                            on_restart(name)

        watcher = Thread(target=watch, name="keeps services running", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            ending.set()
            watcher.join(READY_WITHIN)

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
        bootstrap = self.environment()["KAFKA_BOOTSTRAP_SERVERS"]
        asyncio.run(topic_admin.apply({"bootstrap_servers": bootstrap}))

    def _start_sandbox(self) -> None:
        environment = self.environment()
        process = self.processes["sandbox"] = ChildProcess(
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
