"""One whole system for the end-to-end tests: real servers, real processes, on free ports."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx2
import pytest

from devkit.demo import Delivery, deliveries_in
from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack
from devkit.updates import Update
from devkit.webhook_sender import WebhookSender


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Kafka, MongoDB, the sandbox world and the four services, started once."""
    with Stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def simulator(request: pytest.FixtureRequest, stack: Stack) -> Simulator:
    """Builders of webhooks for the merchant's account; every test has people of its own."""
    return Simulator(seed=request.node.nodeid, account=stack.environment()["INSTAGRAM_PAGE_ID"])


@dataclass
class Outside:
    """The outside world: sends webhooks, and knows what was delivered to whom."""

    stack: Stack
    client: httpx2.AsyncClient
    sandbox: SandboxClient
    sender: WebhookSender

    async def send(self, *updates: Update) -> int:
        """Deliver one signed webhook, again until ingest answers, as Meta does; return the status."""
        await self.sandbox.webhook(*updates, deliver=False)
        for _ in range(240):
            try:
                if (status := await self.sender.send(*updates)) != 503:
                    return status
            except httpx2.TransportError:
                pass
            await self.pause(0.25)
        return 503

    async def deliveries(self, *contacts: str) -> list[Delivery]:
        """Return what reached these people so far, in the order in which it did."""
        found: list[Delivery] = []
        seen = 0
        while True:
            told = await self.sandbox.journal(seen)
            found += [d for d in deliveries_in(told["entries"]) if d.contact in contacts]
            if told["next"] >= told["last"]:
                return found
            seen = told["next"]

    async def reached(self, *contacts: str, within: float = 60.0) -> None:
        """Wait until something reached each of these customers, then until nothing is under way.

        For what delivery looks up before it publishes: no stage of the queue counts what it observes.
        """
        for _ in range(int(within / 0.25)):
            found = {delivery.contact for delivery in await self.deliveries(*contacts)}
            if found >= set(contacts):
                return await self.settled()
            await self.pause(0.25)
        pytest.fail(f"nothing reached {set(contacts) - found} within {within:g} s")

    async def settled(self, within: float = 90.0) -> None:
        """Wait until nothing is waiting or in progress in any stage."""
        calm = 0
        for _ in range(int(within / 0.25)):
            try:
                response = await self.client.get(f"{self.stack.url('ingest')}/api/queue/stats", timeout=5)
                stages = response.json()["stages"].values() if response.status_code == 200 else [{"waiting": 1}]
            except httpx2.TransportError:
                stages = [{"waiting": 1}]
            calm = 0 if any(s.get("waiting") or s.get("in_progress") for s in stages) else calm + 1
            if calm >= 3:
                return
            await self.pause(0.25)
        pytest.fail(f"not settled within {within:g} s: {list(stages)}")

    @staticmethod
    async def pause(seconds: float) -> None:
        """Leave a little time between two looks at a condition."""
        await asyncio.sleep(seconds)


@pytest.fixture
async def outside(stack: Stack) -> AsyncIterator[Outside]:
    """The outside world around the stack."""
    async with httpx2.AsyncClient(trust_env=False) as client:
        secret = stack.environment()["META_APP_SECRET"]
        yield Outside(
            stack,
            client,
            SandboxClient(stack.url("sandbox"), client),
            WebhookSender(f"{stack.url('ingest')}/webhooks/instagram", secret, client),
        )
