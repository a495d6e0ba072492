"""A build without one of its mechanisms is caught: each sabotage breaks a promise that the same attack leaves whole.

Each attack is aimed at what one mechanism is there for, and is carried out twice: on services as they are, and on
services that lack the mechanism (`common.failpoints.SABOTAGES`). One stack serves all; every attack has customers of
its own, and the oracle looks at them alone.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count

import httpx2
import pytest
from customers import NO_SUBSCRIBER_EVERY, Customers
from director import GRACE_SECONDS, SETTINGS
from evidence import KafkaEvidence, gather, read_journal, taken
from history import Taken
from oracle import Verdict, judge
from pymongo import AsyncMongoClient
from steps import (
    Say,
    Webhook,
)

from common.failpoints import SABOTAGES
from common.mongo import DELIVERIES
from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(120)]

_conversations = count(1000, NO_SUBSCRIBER_EVERY)


@dataclass
class Attack:
    """A running stack, somebody who writes, and what came of it."""

    stack: Stack
    sandbox: SandboxClient
    customers: Customers
    kafka: KafkaEvidence
    sabotage: str
    changed: set[str] = field(default_factory=set)
    """The services that are not as they were."""

    async def restart(self, service: str, failpoint: str = "") -> None:
        """Start a service with the sabotage armed, if there is one, and with a failpoint, if there is one."""
        if self.stack.processes[service].running:
            await asyncio.to_thread(self.stack.stop_service, service)
        armed = ",".join(filter(None, (self.sabotage, failpoint)))
        (self.changed.add if armed else self.changed.discard)(service)
        settings = {"JAWAB_FAILPOINT": armed} if armed else None
        await asyncio.to_thread(self.stack.start_service, service, settings)

    async def replica(self, service: str) -> str:
        """Add a replica, sabotaged like the first."""
        settings = {"JAWAB_FAILPOINT": self.sabotage} if self.sabotage else None
        return await asyncio.to_thread(partial(self.stack.start_replica, service, settings))

    async def write(self, how_many: int = 1) -> list[Say]:
        """Let so many customers write one message each, and return them when all are acknowledged."""
        said = [Say(next(_conversations), 1) for _ in range(how_many)]
        await asyncio.gather(*(self.again(one) for one in said))
        return said

    async def again(self, say: Say) -> None:
        """Deliver a message's webhook, once more perhaps."""
        await self.customers.deliver(Webhook(0.0, (say,), again=say.tag in self.customers.sent.said))

    async def taken(self) -> list[Taken]:
        """Return what the platforms have taken for these customers."""
        ours = {one.contact for one in self.customers.sent.said.values()}
        return [one for one in taken(await read_journal(self.sandbox)) if one.contact in ours]

    async def until(self, holds: Callable[[], Awaitable[bool]], within: float, what: str) -> None:
        """Wait until something holds."""
        give_up = time.monotonic() + within
        while not await holds():
            assert time.monotonic() < give_up, f"not within {within:g} s: {what}"
            await asyncio.sleep(0.05)

    async def rows_in(self, state: str) -> int:
        """Return how many of these customers' replies the ledger has in a state."""
        ours = [one.contact for one in self.customers.sent.said.values()]
        async with AsyncMongoClient(self.stack.mongo.url) as client:
            ledger = client.get_default_database()[DELIVERIES]
            return await ledger.count_documents({"state": state, "contact_id": {"$in": ours}})

    async def rest(self, within: float = 40.0) -> None:
        """Wait until everything is committed."""
        quiet = 0

        async def is_quiet() -> bool:
            nonlocal quiet
            quiet = 0 if (await self.kafka.backlog()).waiting else quiet + 1
            return quiet >= 5

        await self.until(is_quiet, within, "all records committed")

    async def verdict(self) -> Verdict:
        """Judge what came of it."""
        history = await gather(
            self.customers.sent,
            self.kafka,
            self.sandbox,
            self.stack.mongo.url,
            self.stack.home,
            grace=GRACE_SECONDS,
        )
        return judge(history.about(frozenset(one.contact for one in history.said)))


@pytest.fixture(scope="module")
def stack(tmp_path_factory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("sabotage"), settings=SETTINGS) as running:
        yield running


