"""Sending replies: what is called, what is written, what is published, and what never happens twice."""

import asyncio
from datetime import timedelta

import pytest

from common.accounts import Standing
from common.errors import Finding, Retryable, Throttled, UnknownOutcome
from common.events.ids import contact_of_username
from common.events.replies import (
    CommentReply,
    DirectMessage,
    HideComment,
    MentionReply,
    OperatorNotification,
    PrivateReply,
    Typing,
)
from common.kafka.hold import hand
from delivery.contacts import Contact
from delivery.platforms.sending import ALREADY_ANSWERED, DAY_OLD, Refused

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
LONG = "First sentence here. " * 40 + "Second part begins. " * 30


class TestSimpleSends:
    async def test_a_reply_is_sent_once_and_its_delivery_published(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        await world.sender.deliver(event)
        assert world.platform.asked == [("graph", "graph-token", ACCOUNT, CONTACT, "Hello")]
        (delivered,) = world.published
        assert delivered.id == "out_rep_1:delivered"
        assert delivered.causationid == event.id
        assert delivered.data.message_ids == ("mid.1",)
        assert delivered.data.route == "graph"
        assert delivered.data.milliseconds == 900

    async def test_a_reply_of_one_part_costs_three_database_calls(self, world):
        await world.sender.deliver(world.reply())
        assert world.contacts.calls + world.ledger.calls == ["contacts.find", "ledger.insert", "ledger.put"]

    async def test_the_row_says_attempting_before_the_call_is_made(self, world):
        event = world.reply()
        seen = []
        world.platform.during = lambda: seen.append(world.row(event))
        await world.sender.deliver(event)
        assert [(row.state, row.fence, row.parts[0].attempts, row.route) for row in seen] == [
            ("attempting", 1, 1, "graph")
        ]

    async def test_a_redelivered_reply_only_says_again_what_became_of_it(self, world):
        event = world.reply()
        await world.sender.deliver(event)
        world.clock.advance(timedelta(hours=3))
        world.restart()
        await world.sender.deliver(event)
        assert len(world.platform.asked) == 1
        first, again = world.published
        assert first.model_dump(exclude={"traceparent"}) == again.model_dump(exclude={"traceparent"})
        assert world.value("delivery_replies_total", outcome="delivered", route="graph", kind="direct_message") == 1

    async def test_an_outcome_that_kafka_did_not_take_is_published_by_the_next_try_without_a_second_send(self, world):
        event = world.reply()
        world.publish_fails = [ConnectionError("away")]
        with pytest.raises(ConnectionError):
            await world.sender.deliver(event)
        await world.sender.deliver(event)
        assert len(world.platform.asked) == 1
        assert world.kinds() == ["delivered"]

    async def test_a_text_that_is_too_long_is_sent_in_parts_in_order(self, world):
        event = world.reply(DirectMessage(text=LONG))
        await world.sender.deliver(event)
        texts = [one[-1] for one in world.platform.sends()]
        assert len(texts) == 2
        assert " ".join(texts) == LONG.strip()
        assert world.published[-1].data.message_ids == ("mid.1", "mid.2")

    async def test_a_blank_text_fails_with_the_reason(self, world):
        await world.sender.deliver(world.reply(DirectMessage(text="  \n")))
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "empty_text")


