"""Rows whose owner died for good come to an end, and somebody is told; the living are left alone."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Retryable, UnknownOutcome
from common.events.replies import CommentReply, DirectMessage, MentionReply
from common.merchants import MerchantNotReadable
from delivery import ledger
from delivery.fingerprints import text_key
from delivery.ledger import LONGEST_LIFE
from delivery.parts import keys_of, pieces_of
from delivery.sweeper import MOST_AT_ONCE, NEVER_SENT, step_for

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
AFTER = timedelta(hours=1, minutes=6)
LATER = AFTER + timedelta(seconds=1)
MUCH_LATER = LONGEST_LIFE + timedelta(seconds=1)
LONG = "First sentence here. " * 40 + "Second part begins. " * 30


def claimed(world, event):
    row = ledger.opened(event.data, keys_of(pieces_of(event.data.action)), world.clock.now())
    world.ledger.rows[row.reply_id] = row
    return row


async def begun(world, event, *, arrives):
    """Let the owner die in the middle of the call."""
    world.platform.script = [("arrives", UnknownOutcome("x")) if arrives else UnknownOutcome("x")]
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    world.published.clear()


class TestDecision:
    @given(opened=st.integers(0, 200_000), attempted=st.integers(0, 10_000), state=st.sampled_from(sorted(ledger.OPEN)))
    def test_nothing_is_done_while_anybody_moved_the_row_lately(self, make_world, opened, attempted, state):
        reply = make_world().reply().data
        row = ledger.opened(reply, ("k",), NOW - timedelta(seconds=opened))
        if state != "claimed":
            row = ledger.begin(row, "graph", NOW - timedelta(seconds=attempted))
        if state == "unknown":
            row = ledger.lost_sight(row, "x", NOW - timedelta(seconds=attempted))
        moved = opened if state == "claimed" else min(opened, attempted)
        left = timedelta(seconds=moved) < (LONGEST_LIFE if state == "claimed" else AFTER)
        assert (step_for(row, NOW, AFTER) == "leave") is left

    @pytest.mark.parametrize("state", sorted(ledger.TERMINAL))
    def test_what_is_finished_and_told_is_left(self, world, state):
        row = ledger.opened(world.reply().data, ("k",), NOW - timedelta(days=9))
        assert step_for(ledger.Row(**{**vars(row), "state": state}), NOW, AFTER) == "leave"


class TestNeverSent:
    async def test_a_message_that_was_accepted_and_never_published_fails_and_a_person_is_told(self, world):
        event = world.reply(origin="api")
        claimed(world, event)
        world.clock.advance(MUCH_LATER)
        assert (await world.sweeper.sweep()).ended == 1
        row = world.row(event)
        assert (row.state, row.reason, row.untold) == ("failed", NEVER_SENT, False)
        assert world.published[0].id == "out_rep_1:failed"
        assert world.published[0].data.reason == NEVER_SENT
        assert [(one.reason, one.reply_id) for one in world.people.told] == [(NEVER_SENT, "rep_1")]
        assert world.value("delivery_swept_rows_total", how=NEVER_SENT) == 1

    async def test_its_record_that_comes_after_all_sends_nothing(self, world):
        event = world.reply(origin="api")
        claimed(world, event)
        world.clock.advance(MUCH_LATER)
        await world.sweeper.sweep()
        await world.sender.deliver(event)
        assert world.platform.asked == []
        assert [one.data.reason for one in world.published] == [NEVER_SENT, NEVER_SENT]

    async def test_a_row_that_is_young_enough_is_left_to_its_owner(self, world):
        event = world.reply(origin="api")
        claimed(world, event)
        world.clock.advance(AFTER - timedelta(seconds=1))
        assert (await world.sweeper.sweep()).ended == 0
        assert world.row(event).state == "claimed"

    async def test_a_message_that_waits_behind_a_broadcast_for_hours_is_sent_when_its_turn_comes(self, world):
        event = world.reply(origin="api")
        claimed(world, event)
        world.clock.advance(LATER)
        assert (await world.sweeper.sweep()).read == 0
        await world.sender.deliver(event)
        assert world.kinds() == ["delivered"]

    async def test_a_row_without_a_merchant_is_ended_without_anybody_to_tell(self, world):
        event = world.reply(origin="api")
        claimed(world, event)
        world.directory.merchants = []
        world.clock.advance(MUCH_LATER)
        assert (await world.sweeper.sweep()).ended == 1
        assert world.people.told == []


class TestUnknown:
    async def test_what_arrived_is_found_by_one_look(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        await begun(world, event, arrives=True)
        world.restart()
        world.clock.advance(LATER)
        assert (await world.sweeper.sweep()).ended == 1
        assert (world.row(event).state, world.row(event).message_ids) == ("delivered", ("mid.1",))
        assert world.kinds() == ["delivered"]
        assert world.people.told == []
        assert world.value("delivery_swept_rows_total", how="found") == 1

    async def test_what_is_not_there_is_never_sent_again_but_given_to_a_person(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        await begun(world, event, arrives=False)
        world.restart()
        world.clock.advance(LATER)
        await world.sweeper.sweep()
        assert (world.row(event).state, world.published[0].data.reason) == ("handed_to_human", "outcome_unknown")
        assert len(world.platform.sends()) == 1
        assert [one.reason for one in world.people.told] == ["outcome_unknown"]

    async def test_an_attempt_whose_owner_died_in_the_call_is_looked_for_too(self, world, crash):
        event = world.reply(DirectMessage(text="Hello"))
        world.platform.script = [("arrives", crash())]
        with pytest.raises(crash):
            await world.sender.deliver(event)
        assert world.row(event).state == "attempting"
        world.clock.advance(LATER)
        await world.sweeper.sweep()
        assert world.row(event).state == "delivered"

    async def test_the_rest_of_a_message_whose_first_part_is_found_has_failed(self, world):
        event = world.reply(DirectMessage(text=LONG))
        await begun(world, event, arrives=True)
        world.clock.advance(LATER)
        await world.sweeper.sweep()
        assert (world.row(event).state, world.row(event).reason) == ("failed", NEVER_SENT)
        assert "1 of 2 parts had been sent" in world.row(event).detail
        assert len(world.people.told) == 1

    @pytest.mark.parametrize(
        ("arrives", "shown", "state"),
        [(True, True, "delivered"), (True, False, "handed_to_human"), (False, True, "handed_to_human")],
    )
    async def test_a_public_answer_is_looked_for_below_its_comment(self, world, arrives, shown, state):
        event = world.reply(CommentReply(comment_id="c1", text="Thanks"))
        await begun(world, event, arrives=arrives)
        if not shown:
            world.platform.replies.clear()  # an answer to an answer stands below their common parent
        world.clock.advance(LATER)
        await world.sweeper.sweep()
        assert (world.row(event).state, world.platform.read_below) == (state, ["c1"])
        assert len(world.platform.sends()) == 1

    async def test_what_names_no_comment_and_is_in_no_thread_goes_to_a_person(self, world):
        event = world.reply(MentionReply(media_id="m1", text="Thanks"))
        await begun(world, event, arrives=True)
        world.clock.advance(LATER)
        await world.sweeper.sweep()
        assert (world.row(event).state, world.platform.read_below) == ("handed_to_human", [])


class TestSeveralSweepers:
    async def test_a_death_before_anybody_was_told_only_leaves_the_telling_to_the_next_sweep(self, world, crash):
        event = world.reply(origin="api")
        claimed(world, event)
        world.clock.advance(MUCH_LATER)

        def die(step):
            if step == "publish":
                raise crash

        world.ledger.before = die
        with pytest.raises(crash):
            await world.sweeper.sweep()
        assert (world.row(event).state, world.row(event).untold, world.people.told) == ("failed", True, [])
        world.ledger.before = lambda _: None
        world.restart()
        assert (await world.sweeper.sweep()).ended == 1
        assert not world.row(event).untold
        assert (world.kinds(), len(world.people.told)) == (["failed"], 1)
        assert (await world.sweeper.sweep()).read == 0

    async def test_an_echo_that_comes_first_wins(self, world):
        """The row moved between the sweeper's reading and its writing."""
        event = world.reply(DirectMessage(text="Hello"))
        await begun(world, event, arrives=True)
        world.clock.advance(LATER)
        original = world.ledger.left_behind

        async def left_behind(before, most, **more):
            found = await original(before, most, **more)
            row = world.row(event)
            world.ledger.rows[row.reply_id] = ledger.arrived(row, 0, "mid.1", world.clock.now(), by_text=True)
            return found

        world.ledger.left_behind = left_behind
        world.platform.readable = False
        assert (await world.sweeper.sweep()).ended == 0
        assert (world.row(event).state, world.people.told, world.published) == ("delivered", [], [])

    async def test_a_merchant_whose_document_is_broken_leaves_the_rows_of_others_alone(self, world):
        first, second = world.reply(origin="api", merchant_id="broken"), world.reply(origin="api")
        for event in (first, second):
            claimed(world, event)
            world.clock.advance(timedelta(seconds=1))
        original = world.directory.by_id

        async def by_id(merchant_id):
            if merchant_id == "broken":
                raise MerchantNotReadable("merchant broken: not valid at rules")
            return await original(merchant_id)

        world.directory.by_id = by_id
        world.clock.advance(MUCH_LATER)
        assert (await world.sweeper.sweep()).ended == 1
        assert (world.row(second).state, world.row(second).untold) == ("failed", False)
        assert world.row(first).untold
        world.directory.by_id = original
        await world.sweeper.sweep()
        assert not world.row(first).untold

    async def test_however_many_rows_of_a_broken_merchant_are_left_those_of_others_are_swept(self, world):
        """Its rows are the oldest, and they are read first in each sweep."""
        broken = [world.reply(origin="api", merchant_id="broken") for _ in range(MOST_AT_ONCE)]
        for event in broken:
            claimed(world, event)
        world.clock.advance(timedelta(minutes=1))
        other = world.reply(origin="api")
        claimed(world, other)
        original, readable = world.directory.by_id, []

        async def by_id(merchant_id):
            if merchant_id == "broken" and not readable:
                raise MerchantNotReadable("a rule is misspelt")
            return await original(merchant_id)

        world.directory.by_id = by_id
        world.clock.advance(MUCH_LATER)
        for _ in range(2):
            await world.sweeper.sweep()
        assert (world.row(other).state, world.row(other).untold) == ("failed", False)
        readable.append(True)
        await world.sweeper.sweep()
        assert not any(world.row(event).untold for event in broken)

    async def test_a_row_that_nobody_can_make_sense_of_ends_neither_the_sweep_nor_the_sweeping(self, world):
        """The sweeper runs beside what consumes: what it raised would stop the service from sending."""
        odd, plain = world.reply(origin="api"), world.reply(origin="api")
        for event in (odd, plain):
            claimed(world, event)
        row = world.row(odd)
        world.ledger.rows[row.reply_id] = replace(row, route="carrier pigeon", at=row.at - timedelta(seconds=1))
        world.clock.advance(MUCH_LATER)
        sweeping = asyncio.create_task(world.sweeper.sweep_regularly(0.0))
        async with asyncio.timeout(5):
            while world.row(plain).state != "failed" or world.row(plain).untold:
                assert not sweeping.done()
                await asyncio.sleep(0)
        sweeping.cancel()

    async def test_an_erased_row_is_left(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        row = claimed(world, event)
        world.ledger.rows[row.reply_id] = ledger.Row(**{**vars(row), "erased": True})
        world.clock.advance(LATER)
        assert await world.sweeper.sweep() == type(await world.sweeper.sweep())(0, 0)

    async def test_a_text_is_never_needed_to_end_a_row(self, world):
        event = world.reply(DirectMessage(text="Hello"))
        row = claimed(world, event)
        assert row.parts[0].key == text_key("Hello")
        assert "Hello" not in str(row)
