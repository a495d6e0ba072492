"""Who a contact is in ManyChat: as few calls as can be, and the link made where it is missing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from common.clock import ManualClock
from common.errors import Retryable
from common.events.interactions import Message, MessageReceived
from delivery.contacts import Contact
from delivery.platforms.sending import Refused
from delivery.subscribers import CONFIRMED_FOR, MISSES_KEPT, Page, Subscribers, named_by

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE = Page("1", "page:key", 5)
CONVERSATION, PERSON = "1:2", "2"


class Calls:
    """ManyChat's subscribers: who has which Instagram-scoped id in the field."""

    def __init__(self):
        self.linked = {}
        self.asked = []
        self.errors = []

    async def find_subscriber(self, account, key, field_id, contact):
        self.asked.append(("find", account, key, field_id, contact))
        if self.errors:
            raise self.errors.pop(0)
        return self.linked.get(contact)

    async def link_subscriber(self, account, key, field_id, contact, subscriber):
        self.asked.append(("link", account, key, field_id, contact, subscriber))
        if self.errors:
            raise self.errors.pop(0)
        self.linked[contact] = subscriber


class Kept:
    """What is remembered of the one contact."""

    def __init__(self):
        self.contact = Contact(CONVERSATION)

    async def remember_subscriber(self, conversation_id, subscriber_id, *, confirmed_at=None):
        assert conversation_id == CONVERSATION
        self.contact = replace(self.contact, subscriber_id=subscriber_id, subscriber_at=confirmed_at)


class Rig:
    def __init__(self):
        self.clock, self.calls, self.kept = ManualClock(NOON), Calls(), Kept()
        self.subscribers = Subscribers(contacts=self.kept, calls=self.calls, clock=self.clock)

    async def ask(self, page=PAGE):
        return await self.subscribers.of(page, CONVERSATION, PERSON, self.kept.contact)


@pytest.fixture
def rig():
    return Rig()


async def test_nobody_known_is_found_once_and_remembered(rig):
    rig.calls.linked[PERSON] = 77
    assert [await rig.ask(), await rig.ask()] == [77, 77]
    assert rig.calls.asked == [("find", "1", "page:key", 5, "2")]
    assert rig.kept.contact.subscriber_at == rig.clock.now()


async def test_nobody_found_is_believed_for_some_minutes(rig):
    assert [await rig.ask(), await rig.ask()] == [None, None]
    rig.clock.advance(MISSES_KEPT)
    rig.calls.linked[PERSON] = 77
    assert await rig.ask() == 77
    assert len(rig.calls.asked) == 2


async def test_without_a_field_nobody_is_looked_up_and_who_is_known_is_believed(rig):
    page = Page("1", "page:key", None)
    assert await rig.ask(page) is None
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77)
    assert await rig.ask(page) == 77
    assert rig.calls.asked == []


async def test_whom_manychat_named_is_linked_before_the_first_send_and_not_again(rig):
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77)
    assert [await rig.ask(), await rig.ask()] == [77, 77]
    assert [one[0] for one in rig.calls.asked] == ["find", "link"]
    assert rig.calls.linked == {PERSON: 77}


async def test_a_contact_whom_only_manychat_numbered_is_never_linked(rig):
    """The number would be taken for Instagram's by whoever reads the field."""
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=2)
    assert (await rig.ask(), rig.calls.asked) == (2, [])


async def test_a_link_is_looked_up_again_when_it_is_old(rig):
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77, subscriber_at=rig.clock.now())
    rig.clock.advance(CONFIRMED_FOR - timedelta(seconds=1))
    assert (await rig.ask(), rig.calls.asked) == (77, [])
    rig.clock.advance(timedelta(seconds=1))
    rig.calls.linked[PERSON] = 88
    assert await rig.ask() == 88
    assert (rig.kept.contact.subscriber_id, rig.kept.contact.subscriber_at) == (88, rig.clock.now())


async def test_an_old_link_is_used_while_manychat_cannot_be_asked(rig):
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77)
    rig.calls.errors = [Retryable("away")]
    assert await rig.ask() == 77
    assert rig.kept.contact.subscriber_at is None


async def test_who_is_no_subscriber_any_more_is_forgotten(rig):
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77)
    rig.calls.find_subscriber = nobody
    rig.calls.errors = [Refused("no_subscriber", elsewhere=True)]
    assert await rig.ask() is None
    assert rig.kept.contact.subscriber_id is None


async def test_another_refusal_is_told(rig):
    rig.kept.contact = Contact(CONVERSATION, subscriber_id=77)
    rig.calls.find_subscriber = nobody
    rig.calls.errors = [Refused("key_refused")]
    with pytest.raises(Refused):
        await rig.ask()
    assert rig.kept.contact.subscriber_id == 77


async def nobody(*_):
    return None


@pytest.mark.parametrize(
    ("written", "number"),
    [("7", 7), (str(2**63 - 1), 2**63 - 1), (str(2**63), None), ("9" * 30, None), ("9" * 5000, None), ("x", None)],
)
def test_a_number_that_the_store_cannot_hold_is_nobodys(written, number):
    """Records of before the door refused such ids may still lie in the log: they must not die here."""
    data = Message(account_id="1", contact_id=PERSON, mid="m", text="hi", subscriber_id=written)
    event = MessageReceived(
        id="e", source="/test", subject=CONVERSATION, time=NOON, partitionkey=CONVERSATION, data=data
    )
    assert named_by(event) == number
