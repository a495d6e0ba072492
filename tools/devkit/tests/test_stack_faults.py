"""The whole system with a breakable wire before each of its servers, replicas and restarts."""

import time

import httpx2
import pytest

from devkit.signing import serialise, signed_headers
from devkit.simulator import Simulator
from devkit.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]

PERSON = "118354031656615"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("stack"), faults=True, tell=lambda _: None) as running:
        yield running


@pytest.fixture(autouse=True)
def whole_again(stack):
    yield
    stack.faults.heal()


def send(stack, name="ingest", text="السعر؟"):
    account = stack.environment()["INSTAGRAM_PAGE_ID"]
    update = Simulator(seed=time.monotonic_ns(), account=account).text(PERSON, text)
    raw = serialise(update.body(), escape_slashes=True)
    secret = stack.environment()["META_APP_SECRET"].split(",")[0]
    url = f"{stack.url(name)}/webhooks/instagram"
    return httpx2.post(url, content=raw, headers=signed_headers(raw, secret), timeout=20, trust_env=False).status_code


def until(condition, seconds=90.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.1)


def sends(stack):
    """How many messages the platform has taken."""
    url = f"{stack.url('sandbox')}/sandbox/journal"
    entries = httpx2.get(url, timeout=10, trust_env=False).json()["entries"]
    return sum(entry["effect"] and entry["api"] in {"graph", "manychat"} for entry in entries)


def is_ready(stack, name):
    try:
        return httpx2.get(f"{stack.url(name)}/readyz", timeout=5, trust_env=False).is_success
    except httpx2.TransportError:
        return False


def test_every_server_the_services_use_is_behind_a_proxy(stack):
    assert set(stack.faults) == {"kafka", "mongo", "graph", "manychat", "openai"}
    before = sends(stack)
    assert send(stack) == 200
    until(lambda: sends(stack) > before)
    assert stack.faults["kafka"].connections >= 3
    assert stack.faults["mongo"].connections >= 3
    environment = stack.environment()
    assert str(stack.faults["kafka"].port) in environment["KAFKA_BOOTSTRAP_SERVERS"]
    assert str(stack.faults["graph"].port) in environment["INSTAGRAM_GRAPH_URL"]


def test_without_kafka_no_webhook_is_acknowledged_and_with_it_they_are_again(stack):
    stack.faults["kafka"].cut()
    assert send(stack) == 503
    stack.faults["kafka"].heal()
    until(lambda: send(stack) == 200)


def test_a_replica_serves_and_leaves(stack):
    name = stack.start_replica("ingest")
    assert name == "ingest-2"
    assert send(stack, name) == 200
    assert stack.remove(name).in_order
    assert stack.names("ingest") == ["ingest"]


def test_kafka_and_mongodb_come_back_on_their_ports_with_their_data(stack):
    stack.kafka.kill()
    stack.mongo.kill()
    assert not is_ready(stack, "delivery")
    stack.kafka.start()
    stack.mongo.start()
    until(lambda: all(is_ready(stack, name) for name in stack.names()))
    before = sends(stack)
    until(lambda: send(stack) == 200)
    until(lambda: sends(stack) > before)


def test_a_killed_service_starts_again_with_settings_for_that_start(stack):
    stack.kill("cleanup")
    stack.start_service("cleanup", {"LOG_LEVEL": "error"})
    assert is_ready(stack, "cleanup")
