"""A person who answered is never talked over, also by a service that is just stopping and knows of them."""

import asyncio
import time
from collections import Counter

import httpx2
import pytest
from customers import Customers
from director import SETTINGS
from evidence import KafkaEvidence, gather
from oracle import judge
from people import compete
from steps import PersonAnswers, Say, Webhook

from common.events.replies import REPLIES
from devkit.sandbox.client import SandboxClient
from devkit.simulator import Simulator
from devkit.stack import Stack

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(120)]


BOTH_IN_HAND_SECONDS = 8.0
"""Until the woken service has its partitions back, and the reply waits for the person's message to be taken in."""
DRAIN_BEGINS_SECONDS = 0.5


async def until_appended(kafka: KafkaEvidence, topic: str, count: int) -> None:
    """Wait until a topic holds so many records."""
    give_up = time.monotonic() + 20
    while (held := sum(end for (name, _), end in (await kafka.backlog()).ends.items() if name == topic)) < count:
        assert time.monotonic() < give_up, f"{topic} holds {held} records"
        await asyncio.sleep(0.1)


async def until_committed(kafka: KafkaEvidence) -> None:
    """Wait until all that is there is done, a few looks in a row."""
    give_up, calm = time.monotonic() + 40, 0
    while calm < 3:
        waiting = (await kafka.backlog()).waiting
        calm = 0 if waiting else calm + 1
        assert time.monotonic() < give_up, f"{waiting} records are not committed"
        await asyncio.sleep(0.2)


@pytest.fixture
def stack(tmp_path):
    with Stack(tmp_path, settings=SETTINGS, faults=True) as running:
        yield running


async def test_a_reply_in_hand_heeds_a_person_whose_message_is_let_go_because_the_service_stops(stack):
    """The reply waits for the person's message to be taken in, which the broken database delays; then comes SIGTERM."""
    kafka = KafkaEvidence(stack.kafka.direct_bootstrap)
    environment = stack.environment()
    async with httpx2.AsyncClient(trust_env=False) as client:
        sandbox = SandboxClient(stack.url("sandbox"), client)
        customers = Customers(
            Simulator(seed="people win", account=environment["INSTAGRAM_PAGE_ID"]),
            sandbox,
            client,
            url=f"{stack.url('ingest')}/webhooks/instagram",
            secret=environment["META_APP_SECRET"],
            counts=Counter(),
            still=lambda: True,
        )
        await customers.script()
        await asyncio.to_thread(stack.freeze, "delivery")
        await customers.deliver(Webhook(0.0, (Say(1, 1),)))
        await until_appended(kafka, REPLIES, 1)
        await customers.deliver(Webhook(0.0, (PersonAnswers(1, 1),)))
        stack.faults["mongo"].cut()
        await asyncio.to_thread(stack.thaw, "delivery")
        await asyncio.sleep(BOTH_IN_HAND_SECONDS)
        stopping = asyncio.create_task(asyncio.to_thread(stack.stop_service, "delivery"))
        await asyncio.sleep(DRAIN_BEGINS_SECONDS)
        stack.faults["mongo"].heal()
        await stopping
        await asyncio.to_thread(stack.start_service, "delivery")
        await until_committed(kafka)
        history = await gather(customers.sent, kafka, sandbox, stack.mongo.url, stack.home, grace=0.0)
    verdict = judge(history)
    assert verdict.breaches == ()
    assert verdict.fates == {"left to a person": 1}


@pytest.mark.parametrize(("missing", "count"), [("", 60), ("no_lookout", 100)])
def test_people_who_answer_around_the_moment_at_which_the_bot_speaks_are_never_talked_over(tmp_path, missing, count):
    """A few of the conversations of `make people`; without the look the same build is caught."""
    sabotage = {"JAWAB_FAILPOINT": f"sabotage.{missing}"} if missing else {}
    with Stack(tmp_path, settings={**SETTINGS, **sabotage}) as running:
        verdict = asyncio.run(compete(running, count, seed=5))
    states = {one.state for one in verdict.lived}
    assert bool(verdict.late) == bool(missing), verdict.lines()
    assert states == {"delivered", "suppressed"}, verdict.lines()
