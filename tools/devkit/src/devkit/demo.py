"""Plays the scenes against a running stack, shows each as a conversation, and judges what was delivered.

What counts is what the sandbox world recorded as having had an effect, not what Jawab says of itself.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx2
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from devkit.sandbox.client import SandboxClient
from devkit.scenes import Kind, Scene, Webhook
from devkit.signing import serialise, signed_headers
from devkit.updates import body_of
from devkit.webhook_sender import WebhookSender

ANSWERED_WITHIN = 30.0
"""Seconds a scene may take, a killed service's restart included."""
QUIET_WITHIN = 60.0
KINDS: Mapping[tuple[str, str], Kind] = {
    ("manychat", "sendContent"): "message",
    ("graph", "message"): "message",
    ("graph", "private_reply"): "private_reply",
    ("graph", "comment_reply"): "comment_reply",
    ("operator", "notification"): "notification",
}
ROUTE_NAMES = {"manychat": "ManyChat", "graph": "Graph API", "operator": "operator's inbox"}
OK, UNAUTHORISED = 200, 401


@dataclass(frozen=True)
class Delivery:
    """One effect in the outside world: what reached whom, by which route, when (seconds since 1970)."""

    contact: str
    kind: Kind
    route: str
    text: str
    at: float


@dataclass
class Played:
    """What became of one scene."""

    scene: Scene
    sent_at: float = 0.0
    statuses: list[int] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)


def deliveries_in(entries: Sequence[Mapping[str, Any]]) -> list[Delivery]:
    """Return what the journal's entries delivered to somebody."""
    return [
        Delivery(entry["contact"], kind, entry["api"], entry["text"], entry["time"])
        for entry in entries
        if entry["effect"] and (kind := KINDS.get((entry["api"], entry["kind"]))) is not None
    ]


def problems(played: Played) -> list[str]:
    """Say in a line each what a scene's people should have got and did not, or got and should not have."""
    found = []
    wanted = [UNAUTHORISED if w.forged else OK for w in played.scene.webhooks for _ in range(w.times)]
    if played.statuses != wanted:
        found.append(f"{played.scene.title}: webhooks were answered {played.statuses}, expected {wanted}")
    got = Counter((delivery.contact, delivery.kind) for delivery in played.deliveries)
    for contact, kind in sorted({*got, *played.scene.expected}):
        want, have = played.scene.expected[contact, kind], got[contact, kind]
        if want != have:
            found.append(f"{played.scene.title}: {have} × {kind} delivered, expected {want}")
    return found


