"""What the platform hardly tells is answered all the same: announcements without words, comments without an id."""

import asyncio
from dataclasses import replace

import pytest

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
    await outside.settled()
    for message in (alone, before, after):
        assert len(await outside.deliveries(message.contact)) == 1, message


async def test_a_message_that_the_platform_does_not_show_calls_an_agent(outside, simulator):
    message = simulator.text(simulator.contact(), "not known to the sandbox")
    assert await outside.sender.send(announcement(message)) == 200
    await outside.settled()
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
