"""Seen and typing: shown beside what is being done, never waited for, never after the answer."""

import asyncio
from datetime import UTC, datetime

import pytest

from ai.courtesy import Courtesy
from ai.incoming import Incoming
from common.clock import ManualClock
from common.kafka.hold import hand
from common.merchants import Merchant

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1", mark_seen=True)


class Topic:
    """Appends what is published once its gate is open."""

    def __init__(self, error=None):
        self.handed_over, self.appended, self.error = [], [], error
        self.gate = asyncio.Event()
        self.gate.set()

    async def publish(self, events):
        self.handed_over += events
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.appended += events

    @property
    def kinds(self):
        return [event.data.action.kind for event in self.appended]


def said(**more):
    about = {"id": "e1", "account_id": "1", "contact_id": "5", "conversation_id": "1:5", "at": NOW}
    return Incoming(**{**about, "channel": "direct_message", "text": "hi", "shown": "hi", **more})


def courtesy(topic, *, merchant=SHOP, about=None):
    return Courtesy(topic.publish if topic else None, ManualClock(NOW), merchant, about or said())


async def settle():
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_merchant_may_have_messages_marked_as_seen_and_typing_shown():
    topic = Topic()
    shown = courtesy(topic)
    shown.seen()
    shown.typing()
    await settle()
    await shown.close()
    assert topic.kinds == ["mark_seen", "typing"]
    seen, typing = topic.appended
    assert (seen.causationid, seen.partitionkey, seen.data.contact_id) == ("e1", "1:5", "5")
    assert seen.id != typing.id
    again = Topic()
    second = courtesy(again)
    second.seen()
    await settle()
    assert again.appended[0].id == seen.id


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [({}, ["typing"]), ({"show_typing": False}, []), ({"mark_seen": True}, ["mark_seen", "typing"])],
)
async def test_a_merchant_says_which(wanted, kinds):
    topic = Topic()
    shown = courtesy(topic, merchant=Merchant(id="dar", name="Dar", account_id="1", **wanted))
    shown.seen()
    shown.typing()
    await settle()
    await shown.close()
    assert topic.kinds == kinds


async def test_nobody_waits_for_a_courtesy_and_it_is_given_up_when_the_answer_is_there():
    topic = Topic()
    topic.gate.clear()
    shown = courtesy(topic)
    shown.typing()
    await settle()
    await asyncio.wait_for(shown.close(), 1)
    topic.gate.set()
    await settle()
    assert topic.appended == []


async def test_an_answer_that_is_there_at_once_leaves_nothing_to_follow_it():
    topic = Topic()
    shown = courtesy(topic)
    shown.typing()
    await shown.close()
    await settle()
    assert topic.handed_over == []


@pytest.mark.parametrize("error", [ConnectionError(), TimeoutError(), ValueError()])
async def test_a_courtesy_that_fails_harms_nothing(error):
    topic = Topic(error)
    shown = courtesy(topic)
    shown.typing()
    await settle()
    await shown.close()


@pytest.mark.parametrize("about", [said(channel="comment", comment_id="c"), said(standby=True)])
async def test_there_is_no_typing_in_public_nor_where_another_app_answers(about):
    topic = Topic()
    shown = courtesy(topic, about=about)
    shown.seen()
    shown.typing()
    await settle()
    assert topic.handed_over == []


async def test_a_record_that_another_replica_has_shows_nothing():
    class Lost:
        owned, partition = False, 0

    topic = Topic()

    async def in_its_lane():
        hand(Lost())
        courtesy(topic).typing()
        await settle()

    await asyncio.create_task(in_its_lane())
    assert topic.handed_over == []


async def test_without_a_topic_nothing_is_shown():
    shown = courtesy(None)
    shown.seen()
    shown.typing()
    await shown.close()
