"""Processes that die, and several that own one reply: whatever happens, the customer gets each message once."""

import asyncio
import contextlib
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Retryable, UnknownOutcome
from common.events.replies import DirectMessage
from delivery import ledger
from delivery.fingerprints import text_key

ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
LONG = "First sentence here. " * 40 + "Second part begins. " * 30


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
                        await world.echoes.read(world.echo(shown.id, shown.text, at=shown.at), world.merchant())
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
