"""Messages that the platform announces without their words: looked up once, and never silently lost."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from common.accounts import Standing
from common.breaker import BreakerOpen
from common.errors import Paced, Retryable
from common.events import ANY_EVENT
from common.events.interactions import Attachment, EchoReceived, MessageReceived
from common.kafka.hold import hand
from delivery.handlers import dead_lettered
from delivery.message_lookup import MAX_TRIES, MessageLookup
from delivery.platforms.reading import ReadMessage
from delivery.platforms.sending import Refused

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
CONVERSATION = f"{ACCOUNT}:{CONTACT}"


def interaction(world, kind="message.edited", id_="e", contact=CONTACT, **data):
    return ANY_EVENT.validate_python(
        {
            "id": f"{ACCOUNT}:{id_}",
            "source": "/ingest/instagram",
            "type": f"com.jawab.{kind}.v1",
            "subject": CONVERSATION,
            "time": world.clock.now(),
            "partitionkey": CONVERSATION,
            "data": {"account_id": ACCOUNT, "contact_id": contact, "mid": "m1", "received_at_ms": 7, **data},
        }
    )


class Held:
    owned, partition, line = True, 0, None

    def __init__(self, *coming):
        self.coming, self.waited = coming, []

    def later(self, wanted):
        return any(map(wanted, self.coming))

    async def later_within(self, wanted, seconds):
        self.waited.append(seconds)
        return self.later(wanted)


def reads(world):
    return [asked for asked in world.platform.asked if asked[0] == "read_message"]


@pytest.mark.parametrize("text", [None, "", "  "])
async def test_an_announced_message_is_looked_up_and_published_as_the_message_it_is(world, text):
    photo = Attachment(type="image", url="https://lookaside.fbsbx.com/1")
    world.platform.messages["m1"] = ReadMessage("بكم الفستان؟", (photo,))
    await world.observer.observe(interaction(world, text=text))
    (event,) = world.published
    assert isinstance(event, MessageReceived)
    assert (event.id, event.partitionkey, event.time) == (f"{ACCOUNT}:msg:m1", CONVERSATION, world.clock.now())
    assert (event.data.text, event.data.attachments, event.data.known_from) == ("بكم الفستان؟", (photo,), "lookup")
    assert (event.data.received_at_ms, event.data.unreadable) == (7, False)
    assert reads(world) == [("read_message", "graph-token", "m1")]
    assert world.value("delivery_message_lookups_total", result="found") == 1


async def test_reading_what_was_published_opens_the_window(world):
    world.platform.messages["m1"] = ReadMessage("hi")
    await world.observer.observe(interaction(world))
    await world.observer.observe(world.published[0])
    assert world.contacts.known[CONVERSATION].last_customer_at == world.clock.now()


async def test_a_message_of_a_kind_that_no_api_shows_is_an_unsupported_one(world):
    world.platform.messages["m1"] = ReadMessage(None)
    await world.observer.observe(interaction(world))
    (event,) = world.published
    assert (event.data.is_unsupported, event.data.unreadable) == (True, False)


@pytest.mark.parametrize("kind", ["message.received", "echo.received"])
async def test_nothing_is_asked_where_the_message_came_by_itself(world, kind):
    own = kind == "echo.received"
    await world.observer.observe(interaction(world, kind, "msg:m1", text="hi"))
    world.published.clear()
    await world.observer.observe(interaction(world, from_account=own))
    assert (reads(world), world.published) == ([], [])
    hand(held := Held(interaction(world, kind, "msg:m2", mid="m2", text="hi")))
    await world.observer.observe(interaction(world, mid="m2", from_account=own))
    assert (reads(world), world.published, held.waited) == ([], [], [1.0])


@pytest.mark.parametrize(
    "data",
    [
        {"text": "words"},
        {"standby": True},
        {"is_self": True},
        {"contact": None},
        {"contact": ACCOUNT},
    ],
)
async def test_what_announces_nothing_of_a_customer_is_not_looked_up(world, data):
    await world.observer.observe(interaction(world, **data))
    assert (reads(world), world.published) == ([], [])


@pytest.mark.parametrize(
    ("broken", "asked"),
    [
        ({"access_token": None}, 0),
        ({"access_token": "sealed for somebody else"}, 0),
        ({}, 1),
    ],
)
async def test_what_the_platform_does_not_give_is_published_as_unreadable(world, broken, asked):
    world.directory.merchants = [world.merchant(**broken)]
    await world.observer.observe(interaction(world))
    (event,) = world.published
    assert (event.id, event.data.unreadable, event.data.text) == (f"{ACCOUNT}:unread:m1", True, None)
    assert len(reads(world)) == asked
    assert world.value("delivery_message_lookups_total", result="unreadable") == 1


async def test_a_stopped_account_asks_for_nothing(world):
    await world.standings.note_news(Standing(ACCOUNT, "needs_reconnection", "token_expired", since=world.clock.now()))
    await world.observer.observe(interaction(world))
    assert (reads(world), world.published[0].data.unreadable) == ([], True)


async def test_a_refusal_that_ends_the_token_stops_the_account_as_any_other_does(world):
    world.platform.messages["m1"] = Refused("token_expired")
    await world.observer.observe(interaction(world))
    assert world.published[0].data.unreadable


async def test_an_api_that_is_away_is_asked_a_few_times_and_then_an_agent_is(world):
    world.platform.messages["m1"] = Retryable("Graph API: no answer")
    for _ in range(MAX_TRIES - 1):
        world.clock.advance(timedelta(minutes=1))
        with pytest.raises(Retryable):
            await world.observer.observe(interaction(world))
        assert world.published == []
    world.clock.advance(timedelta(minutes=1))
    await world.observer.observe(interaction(world))
    assert world.published[0].data.unreadable


async def test_a_hiccup_of_seconds_in_which_many_tries_fail_calls_no_agent(world):
    """A lane tries again within fractions of a second: six tries are over before a platform that restarts is back."""
    world.platform.messages["m1"] = Retryable("Graph API: no answer")
    for _ in range(MAX_TRIES * 2):
        world.clock.advance(timedelta(seconds=1))
        with pytest.raises(Retryable):
            await world.observer.observe(interaction(world))
    world.platform.messages["m1"] = ReadMessage("hi")
    world.clock.advance(timedelta(minutes=10))
    await world.observer.observe(interaction(world))
    assert (world.published[0].data.text, world.published[0].data.unreadable) == ("hi", False)


@pytest.mark.parametrize("error", [Paced("later", after=1), BreakerOpen("left alone", after=5)])
async def test_where_nothing_was_asked_no_tries_are_used_up(world, error):
    class Reader:
        found = error

        async def message(self, token, account, mid):
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    reader = Reader()
    lookup = MessageLookup(reader=reader, sealer=world.sealer, publish=world.publish, metrics=world.metrics)
    for _ in range(MAX_TRIES * 2):
        with pytest.raises(type(error)):
            await lookup.look_up(interaction(world), world.merchant())
    reader.found = ReadMessage("hi")
    await lookup.look_up(interaction(world), world.merchant())
    assert world.published[0].data.text == "hi"


async def test_a_message_of_the_accounts_own_is_published_as_its_echo(world):
    world.platform.messages["m1"] = ReadMessage("I will help you")
    await world.observer.observe(interaction(world, from_account=True))
    (event,) = world.published
    assert isinstance(event, EchoReceived)
    assert (event.id, event.data.text) == (f"{ACCOUNT}:msg:m1", "I will help you")


async def test_a_message_of_the_accounts_own_that_cannot_be_read_is_nobodys_answer(world):
    await world.observer.observe(interaction(world, from_account=True))
    assert world.published == []
    assert world.value("delivery_message_lookups_total", result="unreadable") == 1
    await world.sender.deliver(world.reply())
    assert world.kinds()[-1] == "delivered"


async def test_where_kafka_takes_nothing_it_is_looked_up_again(world):
    world.platform.messages["m1"] = ReadMessage("hi")
    world.publish_fails = [ConnectionError()]
    with pytest.raises(ConnectionError):
        await world.observer.observe(interaction(world))
    await world.observer.observe(interaction(world))
    assert [event.id for event in world.published] == [f"{ACCOUNT}:msg:m1"]


async def test_an_announcement_that_went_to_the_dead_letters_calls_an_agent(world):
    event = interaction(world)
    record = SimpleNamespace(topic=event.topic, key=CONVERSATION.encode(), value=event.to_json())
    await dead_lettered(world.dead, world.observer)(record, "failed for an hour")
    assert world.published[0].data.unreadable
