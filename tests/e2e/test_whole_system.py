"""The main job: a signed webhook becomes a delivered reply, exactly once, also when a service is killed."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from rich.console import Console

from delivery.api.tokens import issue_token
from devkit.demo import Demo
from devkit.scenes import scenes
from devkit.simulator import Simulator

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]

GUIDE_MESSAGE = {
    "object": "instagram",
    "entry": [
        {
            "id": "page_id",
            "time": 1234567890,
            "changes": [
                {
                    "field": "messages",
                    "value": {
                        "messages": [
                            {
                                "id": "guide-message-1",
                                "from": {"id": "guide_user_1"},
                                "timestamp": "1234567890",
                                "text": "Bonjour, avez-vous des sacs en cuir ?",
                            }
                        ]
                    },
                }
            ],
        }
    ],
}
GUIDE_COMMENT = {
    "object": "instagram",
    "entry": [
        {
            "id": "page_id",
            "time": 1234567890,
            "changes": [
                {
                    "field": "comments",
                    "value": {
                        "comments": [
                            {
                                "id": "guide-comment-1",
                                "from": {"id": "guide_user_2"},
                                "media": {"id": "media_1"},
                                "text": "Super, merci !",
                                "timestamp": "1234567890",
                            }
                        ]
                    },
                }
            ],
        }
    ],
}


@pytest.fixture
async def answered(outside) -> Callable[[str], Awaitable[list[str]]]:
    """The tags of a person's messages in the order in which answers to them arrived: one answer may be for several."""
    await outside.sandbox.script("#m", reply="About {tags}: yes.")

    async def tags(contact: str) -> list[str]:
        return [tag for delivery in await outside.deliveries(contact) for tag in re.findall(r"#m\d+", delivery.text)]

    return tags


async def test_every_scene_of_the_demo_ends_as_it_should(stack):
    simulator = Simulator(seed="e2e", account=stack.environment()["INSTAGRAM_PAGE_ID"])
    demo = Demo(
        ingest=stack.url("ingest"),
        sandbox=stack.url("sandbox"),
        secret=stack.environment()["META_APP_SECRET"],
        console=Console(quiet=True),
    )
    _, wrong = await demo.play(scenes(simulator))
    assert wrong == []


@pytest.mark.parametrize("path", ["/api/instagram/webhook", "/webhooks/instagram"])
async def test_the_guides_verification_request_gets_its_challenge_back(stack, outside, path):
    token = stack.environment()["IG_VERIFY_TOKEN"]
    query = {"hub.mode": "subscribe", "hub.challenge": "TEST123", "hub.verify_token": token}
    response = await outside.client.get(f"{stack.url('ingest')}{path}", params=query)
    assert (response.status_code, response.text) == (200, "TEST123")


@pytest.mark.parametrize(
    ("body", "contact", "kind"),
    [(GUIDE_MESSAGE, "guide_user_1", "message"), (GUIDE_COMMENT, "guide_user_2", "comment_reply")],
)
async def test_the_guides_test_bodies_are_answered(stack, outside, body, contact, kind):
    await outside.sandbox.tell_comment("guide-comment-1", "guide_user_2")
    response = await outside.client.post(f"{stack.url('ingest')}/api/instagram/webhook-test", json=body)
    assert response.status_code in {200, 202}
    for _ in range(200):
        if delivered := await outside.deliveries(contact):
            break
        await outside.pause(0.1)
    await outside.settled()
    assert [d.kind for d in await outside.deliveries(contact)] == [kind], delivered


async def test_messages_of_a_conversation_are_answered_in_their_order(outside, simulator, answered):
    contact = simulator.contact()
    for number in range(6):
        assert await outside.send(simulator.text(contact, f"Do you have this in blue? #m{number}")) == 200
    await outside.settled()
    assert await answered(contact) == [f"#m{number}" for number in range(6)]
    delivered = await outside.deliveries(contact)
    assert all(one.at <= next_.at for one, next_ in pairwise(delivered))


