"""Sending replies: what is called, what is written, what is published, and what never happens twice."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Permanent, Retryable, Throttled, UnknownOutcome
from common.events.replies import (
    CommentReply,
    DirectMessage,
    HideComment,
    OperatorNotification,
    PrivateReply,
    Typing,
)
from delivery import ledger
from delivery.contacts import Contact
from delivery.ledger import Row, text_key
from delivery.sending import ALREADY_ANSWERED, Refused

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
        world.directory.merchants = [world.merchant(connected=False)]
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
        world.directory.merchants = [world.merchant(access_token=world.sealer.seal("two\nlines"))]
        await world.sender.deliver(world.reply())
        assert (world.platform.asked, world.published[0].data.reason) == ([], "keys_unreadable")

    async def test_a_merchant_without_keys_fails_with_what_to_do(self, world):
        world.directory.merchants = [world.merchant(access_token=None)]
        await world.sender.deliver(world.reply())
        assert world.published[0].data.reason == "no_route"

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


class TestUnknownOutcomes:
    async def test_an_unknown_outcome_is_published_and_holds_the_lane(self, world):
        world.platform.script = [UnknownOutcome("ReadTimeout")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert world.row(event).state == "unknown"
        assert world.kinds() == ["outcomeunknown"]
        assert world.published[0].data.evidence == "ReadTimeout"
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1

    async def test_an_echo_resolves_it(self, world):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        event = world.reply(DirectMessage(text="Hello"))
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        await world.echoes.read(world.echo("mid.1", "Hello"), "shop")
        await world.sender.deliver(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]
        assert world.published[-1].data.message_ids == ("mid.1",)
        assert len(world.platform.sends()) == 1
        assert world.value("delivery_unknown_resolved_total", how="echo") == 1
        assert world.value("delivery_replies_total", outcome="delivered", route="graph", kind="direct_message") == 1

    async def test_reading_the_conversation_resolves_it(self, world):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        event = world.reply()
        await world.deliver_until_done(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]
        assert len(world.platform.sends()) == 1
        assert world.value("delivery_unknown_resolved_total", how="read") == 1

    async def test_what_is_proven_absent_is_sent_once_more(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        await world.deliver_until_done(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]
        assert len(world.platform.thread) == 1
        assert world.row(event).parts[0].attempts == 2
        assert world.value("delivery_unknown_resolved_total", how="sent_again") == 1

    async def test_nothing_is_sent_again_while_the_first_request_may_be_under_way(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        began = world.clock.now()
        sent_at = []
        original = world.platform.direct_message

        async def timed(*arguments):
            sent_at.append((world.clock.now() - began).total_seconds())
            return await original(*arguments)

        world.platform.direct_message = timed
        await world.deliver_until_done(event)
        assert len(sent_at) == 2
        assert sent_at[1] >= world.patience.settle + world.patience.call_timeout + world.patience.settle

    async def test_a_message_is_not_sent_twice_because_an_equal_reply_before_it_has_no_id(self, world):
        """The echo of the second message must not be given to the first reply, of which ManyChat told no id."""
        world.with_manychat()
        await world.sender.deliver(world.reply(DirectMessage(text="It costs 5")))
        world.clock.advance(timedelta(seconds=120))
        second = world.reply(DirectMessage(text="It costs 5"))
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        with pytest.raises(Retryable):
            await world.sender.deliver(second)
        shown = world.platform.thread[-1]
        await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), "shop")
        await world.deliver_until_done(second)
        assert len(world.platform.thread) == 2
        assert world.row(second).message_ids == (shown.id,)

    async def test_a_message_that_the_platforms_clock_gave_to_another_reply_is_not_sent_again(self, world):
        world.with_manychat()
        await world.sender.deliver(world.reply(DirectMessage(text="It costs 5")))
        world.clock.advance(timedelta(seconds=120))
        second = world.reply(DirectMessage(text="It costs 5"))
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        with pytest.raises(Retryable):
            await world.sender.deliver(second)
        behind = world.platform.thread[-1].at - timedelta(seconds=2)
        world.platform.thread[-1] = replace(world.platform.thread[-1], at=behind)
        await world.echoes.read(world.echo("mid.2", "It costs 5", at=behind), "shop")
        await world.deliver_until_done(second)
        assert len(world.platform.thread) == 2
        assert world.row(second).state == "handed_to_human"

    @pytest.mark.parametrize("arrived", [False, True])
    async def test_a_lost_message_is_not_taken_for_an_equal_reply_before_it(self, world, arrived):
        """No echo came: the one message that is shown is the first reply's, and the second one's is there or not."""
        world.with_manychat()
        await world.sender.deliver(world.reply(DirectMessage(text="It costs 5")))
        world.clock.advance(timedelta(seconds=20))
        second = world.reply(DirectMessage(text="It costs 5"))
        world.platform.script = [("arrives", UnknownOutcome("reset")) if arrived else UnknownOutcome("reset")]
        await world.deliver_until_done(second)
        assert len(world.platform.sends()) == 2
        assert world.row(second).state == ("delivered" if arrived else "handed_to_human")
        assert [notice.reason for notice in world.people.told] == ([] if arrived else ["outcome_unknown"])

    async def test_what_was_unknown_twice_and_is_not_there_goes_to_a_person(self, world):
        world.platform.script = [UnknownOutcome("reset"), UnknownOutcome("reset")]
        event = world.reply()
        await world.deliver_until_done(event)
        assert len(world.platform.sends()) == 2
        assert world.row(event).state == "handed_to_human"
        assert world.published[-1].data.reason == "outcome_unknown"
        assert [notice.reason for notice in world.people.told] == ["outcome_unknown"]

    async def test_what_was_unknown_twice_and_is_there_is_delivered(self, world):
        world.platform.script = [UnknownOutcome("reset"), ("arrives", UnknownOutcome("reset"))]
        event = world.reply()
        await world.deliver_until_done(event)
        assert world.kinds()[-1] == "delivered"
        assert len(world.platform.thread) == 1

    async def test_what_cannot_be_read_until_the_deadline_goes_to_a_person(self, world):
        world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
        world.platform.readable = False
        event = world.reply()
        began = world.clock.now()
        await world.deliver_until_done(event)
        waited = (world.clock.now() - began).total_seconds()
        assert world.row(event).state == "handed_to_human"
        assert world.patience.deadline <= waited <= world.patience.deadline + 20
        assert len(world.platform.sends()) == 1

    async def test_an_unreachable_operator_does_not_keep_the_reply_open(self, world):
        world.platform.script = [UnknownOutcome("x")]
        world.platform.readable = False
        world.people.reachable = False
        event = world.reply()
        await world.deliver_until_done(event)
        assert world.row(event).state == "handed_to_human"

    async def test_a_manychat_send_of_unknown_outcome_never_goes_to_another_route_unproven(self, world):
        world.with_manychat()
        world.platform.script = [("arrives", UnknownOutcome("500"))]
        world.platform.readable = False
        event = world.reply()
        await world.deliver_until_done(event)
        assert [one[0] for one in world.platform.sends()] == ["manychat"]
        assert world.row(event).state == "handed_to_human"

    async def test_a_message_of_the_accounts_that_the_ledger_cannot_name_proves_nothing(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.platform.arrives("A text the platform may have changed")
        await world.deliver_until_done(event)
        assert world.row(event).state == "handed_to_human"
        assert len(world.platform.sends()) == 1

    async def test_an_unknown_comment_reply_is_looked_for_under_the_comment(self, world):
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        event = world.reply(CommentReply(comment_id="c1", text="Thank you"))
        await world.deliver_until_done(event)
        assert world.published[-1].data.message_ids == ("mid.1",)
        assert len(world.platform.sends()) == 1

    async def test_a_person_who_took_over_meanwhile_is_not_talked_over_by_the_second_attempt(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        now = world.clock.now()
        await world.contacts.set_owner(
            f"{ACCOUNT}:{CONTACT}", "human", by="person", since=now, until=now + timedelta(hours=1)
        )
        await world.deliver_until_done(event)
        assert len(world.platform.sends()) == 1
        assert (world.kinds()[-1], world.published[-1].data.reason) == ("failed", "human_owns")

    async def test_an_unknown_part_holds_the_parts_behind_it(self, world):
        world.platform.script = [None, UnknownOutcome("reset")]
        text = "One part of it. " * 180
        event = world.reply(DirectMessage(text=text))
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        states = [part.state for part in world.row(event).parts]
        assert states == ["delivered", "unknown", "waiting"]
        await world.deliver_until_done(event)
        assert " ".join(one.text for one in world.platform.thread) == text.strip()

    async def test_an_unexpected_error_in_a_call_counts_as_unknown(self, world):
        world.platform.script = [KeyError("a bug")]
        event = world.reply()
        with pytest.raises(KeyError):
            await world.sender.deliver(event)
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        assert world.row(event).state == "unknown"
        assert len(world.platform.sends()) == 1

    async def test_a_row_that_vanished_while_its_outcome_was_unknown_is_not_sent_again(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.ledger.rows.clear()
        with pytest.raises(Permanent, match="vanished"):
            await world.sender.deliver(event)
        assert len(world.platform.sends()) == 1

    async def test_a_row_that_vanished_between_two_steps_is_only_begun_anew_if_nothing_was_sent(self, world):
        event = world.reply(origin="api")
        claimed = ledger.opened(event.data, (text_key("Answer 1"),), world.clock.now())

        def withdraw(step):
            if step == "ledger.put":
                world.ledger.rows.clear()

        await world.contacts.customer_acted(f"{ACCOUNT}:{CONTACT}", world.clock.now())
        world.ledger.rows["rep_1"] = claimed
        world.ledger.before = withdraw
        with pytest.raises(Retryable, match="withdrawn"):
            await world.sender.deliver(event)
        world.ledger.rows["rep_1"] = ledger.nothing_sent(ledger.begin(claimed, "graph", world.clock.now()))
        with pytest.raises(Permanent, match="vanished"):
            await world.sender.deliver(event)
        assert world.platform.asked == []

    async def test_without_the_merchants_token_nobody_looks_and_a_person_is_told(self, world):
        world.with_manychat()
        world.platform.script = [("arrives", UnknownOutcome("reset"))]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.directory.merchants = [world.merchant(access_token="sealed with a lost key")]
        await world.deliver_until_done(event)
        assert world.row(event).state == "handed_to_human"

    async def test_a_merchant_who_left_meanwhile_ends_the_reply_without_anybody_to_tell(self, world):
        world.platform.script = [UnknownOutcome("reset")]
        event = world.reply()
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        world.directory.merchants = []
        await world.deliver_until_done(event)
        assert (world.row(event).state, world.people.told) == ("handed_to_human", [])

    async def test_an_erased_person_gets_nothing(self, world):
        event = world.reply()
        row = Row(**{**vars_of_erased(event), "state": "attempting"})
        world.ledger.rows[event.data.reply_id] = row
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert (world.kinds(), world.published[0].data.reason) == (["suppressed"], "erased")


def vars_of_erased(event):
    return {
        "reply_id": event.data.reply_id,
        "fence": -1,
        "at": event.time,
        "merchant_id": "",
        "account_id": "",
        "contact_id": None,
        "conversation_id": "",
        "decision_id": None,
        "kind": "",
        "origin": "",
        "received_at_ms": 0,
        "parts": (),
        "erased": True,
    }


class TestSeveralOwners:
    async def test_an_owner_that_was_overtaken_still_tells_that_its_message_arrived(self, make_world):
        """A zombie's answer is a fact: the new owner must not send what it already sent."""
        world = make_world()
        event = world.reply()
        old = world.sender

        def somebody_else_takes_over():
            row = world.row(event)
            world.ledger.rows[row.reply_id] = ledger.lost_sight(row, "found begun", world.clock.now())

        world.platform.during = somebody_else_takes_over
        await old.deliver(event)
        assert world.row(event).state == "delivered"
        assert world.row(event).message_ids == ("mid.1",)

    async def test_two_owners_of_a_claimed_row_send_it_once(self, world):
        """The compare-and-set lets one of them begin; the other finds the row begun and looks what came of it."""
        event = world.reply(origin="api")
        await world.contacts.customer_acted(f"{ACCOUNT}:{CONTACT}", world.clock.now())
        world.ledger.rows["rep_1"] = ledger.opened(event.data, (text_key("Answer 1"),), world.clock.now())
        first = world.sender
        world.restart()
        done = await asyncio.gather(first.deliver(event), world.sender.deliver(event), return_exceptions=True)
        assert all(one is None or isinstance(one, Retryable) for one in done)
        await world.deliver_until_done(event)
        assert len(world.platform.thread) == 1

    async def test_an_owner_that_was_overtaken_cannot_free_the_row(self, world):
        event = world.reply()

        def taken_over_meanwhile():
            row = world.row(event)
            world.ledger.rows[row.reply_id] = ledger.lost_sight(row, "found begun", world.clock.now())
            raise Retryable("connection refused")

        world.platform.during = taken_over_meanwhile
        with pytest.raises(Retryable, match="connection refused"):
            await world.sender.deliver(event)
        assert world.row(event).state == "unknown"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_wherever_the_process_dies_no_message_arrives_twice_and_the_reply_comes_to_an_end(make_world, crash, data):
    """Kill the process before any of its effects, several times in a row, and start it again each time."""
    long = data.draw(st.booleans(), label="two parts")
    echoes = data.draw(st.booleans(), label="echoes come")
    by_manychat = data.draw(st.booleans(), label="by ManyChat")
    deaths = data.draw(st.lists(st.integers(1, 14), max_size=3), label="deaths")
    faults = data.draw(
        st.lists(
            st.sampled_from([None, "unknown, arrived", "unknown, absent", "refused connection", "dies, arrived"]),
            max_size=3,
        ),
        label="faults",
    )
    meanings = {
        None: None,
        "unknown, arrived": ("arrives", UnknownOutcome("reset")),
        "unknown, absent": UnknownOutcome("reset"),
        "refused connection": Retryable("refused"),
        "dies, arrived": ("arrives", crash()),
    }

    async def run():
        world = make_world()
        if by_manychat:
            world.with_manychat()
        world.platform.script = [meanings[fault] for fault in faults]
        event = world.reply(DirectMessage(text=LONG if long else "Hello"))
        steps = 0
        remaining = list(deaths)

        def may_die(_step):
            nonlocal steps
            steps += 1
            if remaining and steps >= remaining[0]:
                remaining.pop(0)
                steps = 0
                raise crash

        world.ledger.before = may_die
        for _ in range(200):
            try:
                for shown in list(world.platform.thread) if echoes else []:
                    with contextlib.suppress(Retryable):
                        await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), "shop")
                await world.sender.deliver(event)
                break
            except Retryable as wait:
                world.clock.advance(timedelta(seconds=wait.after or 0.5))
            except crash:
                world.restart()
        assert "replied" not in world.kinds(), "an own message was taken for a person's"
        keys = [text_key(one.text) for one in world.platform.thread]
        assert len(keys) == len(set(keys)), "a part arrived twice"
        assert world.row(event).finished
        if world.row(event).state == "delivered":
            assert keys == [part.key for part in world.row(event).parts]

    asyncio.run(run())


def test_a_contact_without_an_owner_is_the_bots():
    assert not Contact("1:2").is_with_a_person(None, None)
