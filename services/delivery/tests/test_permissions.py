"""What customers do, and what is moderated here, changes what is sent to them: through the observer and the sender."""

from datetime import timedelta

import pytest

from common.errors import Retryable, UnknownOutcome
from common.events import ANY_EVENT
from common.events.ids import conversation_id
from common.events.replies import (
    CommentReply,
    DeleteComment,
    DirectMessage,
    Heart,
    HideComment,
    PrivateReply,
)
from delivery import permissions
from delivery.platforms.graph_requests import NORMAL, Manner
from delivery.platforms.sending import Refused

ACCOUNT = "17841400000000001"
CONTACT = "1000000000000007"
CONVERSATION = conversation_id(ACCOUNT, CONTACT)
DAYS = timedelta(days=1)


def happened(world, what, /, *, ago=timedelta(0), **data):
    return ANY_EVENT.validate_python(
        {
            "id": f"{ACCOUNT}:x",
            "source": "/ingest/instagram",
            "type": f"com.jawab.{what}.v1",
            "subject": CONVERSATION,
            "time": world.clock.now() - ago,
            "partitionkey": CONVERSATION,
            "data": {"account_id": ACCOUNT, "contact_id": CONTACT, **data},
        }
    )


async def observe(world, what, /, **data):
    await world.observer.observe(happened(world, what, **data))


def opt_in(**data):
    return {"kind": "notification_messages", "token": "tok", **data}


def said(world, action=None, *, origin="api", **changes):
    """Return a reply that answers nothing: the contact alone tells whether the window is open."""
    return world.reply(action, origin=origin, in_reply_to=None, customer_acted_at=None, **changes)


async def sent(world, event):
    await world.sender.deliver(event)
    return world.row(event)


class TestAPersonsAnswer:
    @pytest.mark.parametrize("action", [DirectMessage(text="Sorry for the wait"), Heart()], ids=lambda one: one.kind)
    async def test_after_24_hours_it_goes_as_a_persons_over_the_graph_api(self, world, action):
        world.with_manychat(human_agent=True)
        await observe(world, "message.received", mid="m", text="hi", ago=3 * DAYS)
        row = await sent(world, said(world, action, origin="human"))
        assert (row.state, row.route) == ("delivered", "graph")
        assert world.platform.manners == [Manner(human_agent=True)]

    async def test_within_24_hours_it_goes_as_any_other(self, world):
        world.directory.merchants = [world.merchant(human_agent=True)]
        await observe(world, "message.received", mid="m", text="hi")
        await sent(world, said(world, origin="human"))
        assert world.platform.manners == [NORMAL]

    @pytest.mark.parametrize("origin", ["model", "rule", "apology", "api"])
    async def test_nobody_else_ever_uses_the_tag(self, world, origin):
        world.directory.merchants = [world.merchant(human_agent=True)]
        await observe(world, "message.received", mid="m", text="hi", ago=3 * DAYS)
        row = await sent(world, said(world, origin=origin))
        assert (row.state, row.reason, world.platform.asked) == ("suppressed", "window_closed", [])

    async def test_without_a_token_of_the_account_the_reason_says_what_is_missing(self, world):
        world.with_manychat(human_agent=True, access_token=None)
        await observe(world, "message.received", mid="m", text="hi", ago=3 * DAYS)
        row = await sent(world, said(world, origin="human"))
        assert (row.state, row.reason) == ("suppressed", "window_closed")
        assert "give the account an access token" in row.detail
        assert world.platform.sends() == []

    async def test_the_feature_of_one_account_is_no_other_merchants(self, world):
        await observe(world, "message.received", mid="m", text="hi", ago=3 * DAYS)
        row = await sent(world, said(world, origin="human"))
        assert (row.state, row.reason) == ("suppressed", "window_closed")


def token_of(world):
    (token,) = world.contacts.known[CONVERSATION].opt_ins
    return token


