"""Fifty merchants at once, a canary in every token, key, prompt and message: none is seen where it should not be.

A wire tap stands between the services and the outside APIs and keeps each request whole, headers too.
"""

import asyncio
import base64
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from pymongo import MongoClient

from common.events.interactions import INTERACTIONS
from common.kafka.topics import TOPICS
from common.merchants import Merchant, Rule, Then, When
from common.mongo import MERCHANTS
from common.sealing import Sealer
from delivery.api.tokens import issue_token
from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack
from devkit.webhook_sender import WebhookSender

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]

MERCHANT_COUNT = 50
CANARY = re.compile(r"canary(\d\d)(token|mckey|persona|facts|rule|message|hook|api)")
NOWHERE_STORED = {"token", "mckey"}
APIS = ("graph", "manychat", "openai")
UNREADABLE = 3
"""Every so many merchants one record of theirs cannot be read."""


def canary(number: int, what: str) -> str:
    """Return what stands for merchant `number`'s secret or words."""
    return f"canary{number:02d}{what}"


def found(text: str) -> set[tuple[int, str]]:
    """Return the canaries in a text, whose and of what."""
    return {(int(number), what) for number, what in CANARY.findall(text)}


def account(number: int) -> str:
    """Return merchant `number`'s Instagram account."""
    return f"1784{number:013d}"


class WireTap:
    """Hands requests on to the sandbox and keeps them."""

    def __init__(self, target: str) -> None:
        self.heard: list[str] = []
        tap = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                tap.heard.append(f"{self.path}\n{headers}\n{body.decode()}")
                answer = tap.client.request(self.command, target + self.path, content=body, headers=headers, timeout=30)
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() in {"content-type", "retry-after"}:
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_DELETE = do_any  # noqa: N815 the standard library's names

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

        self.client = httpx2.Client(trust_env=False)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="wire tap")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self.client.close()


@dataclass
class Scene:
    """The stack, what was heard on its wires, and everything the services answered."""

    stack: Stack
    taps: dict[str, WireTap]
    answers: list[str] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return self.stack.environment()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    stack = Stack(tmp_path_factory.mktemp("apart"))
    sandbox = stack.url("sandbox")
    with WireTap(sandbox) as graph, WireTap(sandbox) as manychat, WireTap(sandbox) as openai:
        tapped = Stack(
            stack.home,
            ports=stack.ports,
            settings={
                "INSTAGRAM_GRAPH_URL": f"{graph.url}/graph/v25.0",
                "MANYCHAT_BASE_URL": f"{manychat.url}/manychat",
                "OPENAI_BASE_URL": f"{openai.url}/v1",
            },
            sandbox={"SANDBOX_JOURNAL_LIMIT": "50000"},
        )
        with tapped:
            yield Scene(tapped, {"graph": graph, "manychat": manychat, "openai": openai})


def merchant(number: int, sealer: Sealer, operator: str) -> Merchant:
    """Return merchant `number`: the even ones send through ManyChat first, every seventh has a rule that is broken."""
    return Merchant(
        id=f"shop-{number:02d}",
        name=f"Shop {number}",
        account_id=account(number),
        access_token=sealer.seal(f"EAA{canary(number, 'token')}", account(number), "access_token"),
        manychat_api_key=(
            sealer.seal(f"{account(number)}:{canary(number, 'mckey')}", account(number), "manychat_api_key")
            if number % 2 == 0
            else None
        ),
        manychat_igsid_field=1 if number % 2 == 0 else None,
        persona=f"a seller who signs with {canary(number, 'persona')}",
        facts=f"Open daily. {canary(number, 'facts')}.",
        operator_webhook=f"{operator}?of={canary(number, 'hook')}",
        rules=(
            Rule(
                name="broken",
                when=When(channel="direct_message", match="regex", values=("(" if number % 7 == 0 else "^never$",)),
                then=Then(reply={"en": "x"}),
            ),
            Rule(
                name="price",
                when=When(channel="direct_message", match="contains", values=("price",)),
                then=Then(reply={"en": f"It is 10. {canary(number, 'rule')}"}),
            ),
            Rule(
                name="thanks",
                when=When(channel="comment", match="contains", values=("price",)),
                then=Then(
                    reply={"en": f"See your messages. {canary(number, 'rule')}"},
                    private_reply={"en": f"It is 10 here. {canary(number, 'rule')}"},
                ),
            ),
            Rule(
                name="angry",
                when=When(channel="direct_message", match="contains", values=("complaint",)),
                then=Then(reply={"en": f"Sorry. {canary(number, 'rule')}"}, alert="complaint"),
            ),
        ),
    )