class TestPolicy:
    async def test_an_unknown_merchant_gets_nothing_sent(self, world):
        await world.sender.deliver(world.reply(merchant_id="nobody"))
        assert world.platform.asked == []
        assert (world.kinds(), world.published[0].data.reason) == (["suppressed"], "unknown_merchant")

    async def test_a_reply_for_another_account_than_the_merchants_is_not_sent(self, world):
        await world.sender.deliver(world.reply(account_id="999"))
        assert world.published[0].data.reason == "unknown_merchant"

    async def test_a_merchant_who_removed_the_app_gets_nothing_sent_but_alerts(self, world):
        await world.standings.note_news(Standing(ACCOUNT, "disconnected", since=world.clock.now()))
        await world.sender.deliver(world.reply())
        await world.sender.deliver(world.reply(OperatorNotification(reason="escalated", text="Please look")))
        assert [one.data.kind for one in world.published] == ["direct_message", "operator_notification"]
        assert world.published[0].data.reason == "disconnected"
        assert [notice.reason for notice in world.people.told] == ["escalated"]

    async def test_a_closed_window_is_said_and_counted(self, world):
        event = world.reply(customer_acted_at=world.clock.now() - timedelta(hours=24))
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert world.published[0].data.reason == "window_closed"
        assert world.value("delivery_window_closed_total") == 1

    async def test_a_bots_reply_is_withheld_while_a_person_answers(self, world):
        now = world.clock.now()
        await world.contacts.set_owner(
            f"{ACCOUNT}:{CONTACT}", "human", by="person", since=now, until=now + timedelta(hours=1)
        )
        event = world.reply()
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert world.published[0].data.reason == "human_owns"
        assert world.row(event).state == "suppressed"

    async def test_a_withheld_reply_stays_withheld_when_it_comes_again_later(self, world):
        event = world.reply(customer_acted_at=None)
        await world.sender.deliver(event)
        await world.contacts.customer_acted(f"{ACCOUNT}:{CONTACT}", world.clock.now())
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert world.kinds() == ["suppressed", "suppressed"]

    async def test_keys_that_cannot_be_opened_fail_with_what_to_do(self, world):
        world.directory.merchants = [world.merchant(access_token="sealed with a lost key")]
        await world.sender.deliver(world.reply())
        assert world.published[0].data.reason == "keys_unreadable"
        assert "ENCRYPTION_KEY" in world.published[0].data.detail

    async def test_a_key_that_fits_no_header_fails_before_anything_is_called(self, world):
        world.directory.merchants = [
            world.merchant(access_token=world.sealer.seal("two\nlines", ACCOUNT, "access_token"))
        ]
        await world.sender.deliver(world.reply())
        assert (world.platform.asked, world.published[0].data.reason) == ([], "keys_unreadable")

    async def test_a_merchant_without_keys_fails_with_what_to_do(self, world):
        world.directory.merchants = [world.merchant(access_token=None)]
        await world.sender.deliver(world.reply())
        assert world.published[0].data.reason == "no_route"

    async def test_who_is_known_by_username_alone_gets_no_message_and_is_answered_under_the_comment(self, world):
        contact = contact_of_username(ACCOUNT, "zahra.k")
        await world.sender.deliver(world.reply(contact_id=contact))
        assert world.published[-1].data.reason == "no_such_recipient"
        assert "username" in world.published[-1].data.detail
        await world.sender.deliver(world.reply(CommentReply(comment_id="c1", text="hi"), contact_id=contact))
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c2", text="hi"), contact_id=contact))
        assert world.kinds() == ["failed", "delivered", "delivered"]

    async def test_a_direct_message_to_nobody_fails(self, world):
        await world.sender.deliver(world.reply(contact_id=None))
        assert world.published[0].data.reason == "no_such_recipient"