@pytest.fixture
async def attack(request, stack: Stack) -> AsyncIterator[Attack]:
    """An attack on the stack, sabotaged or not; afterwards the services are whole again."""
    environment = stack.environment()
    async with httpx2.AsyncClient(trust_env=False) as client:
        sandbox = SandboxClient(stack.url("sandbox"), client)
        customers = Customers(
            Simulator(seed=request.node.nodeid, account=environment["INSTAGRAM_PAGE_ID"]),
            sandbox,
            client,
            url=f"{stack.url('ingest')}/webhooks/instagram",
            secret=environment["META_APP_SECRET"],
            counts=Counter(),
            still=lambda: True,
        )
        await sandbox.reset()
        await customers.script()
        attack = Attack(stack, sandbox, customers, KafkaEvidence(stack.kafka.direct_bootstrap), request.param)
        yield attack
        await sandbox.reset()
        await sandbox.behave(echoes=True, model_latency_seconds=0.0)
        attack.sabotage = ""
        replicas = [name for name in stack.names() if "-" in name]
        await asyncio.gather(*(asyncio.to_thread(stack.remove, name) for name in replicas))
        await asyncio.gather(*(attack.restart(name) for name in list(attack.changed)))


def both(sabotage: str):
    """Carry an attack out on services as they are, and on services without a mechanism."""
    assert sabotage in SABOTAGES
    return pytest.mark.parametrize("attack", ["", sabotage], ids=["whole", "sabotaged"], indirect=True)


@both("sabotage.attempting_after_call")
async def test_a_death_between_the_call_and_the_ledger_doubles_a_reply_that_was_not_announced(attack):
    await attack.sandbox.behave(echoes=False)
    await attack.restart("delivery", "delivery.after_http_before_ledger=1")
    await attack.write()
    await asyncio.to_thread(attack.stack.wait_ended, "delivery", 20.0)
    await attack.restart("delivery")
    await attack.rest()
    verdict = await attack.verdict()
    assert bool(verdict.broken("twice")) == bool(attack.sabotage)
    assert verdict.held != bool(attack.sabotage)


@both("sabotage.eager_commit")
async def test_a_death_with_records_in_hand_loses_what_was_committed_too_early(attack):
    if attack.sabotage:
        await attack.restart("ai")
    await attack.sandbox.behave(model_latency_seconds=3.0)
    said = await attack.write(12)
    asked = [f"#c{one.conversation}m1" for one in said]

    async def all_asked() -> bool:
        texts = [entry["text"] for entry in await read_journal(attack.sandbox) if entry["api"] == "openai"]
        return all(any(tag in text for text in texts) for tag in asked)

    await attack.until(all_asked, 15.0, "the model is asked about every message")
    await asyncio.sleep(
        1.0
    )  # several times as long as commits are apart: nothing to look at shows one that is not made
    await asyncio.to_thread(attack.stack.kill, "ai")
    await attack.sandbox.behave(model_latency_seconds=0.0)
    await attack.restart("ai")
    await attack.rest()
    verdict = await attack.verdict()
    assert bool(verdict.broken("lost")) == bool(attack.sabotage)
    assert bool(verdict.broken("committed_past")) == bool(attack.sabotage)
    assert verdict.held != bool(attack.sabotage)


@both("sabotage.no_fence")
async def test_an_overtaken_owner_writes_over_what_its_successor_did_where_no_fence_stops_it(attack):
    """It learns after its sleep that its own call was refused, and takes back what its successor has done by then."""
    if attack.sabotage:
        await attack.restart("delivery")
    await attack.sandbox.add_fault(api="manychat", behaviour="rate_limited", kind="sendContent", seconds=2.0, times=1)
    (said,) = await attack.write()
    await attack.until(lambda: _is(attack.rows_in("attempting"), 1), 15.0, "a reply is announced")
    await asyncio.to_thread(attack.stack.freeze, "delivery")
    successor = await attack.replica("delivery")
    await attack.until(lambda: _is(attack.rows_in("delivered"), 1), 40.0, f"{successor} takes over and delivers")
    await attack.rest()
    await asyncio.to_thread(attack.stack.thaw, "delivery")
    await attack.rest()
    await attack.again(said)
    await attack.rest()
    verdict = await attack.verdict()
    assert bool(verdict.broken("twice")) == bool(attack.sabotage)
    assert verdict.held != bool(attack.sabotage)


async def _is(number: Awaitable[int], wanted: int) -> bool:
    return await number == wanted