class TestOptIns:
    async def test_one_message_goes_on_a_token_and_no_second_one(self, world):
        await observe(world, "optin.received", **opt_in())
        first = await sent(world, said(world))
        assert (first.state, world.platform.manners) == ("delivered", [Manner(opt_in_token="tok")])
        second = await sent(world, said(world))
        assert (second.state, second.reason) == ("suppressed", "window_closed")
        assert len(world.platform.sends()) == 1

    async def test_the_same_opt_in_told_twice_allows_no_second_message(self, world):
        event = happened(world, "optin.received", **opt_in())
        await world.observer.observe(event)
        await sent(world, said(world))
        await world.observer.observe(event)
        assert (await sent(world, said(world))).state == "suppressed"

    async def test_an_opt_in_given_anew_does(self, world):
        await observe(world, "optin.received", **opt_in())
        await sent(world, said(world))
        world.clock.advance(30 * DAYS)
        await observe(world, "optin.received", **opt_in(token_status="REFRESHED"))
        assert (await sent(world, said(world))).state == "delivered"

    async def test_a_person_who_stops_the_messages_gets_none(self, world):
        event = happened(world, "optin.received", **opt_in())
        await world.observer.observe(event)
        world.clock.advance(timedelta(hours=1))
        await observe(world, "optin.received", **opt_in(stopped=True))
        await world.observer.observe(event)  # a late copy of what was taken back since
        assert (await sent(world, said(world))).reason == "window_closed"

    async def test_a_message_whose_outcome_was_unknown_keeps_its_token_for_itself(self, world):
        await observe(world, "optin.received", **opt_in())
        world.platform.script = [UnknownOutcome("reset")]
        event = said(world)
        await world.deliver_until_done(event)
        assert world.row(event).state == "delivered"
        assert set(world.platform.manners) == {Manner(opt_in_token="tok")}
        assert (await sent(world, said(world))).state == "suppressed"

    async def test_two_messages_do_not_fit_on_one_token(self, world):
        await observe(world, "optin.received", **opt_in())
        row = await sent(world, said(world, DirectMessage(text="word " * 400)))
        assert (row.state, row.reason) == ("failed", "text_too_long")
        assert world.platform.asked == []
        assert (await sent(world, said(world))).state == "delivered"

    @pytest.mark.parametrize("reason", ["token_expired", "bad_media", "account_restricted"])
    async def test_a_token_on_which_nothing_was_sent_serves_another_message(self, world, reason):
        await observe(world, "optin.received", **opt_in())
        world.platform.script = [Refused(reason)]
        assert (await sent(world, said(world))).state == "failed"
        assert (await sent(world, said(world))).state == "delivered"
        assert set(world.platform.manners) == {Manner(opt_in_token="tok")}

    async def test_a_token_that_may_be_why_a_message_was_refused_is_not_tried_again(self, world):
        await observe(world, "optin.received", **opt_in())
        world.platform.script = [Refused("bad_request")]
        assert (await sent(world, said(world))).state == "failed"
        assert (await sent(world, said(world))).reason == "window_closed"

    async def test_a_token_on_which_a_message_may_have_gone_out_stays_used(self, world):
        await observe(world, "optin.received", **opt_in())
        world.platform.script = [UnknownOutcome("reset"), Refused("bad_media")]
        event = said(world)
        await world.deliver_until_done(event)
        assert world.row(event).state == "failed"
        assert (await sent(world, said(world))).reason == "window_closed"

    async def test_the_token_of_a_message_that_is_given_up_unsent_serves_another(self, world):
        await observe(world, "optin.received", **opt_in())
        world.platform.script = [Retryable("throttled"), Retryable("throttled")]
        swept, buried = said(world), said(world)
        with pytest.raises(Retryable):
            await world.sender.deliver(buried)
        assert token_of(world).used_by == buried.data.reply_id
        await world.dead.reply_died(buried, "over-age")
        assert token_of(world).used_by is None
        with pytest.raises(Retryable):
            await world.sender.deliver(swept)
        world.clock.advance(timedelta(hours=27))
        await world.sweeper.sweep()
        assert (world.row(swept).state, token_of(world).used_by) == ("failed", None)

    async def test_a_token_is_not_spent_where_no_route_can_use_it(self, world):
        world.with_manychat(access_token=None)
        await observe(world, "optin.received", **opt_in())
        row = await sent(world, said(world))
        assert (row.reason, "access token" in row.detail) == ("window_closed", True)
        assert world.contacts.known[CONVERSATION].opt_ins[0].used_by is None


