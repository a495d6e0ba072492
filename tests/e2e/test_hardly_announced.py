"""What the platform hardly tells is answered all the same: announcements without words, comments without an id."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pymongo import MongoClient

from common.merchants import Merchant
from common.mongo import ACCOUNTS, DECISIONS, MERCHANTS
from common.sealing import Sealer
from devkit.simulator import Simulator

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]


def announcement(message):
    """Return the webhook that many accounts get instead of the message's own."""
    item = {key: value for key, value in message.item.items() if key != "message"}
    return replace(message, kind="message_edit", item={**item, "message_edit": {"mid": message.id, "num_edit": 0}})


def nameless(comment):
    """Return a comment as it comes without its author's id."""
    value = dict(comment.item["value"])
    value["from"] = {"username": value["from"]["username"]}
    return replace(comment, item={**comment.item, "value": value})


async def graph_replies(outside, kind):
    entries = [entry async for entry in outside.sandbox.whole_journal(api="graph") if entry["kind"] == kind]
    return [entry for entry in entries if entry["effect"]]


async def test_messages_that_only_an_edit_announces_are_answered_once_each(outside, simulator):
    alone, before, after = (simulator.text(simulator.contact(), "بكم الفستان الاحمر؟") for _ in range(3))
    await outside.sandbox.webhook(alone, before, after, deliver=False)
    said = [announcement(alone), announcement(before), before, after, announcement(after), announcement(alone)]
    statuses = [await outside.sender.send(one) for one in said]
    assert statuses == [200] * len(said)
    await outside.reached(*(message.contact for message in (alone, before, after)))
    for message in (alone, before, after):
        assert len(await outside.deliveries(message.contact)) == 1, message


async def test_a_message_that_the_platform_does_not_show_calls_an_agent(outside, simulator):
    message = simulator.text(simulator.contact(), "not known to the sandbox")
    assert await outside.sender.send(announcement(message)) == 200
    await outside.reached(message.contact)
    (called,) = await outside.deliveries(message.contact)
    assert called.kind == "notification"
    assert "message_unreadable" in called.text


async def test_a_comment_that_names_its_author_by_username_alone_is_answered_in_public_once(outside, simulator):
    comment = simulator.comment(simulator.contact(), "Magnifique, j'adore !")
    await outside.sandbox.webhook(comment, deliver=False)
    statuses = await asyncio.gather(*(outside.sender.send(nameless(comment)) for _ in range(3)))
    assert statuses == [200] * 3
    await outside.settled()
    replies = await graph_replies(outside, "comment_reply")
    assert [entry["detail"]["comment"] for entry in replies].count(comment.id) == 1


@pytest.fixture
async def slow_model(outside):
    """A model that thinks for three seconds."""
    await outside.sandbox.behave(model_latency_seconds=3)
    yield
    await outside.sandbox.behave(model_latency_seconds=0)


async def test_what_is_written_while_the_answer_is_made_gets_one_answer_with_it(outside, simulator, slow_model):
    contact = simulator.contact()
    assert await outside.send(simulator.text(contact, "Do you have the linen one in a larger size?")) == 200
    await outside.pause(1.5)
    assert await outside.send(simulator.text(contact, "and in blue?")) == 200
    await outside.settled()
    assert len(await outside.deliveries(contact)) == 1


async def test_what_an_expired_token_left_unanswered_is_answered_once_the_account_is_connected(stack, outside):
    account, key = "17840000000061000", stack.environment()["ENCRYPTION_KEY"]
    token = Sealer([key]).seal("EAAhardly", account, "access_token")
    merchant = Merchant(id="hardly", name="Hardly", account_id=account, access_token=token, routes=("graph",), rules=())
    simulator = Simulator(seed="hardly", account=account)
    contact = simulator.contact()
    await outside.sandbox.tell_account(account, tokens=["EAAanother"])  # the one that is stored has expired
    with MongoClient(stack.environment()["MONGODB_URL"]) as client:
        db = client.get_default_database()
        db[MERCHANTS].insert_one(merchant.to_document())
        try:
            assert await outside.send(simulator.text(contact, "Do you have the linen one in red?")) == 200
            await outside.settled()
            assert db[ACCOUNTS].find_one({"_id": account})["state"] == "needs_reconnection"
            await outside.sandbox.tell_account(account, tokens=["EAAhardly"])
            now = datetime.now(UTC)
            active = {"state": "active", "reason": "", "detail": "", "since": now, "until": None, "connected_at": now}
            db[ACCOUNTS].update_one({"_id": account}, {"$set": active})
            assert await outside.send(simulator.text(contact, "?")) == 200
            await outside.settled()
            covers = [decision["covers"] for decision in db[DECISIONS].find({"merchant_id": "hardly"}).sort("at")]
        finally:
            db[MERCHANTS].delete_one({"_id": merchant.id})
    assert [len(one) for one in covers] == [1, 2]
    assert covers[1][0] == covers[0][0]
    answers = [one for one in await outside.deliveries(contact) if one.kind != "notification"]
    assert len(answers) == 1
