"""What ingest's tests share: settings, a fake Kafka that can go away, and a client of the whole app."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from litestar.testing import AsyncTestClient

from common.clock import ManualClock
from common.events import Event
from common.health import Unhealthy
from ingest.app import create_app
from ingest.publishing import NotPublished
from ingest.settings import Settings
from ingest.stages import Stage

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
SECRET = "first-app-secret-of-the-tests"
OLD_SECRET = "second-app-secret-of-the-tests"
VERIFY_TOKEN = "verify-token-of-the-tests"
MANYCHAT_SECRET = "manychat-secret-of-the-tests-01234"
ACCOUNT = "17841466000000001"
WEBHOOK = "/webhooks/instagram"


class FakePublisher:
    """Keeps what is published, unless it is told to be away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False

    async def publish(self, events: Sequence[Event]) -> None:
        """Append as Kafka does: through each event's own JSON."""
        if self.away:
            raise NotPublished("away")
        self.events += [type(event).from_json(event.to_json()) for event in events]

    async def check(self) -> None:
        """Fail while away."""
        if self.away:
            raise Unhealthy("Kafka is away", "start it")

    def types(self) -> list[str]:
        """The types of what was published, without prefix."""
        return [event.type.removeprefix("com.jawab.") for event in self.events]


class FakeBacklog:
    """Says what the test wants the stages to be."""

    def __init__(self) -> None:
        self.said: dict[str, Stage] = {
            name: Stage(0, 0, 0, 0, 0.0) for name in ("ai-response", "message-delivery", "cleanup")
        }
        self.error: Exception | None = None

    async def stages(self, *, published: int) -> dict[str, Stage]:
        """Return or raise."""
        if self.error:
            raise self.error
        return self.said

    async def close(self) -> None:
        """Nothing is held."""


def sign(raw: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a webhook signed with `secret`."""
    return {"X-Hub-Signature-256": "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}


class World:
    """The app with everything around it, and a hand to write webhooks with."""

    now = NOW
    now_ms = int(NOW.timestamp() * 1000)
    account = ACCOUNT
    secret = SECRET
    old_secret = OLD_SECRET
    verify_token = VERIFY_TOKEN
    manychat_secret = MANYCHAT_SECRET
    sign = staticmethod(sign)

    def __init__(self, client: AsyncTestClient[Any], publisher: FakePublisher, backlog: FakeBacklog) -> None:
        self.client = client
        self.publisher = publisher
        self.backlog = backlog

    def message(self, mid: str = "m-1", text: Any = "شلونكم", sender: Any = "7001", **more: Any) -> dict[str, Any]:
        """Return a messaging item of a customer's text, two seconds old."""
        return {
            "sender": {"id": sender},
            "recipient": {"id": ACCOUNT},
            "timestamp": self.now_ms - 2000,
            "message": {"mid": mid, "text": text, **more},
        }

    def body(self, *items: Any, section: str = "messaging") -> dict[str, Any]:
        """Return a webhook body of one entry."""
        return {"object": "instagram", "entry": [{"id": ACCOUNT, "time": self.now_ms, section: [*items]}]}

    async def send(self, body: Any, *, path: str = WEBHOOK, headers: dict[str, str] | None = None) -> Any:
        """Post a webhook, signed unless `headers` say otherwise: bytes as they are, anything else as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return await self.client.post(path, content=raw, headers=sign(raw) if headers is None else headers)

    async def post_in_chunks(
        self, chunks: Sequence[bytes | None], headers: dict[str, str], *, path: str = WEBHOOK
    ) -> tuple[int, dict[str, Any]]:
        """Post as a server hands it on, chunk by chunk; None is the sender hanging up, the end of the list silence."""
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
            "client": ("192.0.2.1", 4711),
            "server": ("testserver", 80),
            "state": {},
        }
        waiting = list(chunks)
        sent: list[Any] = []

        async def receive() -> Any:
            if not waiting:
                await asyncio.Event().wait()
            chunk = waiting.pop(0)
            if chunk is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunk, "more_body": chunk != b""}

        async def send(event: Any) -> None:
            sent.append(event)

        await self.client.app(scope, receive, send)
        body = b"".join(event.get("body", b"") for event in sent)
        return sent[0]["status"], json.loads(body)

    async def metric(self, line: str) -> float:
        """Return the value of one line of /metrics, 0 when it is not there."""
        lines = (await self.client.get("/metrics")).text.splitlines()
        return next((float(found.rsplit(" ", 1)[1]) for found in lines if found.startswith(line + " ")), 0.0)


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """The settings of `world`; `@pytest.mark.parametrize("settings", [{...}], indirect=True)` changes some."""
    values: dict[str, Any] = {
        "environment": "development",
        "meta_app_secrets": SECRET,
        "ig_app_secrets": OLD_SECRET,
        "verify_token": VERIFY_TOKEN,
        "account_id": ACCOUNT,
        "manychat_secrets": MANYCHAT_SECRET,
        "public_url": "http://localhost:8000/",
        "privacy_status_url": "https://jawab.example/privacy/",
    }
    return Settings(**(values | getattr(request, "param", {})))


@pytest.fixture
def clock() -> ManualClock:
    """The app's clock, standing at NOW."""
    return ManualClock(NOW)


@pytest.fixture
async def world(settings: Settings, clock: ManualClock) -> AsyncIterator[World]:
    """The app at NOW, with a fake Kafka."""
    publisher, backlog = FakePublisher(), FakeBacklog()
    app = create_app(settings, publisher=publisher, backlog=backlog, clock=clock)
    async with AsyncTestClient(app) as client:
        yield World(client, publisher, backlog)
