"""Sends nobody saw the end of: found, sent once more after proof, or given to a person."""

from dataclasses import replace
from datetime import timedelta

import pytest

from common.errors import Permanent, Retryable, Throttled, UnknownOutcome
from common.events.replies import CommentReply, DirectMessage
from delivery import ledger
from delivery.fingerprints import text_key
from delivery.ledger import Row
from delivery.parts import cuts_of, keys_of
from delivery.split import split

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
LONG = "First sentence here. " * 40 + "Second part begins. " * 30


async def test_the_rest_of_a_message_is_sent_as_an_earlier_version_cut_it(world):
    """A deploy between two parts, after which texts are cut elsewhere, loses and repeats no word."""
    event = world.reply(DirectMessage(text=LONG))
    planned = tuple(DirectMessage(text=part) for part in split(LONG, 700))
    cuts = cuts_of(event.data.action, planned)
    row = ledger.opened(event.data, keys_of(planned), world.clock.now(), cuts)
    row = ledger.begin(row, "graph", world.clock.now(), at_platform_time=True)
    world.ledger.rows[row.reply_id] = ledger.arrived(row, 0, world.platform.arrives(planned[0].text), world.clock.now())
    await world.sender.deliver(event)
    assert [shown.text for shown in world.platform.thread] == [piece.text for piece in planned]
    assert world.row(event).state == "delivered"


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
        await world.echoes.read(world.echo("mid.1", "Hello"), world.merchant())
        await world.sender.deliver(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]
        assert world.published[-1].data.message_ids == ("mid.1",)
        assert len(world.platform.sends()) == 1
        assert world.value("delivery_unknown_resolved_total", how="echo") == 1
        assert world.value("delivery_replies_total", outcome="delivered", route="graph", kind="direct_message") == 1

    async def test_an_echo_resolves_a_reply_that_waited_for_many_hours_before_it_was_sent(self, world):
        """Its row is as old as its first try; a limit or an outage may have held it up since."""
        world.platform.script = [Throttled("429"), ("arrives", UnknownOutcome("ReadTimeout"))]
        event = world.reply(DirectMessage(text="Hello"))
        with pytest.raises(Throttled):
            await world.sender.deliver(event)
        world.clock.advance(timedelta(hours=20))
        with pytest.raises(Retryable):
            await world.sender.deliver(event)
        await world.echoes.read(world.echo("mid.1", "Hello"), world.merchant())
        await world.sender.deliver(event)
        assert world.kinds() == ["outcomeunknown", "delivered"]

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
        await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), world.merchant())
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
        await world.echoes.read(world.echo("mid.2", "It costs 5", at=behind), world.merchant())
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