class Demo:
    """Plays scenes one after another over real HTTP."""

    def __init__(self, *, ingest: str, sandbox: str, secret: str, console: Console) -> None:
        self._ingest = ingest
        self._sandbox_url = sandbox
        self._secret = secret
        self._console = console
        self._seen = 0
        self._deliveries: list[Delivery] = []

    async def play(self, scenes: Sequence[Scene]) -> tuple[list[Played], list[str]]:
        """Play every scene, then wait until all is quiet; return what happened and what was wrong with it."""
        self._console.print("[dim]The model's answers come from a stand-in that knows a few phrases.[/dim]")
        async with httpx2.AsyncClient(trust_env=False) as client:
            sandbox = SandboxClient(self._sandbox_url, client)
            played = [await self._play_one(client, sandbox, scene) for scene in scenes]
            quiet = await self._wait_until_quiet(client)
            await self._read(sandbox, wait=0)
        wrong = [] if quiet else [f"Jawab was not done within {QUIET_WITHIN:g} s"]
        for one in played:
            one.deliveries = self._of(one.scene)
            wrong += problems(one)
        return played, wrong

    async def _play_one(self, client: httpx2.AsyncClient, sandbox: SandboxClient, scene: Scene) -> Played:
        played = Played(scene)
        self._console.print()
        self._console.rule(Text(scene.title, style="bold"), align="left", style="dim")
        updates = [update for webhook in scene.webhooks for update in webhook.updates]
        await sandbox.webhook(*updates, deliver=False)
        for update in updates:
            self._console.print(Text.assemble(("  customer  ", "cyan"), scene.says.get(update.id, update.kind)))
        played.sent_at = time.time()
        for webhook in scene.webhooks:
            played.statuses += await asyncio.gather(*(self._post(client, webhook) for _ in range(webhook.times)))
        shown = 0
        deadline = time.monotonic() + ANSWERED_WITHIN
        while True:
            deliveries = self._of(scene)
            for delivery in deliveries[shown:]:
                self._show(delivery, played.sent_at)
            shown = len(deliveries)
            if shown >= scene.expected.total() or time.monotonic() > deadline:
                break
            await self._read(sandbox, wait=1.0)
        self._conclude(played, shown)
        return played

    async def _post(self, client: httpx2.AsyncClient, webhook: Webhook) -> int:
        url = f"{self._ingest}/webhooks/instagram"
        sender = WebhookSender(url, self._secret, client)
        deadline = time.monotonic() + ANSWERED_WITHIN
        while True:
            try:
                if not webhook.forged:
                    status = await sender.send(*webhook.updates)
                else:
                    raw = serialise(body_of(*webhook.updates))
                    status = await sender.send_bytes(raw, headers=signed_headers(raw, "a guessed secret"))
            except httpx2.TransportError:
                status = 0
            # Meta delivers again until it gets an answer; so does the demo, should a service be down just then.
            if status in {OK, UNAUTHORISED} or time.monotonic() > deadline:
                return status
            await asyncio.sleep(0.5)

    async def _read(self, sandbox: SandboxClient, *, wait: float) -> None:
        while True:
            told = await sandbox.journal(self._seen, wait=wait)
            self._seen = told["next"]
            self._deliveries += deliveries_in(told["entries"])
            if self._seen >= told["last"]:
                return

    def _of(self, scene: Scene) -> list[Delivery]:
        people = set(scene.contacts)
        return [delivery for delivery in self._deliveries if delivery.contact in people]

    def _show(self, delivery: Delivery, sent_at: float) -> None:
        who = {"notification": ("  to staff  ", "yellow")}.get(delivery.kind, ("  Jawab     ", "green"))
        about = f"  ({delivery.kind.replace('_', ' ')}, {ROUTE_NAMES[delivery.route]}, "
        about += f"{(delivery.at - sent_at) * 1000:.0f} ms)"
        self._console.print(Text.assemble(who, delivery.text, (about, "dim")))

    def _conclude(self, played: Played, shown: int) -> None:
        if any(webhook.forged for webhook in played.scene.webhooks):
            self._console.print(f"  [dim]refused with status {played.statuses[0]}, nothing was answered[/dim]")
        elif len(played.statuses) > 1:
            statuses = escape(str(played.statuses))
            self._console.print(f"  [dim]{len(played.statuses)} deliveries of the webhook answered {statuses}[/dim]")
        if shown < played.scene.expected.total():
            self._console.print(f"  [red]not answered within {ANSWERED_WITHIN:g} s[/red]")

    async def _wait_until_quiet(self, client: httpx2.AsyncClient) -> bool:
        """Wait until no stage has anything waiting or in progress: a second copy would have been sent by then."""
        deadline = time.monotonic() + QUIET_WITHIN
        calm = 0
        while time.monotonic() < deadline:
            try:
                response = await client.get(f"{self._ingest}/api/queue/stats", timeout=5.0)
                stages = response.json()["stages"] if response.status_code == OK else None
            except httpx2.TransportError:
                stages = None
            busy = stages is None or any(stage["waiting"] + stage["in_progress"] for stage in stages.values())
            calm = 0 if busy else calm + 1
            if calm > 1:
                return True
            await asyncio.sleep(0.25)
        return False
