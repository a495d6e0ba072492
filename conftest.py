"""What tests of several packages share: a real Kafka and a MongoDB server, started when first asked for."""

import asyncio
import logging
from asyncio.selector_events import BaseSelectorEventLoop
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from socket import socket
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from devkit.kafka import EmbeddedKafka
from devkit.kafka_with_topics import kafka_with_topics
from devkit.mongo import EmbeddedMongo

_databases = count(1)

# A time is no behaviour: on a busy machine an example takes longer than Hypothesis' 200 ms, and a sound test fails.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """Apache Kafka with Jawab's topics; `.bootstrap` is its address."""
    with kafka_with_topics(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def mongo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMongo]:
    """A server that speaks MongoDB's protocol."""
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo")) as server:
        yield server


@pytest.fixture
def mongo_url(mongo: EmbeddedMongo) -> str:
    """The URL of a database of the test's own."""
    return mongo.url.replace("/jawab?", f"/test{next(_databases)}?")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """What a test configures of the logs, or the code it runs, is gone afterwards: tests run in any order."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def _a_shell_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands say how they are called next by how they were called: tests are called in several ways."""
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)


@pytest.fixture(scope="session", autouse=True)
def _sockets_of_cancelled_connects_closed() -> Iterator[None]:
    """Close what PyMongo 4.20 forgets when its client is closed while it connects (PYTHON-5867).

    The socket would be found unclosed minutes later, by the garbage collector, in the middle of another test.
    """
    connect = BaseSelectorEventLoop.sock_connect

    async def connect_or_close(loop: BaseSelectorEventLoop, sock: socket, address: Any) -> None:
        try:
            await connect(loop, sock, address)
        except asyncio.CancelledError:
            sock.close()
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BaseSelectorEventLoop, "sock_connect", connect_or_close)
        yield


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return Path(__file__).parent


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what asks for a server: a test without its mark would be in neither `make unit` nor `make integration`."""
    for server in {"kafka", "mongo"} & set(getattr(item, "fixturenames", ())):
        item.add_marker(server)
    if "integration" in item.path.parts and not {"kafka", "mongo"} & {mark.name for mark in item.iter_markers()}:
        raise pytest.UsageError(f"{item.nodeid} asks for no server: no make target would run it there")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs no server first: a broken idea shows in seconds."""
    items.sort(key=lambda item: bool({"kafka", "mongo"} & set(getattr(item, "fixturenames", ()))))
