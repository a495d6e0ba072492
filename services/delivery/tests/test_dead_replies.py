"""A reply that goes to the dead letters is never silent: the system and a person are told."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from common.errors import Retryable, UnknownOutcome
from common.events.interactions import INTERACTIONS
from common.events.replies import REPLIES, REQUESTED, DirectMessage, OperatorNotification, ReplyRequested, Typing
from common.merchants import MerchantNotReadable
from delivery import ledger
from delivery.handlers import dead_lettered
from delivery.parts import keys_of, pieces_of

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
KEY = f"{ACCOUNT}:{CONTACT}"
KEY_BYTES = KEY.encode()


def record(value, topic=REPLIES, key=KEY_BYTES):
    return SimpleNamespace(topic=topic, key=key, value=value)


@pytest.fixture
def buried(world):
    return dead_lettered(world.dead, world.observer)


def claimed(world, event):
    row = ledger.opened(event.data, keys_of(pieces_of(event.data.action)), world.clock.now())
    world.ledger.rows[row.reply_id] = row


async def test_a_reply_the_ledger_does_not_know_fails_and_a_person_is_told(world, buried):
    event = world.reply(DirectMessage(text="Hello"))
    await buried(record(event.to_json()), "over-age after 90 attempts: MongoDB is away")
    (failed,) = world.published
    assert (failed.id, failed.data.reason, failed.causationid) == ("out_rep_1:failed", "dead_lettered", event.id)
    assert failed.data.detail == "over-age after 90 attempts: MongoDB is away"
    assert [(one.reason, one.conversation_id) for one in world.people.told] == [("dead_lettered", KEY)]
    assert world.ledger.rows == {}
    assert world.value("delivery_dead_replies_total", how="handed_to_human") == 1


async def test_a_requested_message_is_told_of_like_any_reply(world, buried):
    said = world.reply(DirectMessage(text="Sale"), origin="api")
    event = ReplyRequested.model_validate(said.model_dump() | {"type": "com.jawab.reply.requested.v1"})
    await buried(record(event.to_json(), topic=REQUESTED), "x")
    assert [one.id for one in world.published] == ["out_rep_1:failed"]
    assert [one.reply_id for one in world.people.told] == ["rep_1"]


async def test_a_reply_that_was_claimed_is_ended_so_that_nothing_sends_it_later(world, buried):
    event = world.reply(DirectMessage(text="Hello"))
    claimed(world, event)
    await buried(record(event.to_json()), "x")
    assert (world.row(event).state, world.row(event).reason) == ("failed", "dead_lettered")
    await world.sender.deliver(event)
    assert world.platform.asked == []


async def test_a_reply_that_may_have_left_is_left_to_the_sweeper_and_a_person_is_told_at_once(world, buried):
    world.platform.script = [("arrives", UnknownOutcome("x"))]
    event = world.reply(DirectMessage(text="Hello"))
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    world.published.clear()
    await buried(record(event.to_json()), "x")
    assert (world.row(event).state, world.published, len(world.people.told)) == ("unknown", [], 1)
    world.clock.advance(timedelta(hours=2))
    await world.sweeper.sweep()
    assert world.kinds() == ["delivered"]


async def test_a_reply_that_was_delivered_only_has_its_outcome_published_again(world, buried):
    event = world.reply(DirectMessage(text="Hello"))
    await world.sender.deliver(event)
    await buried(record(event.to_json()), "x")
    assert (world.kinds(), world.people.told) == (["delivered", "delivered"], [])
    assert world.value("delivery_dead_replies_total", how="already_ended") == 1


async def test_telling_it_twice_says_the_same(world, buried):
    event = world.reply(DirectMessage(text="Hello"))
    claimed(world, event)
    world.publish_fails = [ConnectionError("away")]
    with pytest.raises(ConnectionError):
        await buried(record(event.to_json()), "x")
    await buried(record(event.to_json()), "x")
    assert [one.id for one in world.published] == ["out_rep_1:failed"]
    assert len(world.people.told) == 1


async def test_an_alert_that_could_not_be_delivered_is_told_with_its_own_words(world, buried):
    event = world.reply(OperatorNotification(reason="negative_comment", text="They are angry"))
    await buried(record(event.to_json()), "x")
    assert [one.text for one in world.people.told] == ["They are angry"]


async def test_typing_is_worth_no_word(world, buried):
    await buried(record(world.reply(Typing()).to_json()), "x")
    assert (world.published, world.people.told) == ([], [])


@pytest.mark.parametrize("value", [b"", b"{", b'{"type": "com.jawab.reply.generated.v1"}', None])
async def test_a_record_nobody_can_read_is_told_by_its_key(world, buried, value):
    await buried(record(value), "not a valid event")
    (notice,) = world.people.told
    assert (notice.conversation_id, notice.contact_id, notice.text) == (KEY, CONTACT, "not a valid event")
    assert world.published == []


@pytest.mark.parametrize(
    "key", [None, b"", b"999:1", b"\xff\xfe", KEY.encode() + b" secret", KEY.encode() + b"\x00", KEY.encode() * 500]
)
async def test_a_key_that_is_of_no_merchant_is_only_logged(world, buried, key, capsys):
    await buried(record(b"{", key=key), "not a valid event")
    assert world.people.told == []
    written = capsys.readouterr().out
    assert "dead_reply.of_nobody" in written
    assert len(written) < 500
    assert "secret" not in written


async def test_an_observation_that_dies_is_nobodys_answer(world, buried):
    await buried(record(b"{", topic=INTERACTIONS), "x")
    assert (world.published, world.people.told) == ([], [])


async def test_a_merchant_that_cannot_be_read_now_is_tried_again(world, buried):
    async def unreadable(_):
        raise MerchantNotReadable("merchant shop: not valid at rules")

    world.directory.by_id = unreadable
    with pytest.raises(Retryable):
        await buried(record(world.reply().to_json()), "x")
