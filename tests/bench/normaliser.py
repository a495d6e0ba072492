"""How fast ingest takes webhooks apart, and how much of its time for a webhook that is.

All figures are process time of one core, over the bodies of the catalogue (docs/events.md) in turn, medians of rounds.
The whole of ingest's time is measured through its real ASGI app, in process: routing, reading the body, the signature,
JSON, normalising, metrics, the answer, and each event as the bytes of its record. Left out: uvicorn parsing HTTP,
and the append to Kafka. The parts are timed one by one with what the app calls.

    python tests/bench/normaliser.py          # this alone, no Kafka needed, ten seconds
    python tests/bench/keyed.py normaliser    # the same as a part of `make bench`
"""

import asyncio
import hashlib
import hmac
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rig import Row, run

from common.clock import ManualClock
from common.events import Event
from common.log import configure_logging
from ingest import signature
from ingest.app import create_app
from ingest.body import json_object
from ingest.notifications import normalise
from ingest.settings import Settings
from ingest.size import fitted
from ingest.stages import Stage

CATALOGUE = Path(__file__).parents[2] / "services" / "ingest" / "tests" / "catalogue.json"
NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
SECRET = "a-secret-of-the-bench"
PATH = "/webhooks/instagram"
ROUNDS = 7
ROUND_SECONDS = 0.4
LARGEST_BATCH = 1000

SLOWEST = 5_000.0
"""Events a second: the platform's largest batch then takes a fifth of a second of the five it waits."""


class RecordWriter:
    """Takes the producer's place: writes each event as the bytes of its record, and forgets them."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Serialise, as the codec does."""
        for event in events:
            event.to_json()

    async def check(self) -> None:
        """Be well."""


class NoBacklog:
    """Nobody asks for the stages here."""

    async def stages(self, *, published: int) -> dict[str, Stage]:
        """Return none."""
        return {}

    async def close(self) -> None:
        """Nothing is held."""


def bodies() -> list[dict[str, Any]]:
    """Return the catalogue's webhooks."""
    rows = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return [row["body"] for row in rows if row.get("via") != "manychat"]


def signed(raw: bytes) -> str:
    """Return the signature header of a body."""
    return "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()


def per_pass(work: Callable[[], object]) -> float:
    """Return the process time of one call in seconds, the median of the rounds."""
    rounds = []
    work()
    for _ in range(ROUNDS):
        passes, begun = 0, time.process_time()
        while (spent := time.process_time() - begun) < ROUND_SECONDS:
            work()
            passes += 1
        rounds.append(spent / passes)
    return statistics.median(rounds)


async def post(app: Any, raw: bytes, header: bytes) -> None:
    """Send one webhook to the app as uvicorn would. Raises AssertionError when it is not accepted."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": PATH,
        "raw_path": PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"content-length", str(len(raw)).encode()), (b"x-hub-signature-256", header)],
        "client": ("192.0.2.1", 4711),
        "server": ("ingest", 80),
        "state": {},
    }
    chunks = [{"type": "http.request", "body": raw, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        return chunks.pop(0) if chunks else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        if "status" in message:
            statuses.append(message["status"])

    await app(scope, receive, send)
    assert statuses == [200]


async def through_the_app(webhooks: Sequence[tuple[bytes, str]]) -> float:
    """Return the process time of one pass over `webhooks` through ingest's app, in seconds."""
    settings = Settings(environment="development", meta_app_secrets=SECRET, verify_token="bench")
    app = create_app(settings, publisher=RecordWriter(), backlog=NoBacklog(), clock=ManualClock(NOW))
    rounds = []
    async with app.lifespan():
        for _ in range(ROUNDS + 1):
            begun = time.process_time()
            for raw, header in webhooks:
                await post(app, raw, header.encode())
            rounds.append(time.process_time() - begun)
    return statistics.median(rounds[1:])


async def measure(_: str = "") -> list[Row]:
    """Return the figures; the address of Kafka that every part is given is not used."""
    parsed = bodies()
    raws = [json.dumps(body, separators=(",", ":")).encode() for body in parsed]
    webhooks = [(raw, signed(raw)) for raw in raws]
    events = [event for body in parsed for event in normalise(body, received_at=NOW)]
    text = next(body for body in parsed if "messaging" in body["entry"][0])
    batch = {**text, "entry": [{**text["entry"][0], "messaging": text["entry"][0]["messaging"] * LARGEST_BATCH}]}

    secrets = (SECRET,)
    parts = {
        "signature": per_pass(lambda: [signature.refusal(header, raw, secrets) for raw, header in webhooks]),
        "JSON": per_pass(lambda: [json_object(raw) for raw in raws]),
        "normalising": per_pass(lambda: [fitted(normalise(b, received_at=NOW), body_bytes=900) for b in parsed]),
        "events to bytes": per_pass(lambda: [event.to_json() for event in events]),
    }
    whole = await through_the_app(webhooks)
    speed = len(events) / parts["normalising"]
    batched = LARGEST_BATCH / per_pass(lambda: normalise(batch, received_at=NOW))
    part = "normaliser"
    rows = [
        Row(part, "the catalogue's events", speed, "/s", f">= {SLOWEST:,.0f}", held=speed >= SLOWEST),
        Row(part, "texts, a thousand to a body", batched, "/s", f">= {SLOWEST:,.0f}", held=batched >= SLOWEST),
        Row(part, "a webhook through ingest's app", whole / len(webhooks) * 1e6, "µs"),
    ]
    rows += [Row(part, f"of that {name}", seconds / whole * 100, "%") for name, seconds in parts.items()]
    rest = 1 - sum(parts.values()) / whole
    return [*rows, Row(part, "of that the HTTP framework and the rest", rest * 100, "%")]


def main() -> int:
    """Print the figures and return the exit code."""
    configure_logging("bench", level="error", format="console")
    rows = run(measure())
    for row in rows:
        Console(highlight=False).print(f"{row.name:42} {row.value:>10,.1f} {row.unit:3} {row.goal}")
    return int(any(row.held is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