async def test_nothing_of_one_of_fifty_merchants_is_seen_where_it_should_not_be(scene: Scene):
    numbers = range(MERCHANT_COUNT)
    environment = scene.environment
    sealer = Sealer([environment["ENCRYPTION_KEY"]])
    merchants = [merchant(number, sealer, environment["OPERATOR_WEBHOOK_URL"]) for number in numbers]
    with MongoClient(environment["MONGODB_URL"]) as client:
        client.get_default_database()[MERCHANTS].insert_many([one.to_document() for one in merchants])
    async with httpx2.AsyncClient(trust_env=False) as http:
        sandbox = SandboxClient(scene.stack.url("sandbox"), http)
        for number in numbers:
            await sandbox.tell_account(
                account(number), page_id=account(number), tokens=[f"EAA{canary(number, 'token')}"]
            )
        await _everything_happens(scene, http, sandbox)
        await _settled(scene, http)
        surfaces = await _surfaces(scene, http)
        journal = [entry async for entry in sandbox.whole_journal(bodies=True)]
    stored = _stored(environment)
    records = await _records(environment)

    for where in (json.dumps(journal), json.dumps(stored, default=str), "".join(value for _, value in records)):
        assert {number for number, what in found(where) if what == "message"} == set(numbers), "everybody was heard"
    for name, text in surfaces.items():
        assert found(text) == set(), name
    _wires_are_apart(scene, journal)
    for document in stored:
        _is_one_merchants(json.dumps(document, default=str), f"a document of {document['collection']}")
    for topic, value in records:
        _is_one_merchants(value, f"a record of {topic}")


def _is_one_merchants(text: str, where: str) -> None:
    canaries = found(text)
    assert len({number for number, _ in canaries}) <= 1, (where, canaries)
    assert not {what for _, what in canaries} & NOWHERE_STORED, (where, canaries)


def _wires_are_apart(scene: Scene, journal: list[dict[str, Any]]) -> None:
    allowed = {
        "graph": {"token", "rule", "message", "api", "persona", "facts"},
        "manychat": {"mckey", "rule", "message", "api", "persona", "facts"},
        "openai": {"persona", "facts", "message", "rule"},
    }
    for api, tap in scene.taps.items():
        assert tap.heard, f"nothing was heard of {api}"
        for request in tap.heard:
            canaries = found(request)
            assert len({number for number, _ in canaries}) <= 1, (api, canaries)
            assert {what for _, what in canaries} <= allowed[api], (api, canaries)
            for number, _ in canaries:
                accounts = {int(digits) for digits in re.findall(r"\b1784(\d{13})\b", request)}
                assert accounts <= {number}, (api, number, accounts)
    for entry in journal:
        if entry["api"] == "operator":
            _is_one_merchants(json.dumps(entry), "a notification")


async def _everything_happens(scene: Scene, http: httpx2.AsyncClient, sandbox: SandboxClient) -> None:
    """Let customers of all merchants write, interleaved, and let much of it go wrong."""
    door = WebhookSender(f"{scene.stack.url('ingest')}/webhooks/instagram", scene.environment["META_APP_SECRET"], http)
    for api, behaviour in (("graph", "server_error"), ("openai", "server_error"), ("graph", "rate_limited")):
        await sandbox.add_fault(api=api, behaviour=behaviour, probability=0.1, times=15)

    async def customers_of(number: int) -> None:
        simulator = Simulator(seed=f"apart-{number}", account=account(number))
        said = canary(number, "message")
        chatty, buyer, angry = simulator.contact(), simulator.contact(), simulator.contact()
        updates = [
            simulator.text(chatty, f"Do you have blue shoes? {said}"),
            simulator.text(buyer, f"What is the price? {said}"),
            simulator.comment(simulator.contact(), f"price please {said}"),
            simulator.text(angry, f"I have a complaint! {said}"),
            simulator.story_reply(chatty, f"And this one? {said}"),
            simulator.echo(buyer, f"I am the owner. {said}"),
        ]
        for update in updates:
            await sandbox.webhook(update, deliver=False)
            assert await door.send(update) == 200
        await _programs_and_strangers(scene, http, number, buyer)

    async with asyncio.TaskGroup() as group:
        for number in range(MERCHANT_COUNT):
            group.create_task(customers_of(number))
    await _unreadable_records(scene.environment)