class TestWhatWaitsInTheLog:
    """A request may overtake the customer's message that allows it: the log is looked at before it is withheld."""

    @pytest.mark.parametrize("origin", ["api", "human"])
    async def test_a_message_that_is_taken_in_late_still_opens_the_window(self, world, origin):
        def reads_on():
            world.barrier.entering = lambda: observe(world, "message.received", mid="m", text="hi")

        world.barrier.during = reads_on
        world.barrier.says = [False]
        row = await sent(world, said(world, origin=origin))
        assert row.state == "delivered"
        assert world.barrier.log == ["watch", "look", "end", "watch", "end"]

    async def test_where_nothing_waits_it_is_withheld_after_one_look(self, world):
        row = await sent(world, said(world))
        assert (row.state, row.reason) == ("suppressed", "window_closed")
        assert world.barrier.log == ["watch", "look", "end"]

    async def test_while_nobody_can_tell_it_waits(self, world):
        world.barrier.says = [Retryable("not yet")]
        event = said(world)
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert world.ledger.rows == {}
        assert (await sent(world, event)).state == "suppressed"

    async def test_where_the_window_is_open_nobody_looks(self, world):
        await observe(world, "message.received", mid="m", text="hi")
        await sent(world, said(world))
        assert world.barrier.log == []


class TestHiddenComments:
    ANSWER = CommentReply(comment_id="c9", text="Thank you!")

    @pytest.mark.parametrize("action", [HideComment(comment_id="c9"), DeleteComment(comment_id="c9")])
    async def test_nothing_is_answered_under_a_comment_that_was_hidden_or_deleted(self, world, action):
        await sent(world, world.reply(action))
        row = await sent(world, world.reply(self.ANSWER))
        assert (row.state, row.reason) == ("suppressed", "comment_hidden")
        assert "comment_reply" not in {one[0] for one in world.platform.asked}

    async def test_a_comment_that_is_shown_again_can_be_answered(self, world):
        await sent(world, world.reply(HideComment(comment_id="c9")))
        await sent(world, world.reply(HideComment(comment_id="c9", hidden=False)))
        assert (await sent(world, world.reply(self.ANSWER))).state == "delivered"

    async def test_a_hidden_comment_can_still_be_answered_privately(self, world):
        await sent(world, world.reply(HideComment(comment_id="c9")))
        assert (await sent(world, world.reply(PrivateReply(comment_id="c9", text="Hello")))).state == "delivered"

    async def test_an_answer_to_an_answer_goes_under_their_parent(self, world):
        await sent(world, world.reply(CommentReply(comment_id="c9", parent_id="top", text="Thanks")))
        assert world.platform.sends() == [("comment_reply", "graph-token", "top", "Thanks")]

    async def test_a_hidden_comment_is_noted_by_whoever_finds_it_done(self, world, crash):
        """The process died after the ledger's entry: the next owner notes it before it goes on."""

        event = world.reply(HideComment(comment_id="c9"))
        noted = world.contacts.comment_hidden
        world.contacts.comment_hidden = _dying(crash)
        with pytest.raises(crash):
            await world.sender.deliver(event)
        world.contacts.comment_hidden = noted
        world.restart()
        await world.sender.deliver(event)
        assert world.contacts.known[CONVERSATION].hidden_comments == {"c9"}


def _dying(crash):
    async def dies(*_, **__):
        raise crash

    return dies


class TestTheAccountItself:
    async def test_its_messages_to_itself_open_no_window_and_need_none(self, world):
        await observe(world, "message.received", mid="m", text="a note", is_self=True)
        known = world.contacts.known[CONVERSATION]
        assert (known.is_self, known.last_customer_at) == (True, None)
        assert (await sent(world, world.reply())).reason == "own_account"
        assert (await sent(world, said(world))).state == "delivered"

    async def test_nothing_is_sent_to_the_accounts_own_id(self, world):
        row = await sent(world, said(world, contact_id=ACCOUNT))
        assert (row.state, row.reason, world.platform.asked) == ("suppressed", "own_account", [])


@pytest.mark.parametrize(
    ("kind", "data", "concerns"),
    [
        ("message.received", {"mid": "m", "text": "x"}, True),
        ("message.received", {"mid": "m", "text": "x", "contact_id": None}, False),
        ("message.received", {"mid": "m", "text": "x", "contact_id": ACCOUNT}, False),
        ("optin.received", opt_in(), True),
        ("echo.received", {"mid": "m", "is_self": True}, True),
        ("echo.received", {"mid": "m"}, False),
        ("comment.received", {"comment_id": "c"}, False),
        ("message.read", {"mid": "m"}, False),
    ],
)
def test_only_what_changes_what_may_be_sent_is_noted(world, kind, data, concerns):
    assert permissions.concern(happened(world, kind, **data)) is concerns
