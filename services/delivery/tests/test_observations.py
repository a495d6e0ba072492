"""What delivery learns from a conversation, and how little it costs."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from common.accounts import Standing
from common.events import ANY_EVENT
from common.events.control import ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.interactions import INTERACTIONS
from delivery.handlers import dead_lettered

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
CONVERSATION = f"{ACCOUNT}:{CONTACT}"


def interaction(world, kind, account=ACCOUNT, contact=CONTACT, **data):
    return ANY_EVENT.validate_python(
        {
            "id": f"{account}:x",
            "source": "/ingest/instagram",
            "type": f"com.jawab.{kind}.v1",
            "subject": CONVERSATION,
            "time": world.clock.now(),
            "partitionkey": CONVERSATION,
            "data": {"account_id": account, "contact_id": contact, **data},
        }
    )


def control(world, kind, by="person"):
    return kind(
        id="c1",
        source="/delivery",
        subject=CONVERSATION,
        time=world.clock.now(),
        partitionkey=CONVERSATION,
        data={"merchant_id": "shop", "account_id": ACCOUNT, "contact_id": CONTACT, "by": by},
    )


async def test_a_message_opens_the_window_with_one_write(world):
    await world.observer.observe(interaction(world, "message.received", mid="m"))
    assert world.contacts.known[CONVERSATION].last_customer_at == world.clock.now()
    assert world.contacts.calls == ["contacts.customer_acted"]


@pytest.mark.parametrize(("number", "kept"), [("77", 77), ("x", None), (None, None)])
async def test_whom_manychat_names_as_the_writer_is_kept_to_be_linked(world, number, kept):
    await world.observer.observe(interaction(world, "message.received", mid="m", subscriber_id=number))
    contact = world.contacts.known[CONVERSATION]
    assert (contact.subscriber_id, contact.subscriber_at) == (kept, None)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("reaction.received", {"mid": "m"}),
        ("comment.received", {"comment_id": "c"}),
        ("unknown.received", {}),
    ],
)
async def test_what_opens_nothing_costs_nothing(world, kind, data):
    await world.observer.observe(interaction(world, kind, **data))
    assert world.contacts.calls + world.ledger.calls == []


async def test_an_echo_costs_one_read(world):
    await world.sender.deliver(world.reply())
    world.ledger.calls.clear()
    world.contacts.calls.clear()
    await world.observer.observe(interaction(world, "echo.received", mid="mid.1", text="Answer 1"))
    assert world.ledger.calls + world.contacts.calls == ["ledger.possible_senders"]


async def test_events_of_accounts_that_nobody_here_has_are_counted_and_dropped(world):
    await world.observer.observe(interaction(world, "message.received", account="999", mid="m"))
    await world.observer.observe(interaction(world, "echo.received", account="999", mid="m", text="x"))
    assert world.contacts.known == {}
    assert world.published == []
    assert world.value("delivery_foreign_account_events_total") == 2


async def test_an_interaction_of_nobody_is_left_alone(world):
    await world.observer.observe(interaction(world, "message.received", contact=None, mid="m"))
    assert world.contacts.calls == []


async def test_a_takeover_silences_jawab_until_it_is_released(world):
    await world.observer.control(control(world, ConversationTakenOver))
    await world.sender.deliver(world.reply())
    assert world.published[-1].data.reason == "human_owns"
    world.clock.advance(timedelta(seconds=1))
    await world.observer.control(control(world, ConversationReleased))
    await world.sender.deliver(world.reply())
    assert world.kinds()[-1] == "delivered"


async def test_a_takeover_ends_by_itself_after_the_pause(world):
    await world.observer.control(control(world, ConversationTakenOver))
    world.clock.advance(world.patience.human_pause)
    await world.sender.deliver(world.reply())
    assert world.kinds()[-1] == "delivered"


async def test_a_resolved_conversation_is_jawabs_again(world):
    await world.observer.control(control(world, ConversationTakenOver))
    world.clock.advance(timedelta(seconds=1))
    await world.observer.control(control(world, ConversationResolved))
    assert world.contacts.known[CONVERSATION].owner == "bot"


async def test_an_older_control_event_that_comes_again_does_not_undo_a_later_one(world):
    taken = control(world, ConversationTakenOver)
    await world.observer.control(taken)
    world.clock.advance(timedelta(seconds=1))
    await world.observer.control(control(world, ConversationReleased))
    await world.observer.control(taken)
    assert world.contacts.known[CONVERSATION].owner == "bot"


async def test_a_takeover_lasts_as_long_as_the_merchants_quiet_time(world):
    world.directory.merchants = [world.merchant(quiet_hours=1)]
    await world.observer.control(control(world, ConversationTakenOver))
    assert world.contacts.known[CONVERSATION].owner_until == world.clock.now() + timedelta(hours=1)


class TestDied:
    """What was observed in a record that went to the dead letters."""

    @pytest.fixture
    def buried(self, world):
        return dead_lettered(world.dead, world.observer)

    def record(self, event):
        return SimpleNamespace(topic=event.topic, key=CONVERSATION.encode(), value=event.to_json())

    async def test_a_person_who_wrote_is_heeded_and_the_shop_is_told(self, world, buried):
        echo = interaction(world, "echo.received", mid="m9", text="I will help you")
        await buried(self.record(echo), "over-age after 90 attempts")
        assert world.contacts.known[CONVERSATION].owner == "human"
        assert world.kinds() == ["replied"]
        (notice,) = world.people.told
        assert (notice.reason, notice.conversation_id) == ("person_noticed_late", CONVERSATION)
        assert "I will help you" not in notice.text

    async def test_our_own_reply_is_still_ours(self, world, buried):
        await world.sender.deliver(world.reply())
        await buried(self.record(interaction(world, "echo.received", mid="mid.1", text="Answer 1")), "x")
        assert (world.contacts.known, world.people.told) == ({}, [])

    async def test_nothing_waits_for_a_call_any_more(self, world, buried, crash):
        world.platform.script = [crash()]
        with pytest.raises(crash):
            await world.sender.deliver(world.reply())
        await buried(self.record(interaction(world, "echo.received", mid="m9", text="I will help you")), "x")
        assert world.contacts.known[CONVERSATION].owner == "human"

    async def test_who_took_over_is_heeded(self, world, buried):
        await buried(self.record(control(world, ConversationTakenOver)), "x")
        assert world.contacts.known[CONVERSATION].owner == "human"

    async def test_what_nobody_waits_for_is_left_alone(self, world, buried):
        await buried(self.record(interaction(world, "message.received", mid="m")), "x")
        await buried(SimpleNamespace(topic=INTERACTIONS, key=b"k", value=b"no event"), "x")
        await buried(self.record(interaction(world, "echo.received", account="999", mid="m", text="x")), "x")
        assert (world.contacts.known, world.people.told, world.published) == ({}, [], [])


async def test_an_account_whose_messaging_the_platform_takes_away_is_stopped_and_people_are_told(world):
    await world.observer.observe(interaction(world, "policy.enforced", contact=None, action="block", reason="spam"))
    standing = await world.stops.standing(ACCOUNT)
    assert (standing.state, standing.reason) == ("restricted", "policy_enforced")
    assert [notice.reason for notice in world.people.told] == ["policy_enforced"]


async def test_people_who_cannot_be_told_of_it_send_no_record_to_the_dead_letters(world):
    world.people.reachable = False
    await world.observer.observe(interaction(world, "policy.enforced", contact=None, action="block"))
    assert (await world.stops.standing(ACCOUNT)).state == "restricted"


async def test_an_account_works_again_when_the_platform_lifts_its_restriction(world):
    await world.observer.observe(interaction(world, "policy.enforced", contact=None, action="block"))
    world.clock.advance(timedelta(hours=1))
    await world.observer.observe(interaction(world, "policy.enforced", contact=None, action="unblock"))
    assert (await world.stops.standing(ACCOUNT)).state == "active"


async def test_a_lifted_restriction_gives_no_lost_token_back(world):
    lost = Standing(ACCOUNT, "needs_reconnection", "token_expired", since=world.clock.now())
    await world.standings.note_news(lost)
    world.clock.advance(timedelta(hours=1))
    await world.observer.observe(interaction(world, "policy.enforced", contact=None, action="unblock"))
    assert (await world.stops.standing(ACCOUNT)).state == "needs_reconnection"


async def test_what_the_platform_enforces_on_a_foreign_account_is_counted_and_dropped(world):
    await world.observer.observe(interaction(world, "policy.enforced", account="999", contact=None, action="block"))
    assert world.standings.known == {}
