"""What every door lets in, a real delivery service takes out of Kafka and stores: nothing of it dies on its way."""

import asyncio
import copy
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from litestar import Litestar
from pydantic import SecretStr

import delivery.app
import delivery.settings
from common.events import Event
from common.events.interactions import INTERACTIONS, Message, MessageReceived
from common.kafka.broker import kafka_broker, publish
from common.settings import KafkaSettings
from devkit.kafka import EmbeddedKafka
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings
from ingest import external_request
from ingest.body import BadBody, json_object
from ingest.notifications import normalise

ACCOUNT = "17841470000112358"
SECONDS = 120
CATALOGUE = Path(__file__).parents[2] / "services" / "ingest" / "tests" / "catalogue.json"
ROWS = json.loads(CATALOGUE.read_text(encoding="utf-8"))

HOSTILE: list[Any] = [2**63, 10**30, "9" * 30, 1e308, "\0", {"\0": 2**70}]

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def with_value(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """The body with `value` at a place, as a sender writes it and the door reads it."""
    body = copy.deepcopy(body)
    inside = body
    for part in path[:-1]:
        inside = inside[part]
    inside[path[-1]] = value
    return json_object(json.dumps(body).encode())


def let_in() -> dict[str, Event]:
    """The events of all hostile bodies that the doors accept, one of each id."""
    now, found = datetime.now(UTC), {}
    about: dict[str, Any] = {"received_at": now, "traceparent": None}
    for value in HOSTILE:
        for row in ROWS:
            seen = set()
            for path in places(row["body"]):
                names = tuple(part for part in path if isinstance(part, str))
                if names in seen:
                    continue
                seen.add(names)
                try:
                    body = with_value(row["body"], path, value)
                    if row.get("via") == "manychat":
                        events: Sequence[Event] = [external_request.message_of(body, default_account=ACCOUNT, **about)]
                    else:
                        events = normalise(body, **about)
                except (BadBody, external_request.InvalidContactData):
                    continue
                found |= {event.id: event for event in events}
    return found


def of_an_old_door() -> MessageReceived:
    """What a door before the bounds let in; it may still lie in the log."""
    data = Message(account_id=ACCOUNT, contact_id="41", mid="old", text="hi", subscriber_id="9" * 30)
    return MessageReceived(
        id=f"{ACCOUNT}:msg:old",
        source="/test",
        subject=f"{ACCOUNT}:41",
        time=datetime.now(UTC),
        partitionkey=f"{ACCOUNT}:41",
        data=data,
    )


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    """Run a service and wait until it is ready."""
    async with (
        app.lifespan(),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client,
    ):
        async with asyncio.timeout(SECONDS):
            while (await client.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        yield client


async def figure(client: httpx2.AsyncClient, name: str) -> float:
    """The sum of a metric's values for the interactions' topic."""
    text = (await client.get("/metrics")).text
    return sum(float(value) for value in re.findall(rf'^{name}{{topic="{INTERACTIONS}"}} (\S+)$', text, re.MULTILINE))


async def nothing_dies(client: httpx2.AsyncClient, kafka: EmbeddedKafka, events: Sequence[Event]) -> None:
    """Publish the events and wait until the service has handled every one of them."""
    broker = kafka_broker(KafkaSettings(bootstrap_servers=kafka.bootstrap), client_id="test")
    await broker.start()
    try:
        for start in range(0, len(events), 200):
            await publish(broker, events[start : start + 200], timeout=30)
    finally:
        await broker.stop()
    async with asyncio.timeout(SECONDS):
        while (
            done := await figure(client, "kafka_records_handled_total")
            + (dead := await figure(client, "kafka_dead_letters_total"))
        ) < len(events) and not dead:
            await asyncio.sleep(0.1)
    assert dead == 0
    assert done >= len(events)


async def test_what_the_doors_let_in_is_stored(kafka: EmbeddedKafka, mongo_url: str) -> None:
    shared: dict[str, Any] = {
        "environment": "development",
        "bootstrap_servers": kafka.bootstrap,
        "mongodb_url": SecretStr(mongo_url),
        "encryption_keys": (SecretStr("k" * 32),),
        "account_id": ACCOUNT,
        "access_token": SecretStr("token"),
    }
    events = [of_an_old_door(), *let_in().values()]
    assert len(events) > 100
    with running_sandbox(SandboxSettings(port=0, account_id=ACCOUNT, igsid_field_id="5")) as sandbox:
        settings = delivery.settings.Settings(
            jwt_secrets=(SecretStr("a secret of the right length for HS256"),),
            manychat_url=f"{sandbox}/manychat",
            manychat_api_key=SecretStr(f"{ACCOUNT}:key"),
            manychat_igsid_field=5,
            graph_url=f"{sandbox}/graph/v25.0",
            **shared,
        )
        async with running(delivery.app.create_app(settings)) as client:
            await nothing_dies(client, kafka, events)