class TestRoutes:
    async def test_manychat_is_used_first_for_a_subscriber_and_remembered(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply(DirectMessage(text="One")))
        await world.sender.deliver(world.reply(DirectMessage(text="Two")))
        assert world.platform.asked == [
            ("find_subscriber", 5, CONTACT),
            ("manychat", "page:key", 77, "One", None),
            ("manychat", "page:key", 77, "Two", None),
        ]
        assert [one.data.route for one in world.published] == ["manychat", "manychat"]

    async def test_somebody_who_is_no_subscriber_is_reached_by_the_graph_api_and_not_looked_up_each_time(self, world):
        world.with_manychat()
        world.platform.subscribers.clear()
        await world.sender.deliver(world.reply())
        await world.sender.deliver(world.reply())
        assert [one[0] for one in world.platform.asked] == ["find_subscriber", "graph", "graph"]
        world.clock.advance(timedelta(minutes=5))
        await world.sender.deliver(world.reply())
        assert [one[0] for one in world.platform.asked][3:] == ["find_subscriber", "graph"]

    async def test_a_lookup_that_fails_does_not_hold_a_reply_that_another_route_can_send(self, world):
        world.with_manychat()
        world.platform.lookup = [Retryable("ManyChat: 429", after=30)]
        await world.sender.deliver(world.reply())
        assert [one[0] for one in world.platform.asked] == ["find_subscriber", "graph"]

    async def test_a_lookup_that_fails_is_tried_again_where_there_is_no_other_route(self, world):
        world.with_manychat(routes=("manychat",))
        world.platform.lookup = [Retryable("ManyChat: 429", after=30)]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert world.ledger.rows == {}
        await world.sender.deliver(event)
        assert world.kinds() == ["delivered"]

    async def test_a_refused_key_fails_the_reply_loudly(self, world):
        world.with_manychat()
        world.platform.lookup = [Refused("key_refused", "enter the key again")]
        await world.sender.deliver(world.reply())
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "key_refused")

    @pytest.mark.parametrize("reason", ["no_subscriber", "channel_failed"])
    async def test_what_another_route_may_send_goes_to_the_next_route(self, world, reason):
        world.with_manychat()
        world.platform.script = [Refused(reason, elsewhere=True)]
        event = world.reply()
        await world.sender.deliver(event)
        assert [one[0] for one in world.platform.sends()] == ["manychat", "graph"]
        assert world.published[0].data.route == "graph"
        assert world.row(event).parts[0].attempts == 2

    async def test_a_subscriber_who_is_gone_is_forgotten(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply())
        world.platform.script = [Refused("no_subscriber", elsewhere=True)]
        await world.sender.deliver(world.reply())
        assert world.contacts.known[f"{ACCOUNT}:{CONTACT}"].subscriber_id is None

    async def test_the_last_routes_refusal_is_the_replys(self, world):
        world.with_manychat(routes=("manychat",), access_token=None)
        world.platform.script = [Refused("channel_failed", "3041", elsewhere=True)]
        await world.sender.deliver(world.reply())
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "channel_failed")

    async def test_a_refusal_that_holds_everywhere_ends_the_reply(self, world):
        world.with_manychat()
        world.platform.script = [Refused("window_closed", "3011")]
        await world.sender.deliver(world.reply())
        assert [one[0] for one in world.platform.sends()] == ["manychat"]
        assert world.published[0].data.reason == "window_closed"
        assert world.value("delivery_window_closed_total") == 1

    @pytest.mark.parametrize(("api", "code"), [("graph", "10/2534022"), ("manychat", "3011")])
    async def test_a_window_that_the_platform_calls_closed_right_after_a_message_is_not_called_a_day_old(
        self, world, api, code
    ):
        sentence = f"{DAY_OLD}. Wait. (Graph API error {code})"
        world.platform.script = [Refused("window_closed", sentence).found(Finding(api, code, "refuse"))]
        await world.sender.deliver(world.reply())
        detail = world.published[0].data.detail
        assert "more than 24 hours old" not in detail
        assert "although the customer wrote at 2026-03-01 11:59 UTC" in detail
        assert code in detail

    async def test_a_message_tag_goes_by_manychat_only_once_the_window_is_closed(self, world):
        world.with_manychat(routes=("graph", "manychat"))
        action = DirectMessage(text="Your order left", message_tag="POST_PURCHASE_UPDATE")
        await world.sender.deliver(world.reply(action, customer_acted_at=None))
        assert world.platform.sends() == [("manychat", "page:key", 77, "Your order left", "POST_PURCHASE_UPDATE")]

    async def test_a_message_tag_does_not_help_where_manychat_cannot_be_used(self, world):
        action = DirectMessage(text="Your order left", message_tag="POST_PURCHASE_UPDATE")
        await world.sender.deliver(world.reply(action, customer_acted_at=None))
        assert (world.kinds(), world.published[0].data.reason) == (["suppressed"], "window_closed")

    async def test_a_message_in_parts_goes_on_by_the_route_its_first_part_took(self, world):
        world.with_manychat()
        world.platform.script = [Refused("channel_failed", elsewhere=True)]
        await world.sender.deliver(world.reply(DirectMessage(text=LONG)))
        assert [one[0] for one in world.platform.sends()] == ["manychat", "graph", "graph"]


async def test_a_part_that_was_refused_takes_the_other_route_although_an_echo_named_the_part_before_it(world):
    """The echo moved the row's fence while the refusal was on its way; nothing about the refused part is unknown."""
    world.with_manychat()
    event = world.reply(DirectMessage(text="First sentence here. " * 40 + "Second part begins. " * 30))
    send, calls = world.platform._send, 0

    async def refusing_the_second(*asked, **how):
        nonlocal calls
        calls += 1
        if calls == 2:
            await world.observer.observe(world.echo("mid.1", world.platform.thread[0].text))
            raise Refused("channel_failed", elsewhere=True)
        return await send(*asked, **how)

    async def refusing_then(*asked, **how):
        if asked[0] == "manychat" and calls > 1:
            raise Refused("channel_failed", elsewhere=True)
        return await refusing_the_second(*asked, **how)

    world.platform._send = refusing_then
    await world.sender.deliver(event)
    row = world.row(event)
    assert (row.state, row.route, [part.unknowns for part in row.parts]) == ("delivered", "graph", [0, 0])