@pytest.mark.parametrize("service", ["ingest", "ai", "delivery", "cleanup"])
async def test_killing_a_service_in_the_middle_of_traffic_loses_and_doubles_nothing(
    stack, outside, simulator, answered, service
):
    contacts = [simulator.contact() for _ in range(30)]
    half = asyncio.Event()

    async def talk(contact: str) -> list[int]:
        first = await outside.send(simulator.text(contact, "Do you have it in blue? #m1"))
        half.set()
        second = await outside.send(simulator.text(contact, "Do you deliver to Basra? #m2"))
        return [first, second]

    talking = asyncio.gather(*(talk(contact) for contact in contacts))
    await half.wait()
    stack.processes[service].kill()
    restarted = asyncio.to_thread(stack.start_service, service)
    statuses, _ = await asyncio.gather(talking, restarted)
    assert statuses == [[200, 200]] * len(contacts)
    await outside.settled(within=120)
    assert {contact: await answered(contact) for contact in contacts} == {
        contact: ["#m1", "#m2"] for contact in contacts
    }


async def test_a_utility_message_is_sent_once_and_can_be_looked_up(stack, outside, simulator):
    contact = simulator.contact()
    await outside.send(simulator.text(contact, "hello"))
    await outside.settled()
    environment = stack.environment()
    token = issue_token(environment["JWT_SECRET"], merchant=environment["JAWAB_MERCHANT_ID"], now=datetime.now(UTC))
    url = f"{stack.url('delivery')}/api/utility-messages/{environment['JAWAB_MERCHANT_ID']}/send"
    headers = {"authorization": f"Bearer {token}", "idempotency-key": f"order-{contact}"}
    body = {"recipientId": contact, "message": "Votre commande est en route."}
    answers = [await outside.client.post(url, json=body, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json()["replyId"] == answers[1].json()["replyId"]
    location = answers[0].headers["location"]
    await outside.settled()
    state = await outside.client.get(f"{stack.url('delivery')}{location}", headers=headers)
    assert state.json()["status"] == "delivered"
    delivered = await outside.deliveries(contact)
    assert [d.text for d in delivered].count("Votre commande est en route.") == 1


async def test_a_voice_message_is_heard_and_answered_by_its_words(stack, outside):
    simulator = Simulator(seed="voice", account=stack.environment()["INSTAGRAM_PAGE_ID"], media=stack.url("sandbox"))
    contact = simulator.contact()
    assert await outside.send(simulator.voice(contact, "How much is the red dress?")) == 200
    await outside.settled()
    (delivered,) = await outside.deliveries(contact)
    assert stack.environment().get("JAWAB_PRICE_LINK", "https://example.com/prices") in delivered.text


async def test_when_the_model_is_down_the_customer_gets_an_apology_and_a_person_is_told(outside, simulator):
    contact = simulator.contact()
    await outside.sandbox.add_fault(api="openai", behaviour="server_error")
    try:
        assert await outside.send(simulator.text(contact, "Est-ce que vous réparez les chaussures ?")) == 200
        await outside.settled()
    finally:
        await outside.sandbox.clear_faults()
    assert sorted(d.kind for d in await outside.deliveries(contact)) == ["message", "notification"]


async def test_a_person_who_asks_to_be_forgotten_is(stack, outside, simulator):
    from devkit.signing import signed_request

    contact = simulator.contact()
    await outside.send(simulator.text(contact, "My phone is 0770 000 0000, call me"))
    await outside.settled()
    asked = signed_request({"user_id": contact, "algorithm": "HMAC-SHA256"}, stack.environment()["META_APP_SECRET"])
    url = f"{stack.url('ingest')}/webhooks/instagram/data-deletion"
    response = await outside.client.post(url, data={"signed_request": asked})
    assert response.status_code == 200
    assert response.json()["confirmation_code"] in response.json()["url"]
    await outside.settled()
    page = await outside.client.get(response.json()["url"], headers={"accept": "text/html"})
    assert page.status_code == 200
    assert "0770" not in page.text
