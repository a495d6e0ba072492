"""Customers speak like the platform: signed, in order, and again until somebody answers with 200."""

import asyncio
import json
from collections import Counter
from urllib.parse import parse_qs

import httpx2
import pytest
from customers import Customers
from steps import (
    Edit,
    Erase,
    PersonAnswers,
    Say,
    Unsend,
    Webhook,
)

from devkit.sandbox.client import SandboxClient
from devkit.signing import signed_headers
from devkit.simulator import Simulator
from ingest.signed_request import opened as opened_request

SECRET = "s"
TRIES = 10


class Ingest:
    """Answers webhooks as it is told, and remembers them."""

    def __init__(self) -> None:
        self.answers: list[int | None] = []
        self.bodies: list[bytes] = []
        self.signed: list[bool] = []
        self.held: asyncio.Event | None = None
        self.learnt = 0

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "sandbox":
            self.learnt += 1
            return httpx2.Response(200, json={"status": None, "learnt": 1})
        raw = request.content
        self.bodies.append(raw)
        wanted = signed_headers(raw, SECRET)["X-Hub-Signature-256"]
        self.signed.append(request.headers.get("x-hub-signature-256") == wanted)
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.pop(0) if self.answers else 200
        if answer is None:
            raise httpx2.ConnectError("nobody is there")
        return httpx2.Response(answer)

    def tags(self) -> list[str]:
        """Return the first words of each message, in the order in which they came."""
        items = [item for body in map(json.loads, self.bodies) for item in body["entry"][0]["messaging"]]
        return [item["message"]["text"].partition(" ")[0] for item in items]


@pytest.fixture
def ingest():
    return Ingest()


@pytest.fixture
async def customers(ingest):
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(ingest)) as client:
        yield Customers(
            Simulator(seed=1),
            SandboxClient("http://sandbox", client),
            client,
            url="http://ingest/",
            secret=SECRET,
            counts=Counter(),
            still=lambda: len(ingest.bodies) < TRIES,
            pauses=(0.0,),
        )


async def test_a_webhook_is_delivered_again_until_it_is_answered_with_200(ingest, customers):
    ingest.answers = [None, 503, 500, 200]
    await customers.deliver(Webhook(0.0, (Say(1, 1),)))
    assert len(set(ingest.bodies)) == 1
    assert (len(ingest.bodies), ingest.signed) == (4, [True] * 4)
    said = customers.sent.said["#c1m1"]
    assert said.acknowledged_at is not None
    assert said.acknowledged_at >= said.sent_at > 0


async def test_what_nobody_acknowledged_is_remembered_as_not_acknowledged(ingest, customers):
    ingest.answers = [503] * TRIES
    await customers.deliver(Webhook(0.0, (Say(1, 1),)))
    assert customers.sent.said["#c1m1"].acknowledged_at is None


async def test_a_conversations_webhooks_wait_for_one_another_and_others_do_not(ingest, customers):
    ingest.held = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for say in (Say(1, 1), Say(1, 2), Say(2, 1)):
            tasks.create_task(customers.deliver(Webhook(0.0, (say,))))
        while len(ingest.bodies) < 2:
            await asyncio.sleep(0)
        assert sorted(ingest.tags()) == ["#c1m1", "#c2m1"]
        ingest.held.set()
    first, second = customers.sent.said["#c1m1"], customers.sent.said["#c1m2"]
    assert first.acknowledged_at <= second.sent_at


async def test_the_same_thing_said_again_has_the_same_body(ingest, customers):
    await customers.deliver(Webhook(0.0, (Say(1, 1),), copies=3))
    await customers.deliver(Webhook(0.0, (Say(1, 1),), again=True, loose=True))
    assert len(ingest.bodies) == 4
    assert len(set(ingest.bodies)) == 1


async def test_a_forged_webhook_is_sent_once_and_its_answer_kept(ingest, customers):
    ingest.answers = [401]
    await customers.deliver(Webhook(0.0, (Say(1, 1),), forged=True))
    assert ingest.signed == [False]
    said = customers.sent.said["#c1m1"]
    assert (said.forged, said.statuses, said.acknowledged_at) == (True, (401,), None)


async def test_a_message_that_is_taken_back_or_changed_keeps_its_id(ingest, customers):
    say = Say(1, 1)
    await customers.deliver(Webhook(0.0, (say,)))
    await customers.deliver(Webhook(0.0, (Edit(say),)))
    await customers.deliver(Webhook(0.0, (Unsend(say),)))
    first, edit, unsend = (json.loads(body)["entry"][0]["messaging"][0] for body in ingest.bodies)
    mid = first["message"]["mid"]
    assert (edit["message_edit"]["mid"], unsend["message"]["mid"]) == (mid, mid)
    assert edit["message_edit"]["text"].startswith("#c1m1")
    assert customers.sent.said["#c1m1"].unsent_at is not None


async def test_taking_back_counts_once_it_is_acknowledged(ingest, customers):
    say = Say(1, 1)
    await customers.deliver(Webhook(0.0, (say,)))
    ingest.answers = [503]
    await customers.deliver(Webhook(0.0, (Unsend(say),)))
    assert len(ingest.bodies) == 3
    assert customers.sent.said["#c1m1"].unsent_at >= customers.sent.said["#c1m1"].acknowledged_at


async def test_a_person_of_the_shop_is_heard_as_an_echo(ingest, customers):
    await customers.deliver(Webhook(0.0, (PersonAnswers(1, 1),)))
    message = json.loads(ingest.bodies[0])["entry"][0]["messaging"][0]["message"]
    assert message["is_echo"]
    assert customers.sent.people["#c1p1"].acknowledged_at is not None


async def test_an_erasure_is_asked_for_until_it_is_accepted_after_what_the_customer_wrote_before(ingest, customers):
    await customers.deliver(Webhook(0.0, (Say(1, 1),)))
    ingest.answers = [503, None, 200]
    await customers.deliver(Webhook(0.0, (Erase(1),)))
    said, (erased,) = customers.sent.said["#c1m1"], customers.sent.erased
    asked = {parse_qs(body.decode())["signed_request"][0] for body in ingest.bodies[1:]}
    assert {opened_request(value, [SECRET]).user_id for value in asked} == {said.contact} == {erased.contact}
    assert (len(ingest.bodies), len(asked)) == (4, 1)
    assert said.acknowledged_at <= erased.sent_at <= erased.acknowledged_at


async def test_an_erasure_that_nobody_accepted_is_remembered_so(ingest, customers):
    ingest.answers = [503] * TRIES
    await customers.deliver(Webhook(0.0, (Erase(1),)))
    assert customers.sent.erased[0].acknowledged_at is None


async def test_the_platform_knows_a_message_before_a_copy_of_it_that_overtakes_it(ingest, customers):
    await customers.deliver(Webhook(0.0, (Say(3, 2),), again=True, loose=True))
    assert ingest.learnt == 2  # the message, and that its writer is no subscriber
    await customers.deliver(Webhook(0.0, (Say(3, 2),)))
    assert ingest.learnt == 2