class TestOtherActions:
    async def test_comments_are_answered_by_the_graph_api_whatever_the_routes(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply(CommentReply(comment_id="c1", text="Thank you")))
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c1", text="Hello")))
        await world.sender.deliver(world.reply(HideComment(comment_id="c1")))
        assert world.platform.asked == [
            ("comment_reply", "graph-token", "c1", "Thank you"),
            ("private_reply", "graph-token", ACCOUNT, "c1", "Hello"),
            ("hide_comment", "c1", True),
        ]
        assert world.kinds() == ["delivered"] * 3

    async def test_a_private_reply_that_is_too_long_is_shortened_because_there_is_only_one(self, world):
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c1", text=LONG)))
        (sent,) = world.platform.sends()
        assert sent[-1].endswith("…")
        assert len(sent[-1].encode()) <= 1000

    async def test_one_comment_gets_one_private_reply_whatever_decided_it(self, world):
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c1", text="Hello")))
        second = world.reply(PrivateReply(comment_id="c1", text="Hello again"))
        await world.sender.deliver(second)
        await world.sender.deliver(second)
        assert len(world.platform.sends()) == 1
        assert world.kinds() == ["delivered", "suppressed", "suppressed"]
        assert world.published[1].data.reason == ALREADY_ANSWERED

    async def test_a_comment_whose_private_reply_was_withheld_may_be_answered_by_another(self, world):
        now = world.clock.now()
        late = world.reply(PrivateReply(comment_id="c1", text="Hello"), customer_acted_at=now - timedelta(days=8))
        await world.sender.deliver(late)
        await world.sender.deliver(world.reply(PrivateReply(comment_id="c1", text="Hello again")))
        assert world.kinds() == ["suppressed", "delivered"]

    @pytest.mark.parametrize("mention_first", [True, False])
    async def test_a_comment_that_is_told_as_a_mention_too_gets_one_public_answer(self, world, mention_first):
        comment = world.reply(CommentReply(comment_id="c1", text="Thank you"))
        mention = world.reply(MentionReply(media_id="m1", comment_id="c1", text="Thanks"), contact_id=None)
        both = [mention, comment] if mention_first else [comment, mention]
        for event in (*both, *both):
            await world.sender.deliver(event)
        assert len(world.platform.asked) == 1
        assert [world.row(event).state for event in both] == ["delivered", "suppressed"]
        assert world.row(both[1]).reason == ALREADY_ANSWERED

    async def test_a_comment_is_answered_once_although_whoever_answered_it_first_died_over_it(self, world, crash):
        world.platform.script = [crash()]
        mention = world.reply(MentionReply(media_id="m1", comment_id="c1", text="Thanks"), contact_id=None)
        with pytest.raises(crash):
            await world.sender.deliver(mention)
        comment = world.reply(CommentReply(comment_id="c1", text="Thank you"))
        await world.sender.deliver(comment)
        assert (len(world.platform.asked), world.row(comment).reason) == (1, ALREADY_ANSWERED)

    @pytest.mark.parametrize(
        "action", [PrivateReply(comment_id="c1", text="Hello"), CommentReply(comment_id="c1", text="Hello")]
    )
    async def test_an_answer_that_was_refused_leaves_its_comment_to_another(self, world, action):
        world.platform.script = [Refused("bad_request")]
        await world.sender.deliver(world.reply(action))
        await world.sender.deliver(world.reply(action))
        assert world.kinds() == ["failed", "delivered"]

    async def test_a_private_reply_refused_at_its_first_attempt_is_not_taken_for_delivered(self, world):
        """Somebody else answered the comment, or it is too old: nothing of this reply was sent."""
        world.platform.script = [Refused(ALREADY_ANSWERED, "the comment has had its one private reply")]
        event = world.reply(PrivateReply(comment_id="c1", text="Hello"))
        await world.deliver_until_done(event)
        assert world.kinds() == ["failed"]
        assert world.published[-1].data.reason == ALREADY_ANSWERED
        assert world.row(event).detail == "the comment has had its one private reply"

    async def test_a_private_reply_refused_after_an_unknown_attempt_is_what_answered_the_comment(self, world):
        world.platform.script = [UnknownOutcome("reset"), Refused(ALREADY_ANSWERED)]
        event = world.reply(PrivateReply(comment_id="c1", text="Hello"))
        await world.deliver_until_done(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]

    async def test_a_private_reply_refused_after_a_limit_is_not_taken_for_delivered(self, world):
        world.platform.script = [Retryable("429"), Refused(ALREADY_ANSWERED)]
        await world.deliver_until_done(world.reply(PrivateReply(comment_id="c1", text="Hello")))
        assert world.kinds() == ["failed"]

    async def test_hiding_a_comment_is_simply_done_again_after_a_crash(self, world, crash):
        event = world.reply(HideComment(comment_id="c1"))
        world.platform.script = [crash()]
        with pytest.raises(crash):
            await world.sender.deliver(event)
        world.restart()
        await world.sender.deliver(event)
        assert world.platform.asked == [("hide_comment", "c1", True)] * 2
        assert world.kinds() == ["delivered"]

    async def test_typing_is_shown_without_a_row_and_never_retried(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply(Typing())
        await world.sender.deliver(event)
        await world.sender.deliver(world.reply(Typing(on=False)))
        await world.sender.deliver(world.reply(Typing(), time=world.clock.now() - timedelta(minutes=5)))
        assert world.platform.asked == [("typing", CONTACT, True), ("typing", CONTACT, False)]
        assert world.ledger.rows == {}
        assert [getattr(one.data, "reason", "") for one in world.published] == ["not_shown", "", "too_late"]

    async def test_the_answer_that_waits_behind_it_makes_typing_pointless(self, world):
        class AnswerBehind:
            owned, partition = True, None

            def later(self, wanted):
                return wanted(world.reply())

        hand(AnswerBehind())
        await world.sender.deliver(world.reply(Typing()))
        assert world.platform.asked == []
        assert world.contacts.calls == [], "nothing is read for what is not shown"
        assert [one.data.reason for one in world.published] == ["too_late"]

    async def test_a_platform_that_hangs_over_typing_holds_the_answer_up_no_longer_than_a_courtesy_may(
        self, world, monkeypatch
    ):
        monkeypatch.setattr("delivery.typing_indicator.COURTESY_SECONDS", 0.01)
        hung = asyncio.Event()

        async def hangs(*_, **__):
            hung.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(world.platform, "send", hangs)
        async with asyncio.timeout(5):
            await world.sender.deliver(world.reply(Typing()))
        assert hung.is_set()
        assert [one.data.reason for one in world.published] == ["not_shown"]

    async def test_typing_needs_an_access_token(self, world):
        world.directory.merchants = [world.merchant(access_token=None)]
        await world.sender.deliver(world.reply(Typing()))
        assert world.published[0].data.reason == "no_route"

    async def test_a_notification_reaches_the_merchants_people(self, world):
        event = world.reply(OperatorNotification(reason="negative_comment", text="They are angry"))
        await world.sender.deliver(event)
        (notice,) = world.people.told
        assert (notice.reason, notice.text, notice.contact_id) == ("negative_comment", "They are angry", CONTACT)
        assert (world.kinds(), world.published[0].data.route) == (["delivered"], "operator")

    async def test_a_notification_nobody_takes_fails_and_does_not_hold_the_conversation(self, world):
        world.people.reachable = False
        await world.sender.deliver(world.reply(OperatorNotification(reason="negative_comment", text="They are angry")))
        assert (world.kinds(), world.published[0].data.reason) == (["failed"], "operator_unreachable")


class TestRetries:
    async def test_a_call_that_sent_nothing_is_made_again(self, world):
        world.platform.script = [Retryable("429", after=7)]
        event = world.reply()
        with pytest.raises(Retryable) as wait:
            await world.sender.deliver(event)
        assert wait.value.after == 7
        assert world.row(event).state == "claimed"
        await world.sender.deliver(event)
        assert world.kinds() == ["delivered"]
        assert world.row(event).parts[0].attempts == 2

    async def test_a_call_that_sent_nothing_may_be_made_any_number_of_times(self, world):
        world.platform.script = [Throttled("429")] * 9
        event = world.reply()
        assert await world.deliver_until_done(event) == 10
        assert world.row(event).state == "delivered"

    async def test_policy_is_asked_again_before_a_later_try(self, world):
        world.platform.script = [Retryable("429")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        now = world.clock.now()
        await world.contacts.set_owner(
            f"{ACCOUNT}:{CONTACT}", "human", by="person", since=now, until=now + timedelta(hours=1)
        )
        await world.sender.deliver(event)
        assert (world.kinds(), world.published[0].data.reason) == (["suppressed"], "human_owns")
        assert len(world.platform.thread) == 0

    async def test_a_call_that_could_not_begin_in_time_is_not_made(self, world):
        """A process that was frozen between the ledger and the call must not send when it wakes."""
        event = world.reply()
        world.ledger.before = lambda step: (
            world.clock.advance(timedelta(seconds=1.5)) if step in {"ledger.insert", "ledger.put"} else None
        )
        original = world.ledger.insert

        async def slow(row):
            result = await original(row)
            world.clock.advance(timedelta(seconds=3))
            return result

        world.ledger.insert = slow
        with pytest.raises(Retryable, match="not begun in time"):
            await world.sender.deliver(event)
        assert world.platform.asked == []
        assert world.row(event).state == "claimed"


def test_a_contact_without_an_owner_is_the_bots():
    assert not Contact("1:2").is_with_a_person(None, None)