async def _programs_and_strangers(scene: Scene, http: httpx2.AsyncClient, number: int, contact: str) -> None:
    """Use the HTTP APIs as a merchant's programs do, well and badly, and try the webhook with a forged signature."""
    from datetime import UTC, datetime

    ingest, delivery = scene.stack.url("ingest"), scene.stack.url("delivery")
    said, others = canary(number, "api"), f"shop-{(number + 1) % MERCHANT_COUNT:02d}"
    token = issue_token(scene.environment["JWT_SECRET"], merchant=f"shop-{number:02d}", now=datetime.now(UTC))
    mine = {"authorization": f"Bearer {token}"}
    url = f"{delivery}/api/utility-messages/shop-{number:02d}/send"
    for headers, address, body in (
        (mine, url, {"recipientId": contact, "message": f"On its way. {said}"}),
        (mine, url, {"recipientId": said, "message": said}),
        (mine, url, {"recipientId": contact, "message": said, "messageTag": "HUMAN_AGENT"}),
        (mine, url, {"recipientId": contact, "message": {"text": said}, "extra": said}),
        (mine, f"{delivery}/api/utility-messages/{others}/send", {"recipientId": contact, "message": said}),
        ({"authorization": f"Bearer {said}"}, url, {"recipientId": contact, "message": said}),
    ):
        answer = await http.post(address, json=body, headers=headers, timeout=30)
        scene.answers.append(answer.text)
    forged = {"x-hub-signature-256": "sha256=" + "0" * 64, "content-type": "application/json"}
    for address, headers in (
        (f"{ingest}/webhooks/instagram", forged),
        (f"{ingest}/webhooks/instagram", {"content-type": "application/json", "x-hub-signature-256": said}),
        (f"{ingest}/webhooks/manychat", {"content-type": "application/json", "x-jawab-secret": said}),
    ):
        answer = await http.post(address, content=json.dumps({"entry": said}), headers=headers, timeout=30)
        assert answer.status_code in {401, 403, 429}
        scene.answers.append(answer.text)


async def _unreadable_records(environment: dict[str, str]) -> None:
    """Put records that cannot be read into conversations of some merchants."""
    producer = AIOKafkaProducer(bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"])
    await producer.start()
    try:
        for number in range(0, MERCHANT_COUNT, UNREADABLE):
            broken = json.dumps({"type": "nonsense", "text": canary(number, "message")})[:-1]
            await producer.send_and_wait(INTERACTIONS, broken.encode(), key=f"{account(number)}:1".encode())
    finally:
        await producer.stop()


async def _settled(scene: Scene, http: httpx2.AsyncClient) -> None:
    """Wait until nothing is waiting or in progress in any stage."""
    calm = 0
    async with asyncio.timeout(150):
        while calm < 3:
            response = await http.get(f"{scene.stack.url('ingest')}/api/queue/stats", timeout=10)
            stages = response.json()["stages"].values() if response.status_code == 200 else [{"waiting": 1}]
            calm = 0 if any(stage.get("waiting") or stage.get("in_progress") for stage in stages) else calm + 1
            await asyncio.sleep(0.25)


async def _surfaces(scene: Scene, http: httpx2.AsyncClient) -> dict[str, str]:
    """Return the text of everything that an operator, Prometheus or a caller gets to see of the services."""
    surfaces = {"answers": "\n".join(scene.answers)}
    for name in scene.stack.names():
        for path in ("/metrics", "/health", "/readyz"):
            surfaces[f"{name} {path}"] = (await http.get(scene.stack.url(name) + path, timeout=10)).text
        surfaces[f"{name} log"] = (scene.stack.home / f"{name}.log").read_text()
        assert surfaces[f"{name} log"], name
    for path in ("/api/queue/stats", "/api/queue/health", "/api/instagram/webhook-info"):
        surfaces[path] = (await http.get(scene.stack.url("ingest") + path, timeout=10)).text
    return surfaces


def _stored(environment: dict[str, str]) -> list[dict[str, Any]]:
    """Return every document of the database with its collection's name, binary values as text."""
    with MongoClient(environment["MONGODB_URL"]) as client:
        db = client.get_default_database()
        return [
            {"collection": name, **document} for name in db.list_collection_names() for document in db[name].find({})
        ]


async def _records(environment: dict[str, str]) -> list[tuple[str, str]]:
    """Return every record of every topic: its topic, and its value, key and headers as text."""
    consumer = AIOKafkaConsumer(
        *(topic.name for topic in TOPICS),
        bootstrap_servers=environment["KAFKA_BOOTSTRAP_SERVERS"],
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    records = []
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                for record in batch:
                    headers = " ".join(f"{name}={value.decode(errors='replace')}" for name, value in record.headers)
                    value = (record.value or b"").decode(errors="replace")
                    records.append((record.topic, f"{record.key!r} {headers} {value} {_unpacked(value)}"))
    finally:
        await consumer.stop()
    return records


def _unpacked(value: str) -> str:
    """Return what base64 in a record hides."""
    return " ".join(
        base64.b64decode(piece + "=" * (-len(piece) % 4)).decode(errors="replace")
        for piece in re.findall(r"\b[A-Za-z0-9+/]{40,}\b", value)
        if len(piece) % 4 != 1
    )
