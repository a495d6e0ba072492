"""What is taken away by a sabotage is what the guarantee rests on: with it gone, the guarantee breaks."""

from dataclasses import replace
from datetime import timedelta

import pytest

from common import failpoints
from common.errors import Retryable, UnknownOutcome
from delivery import ledger
from delivery.mongo import MongoLedger


@pytest.fixture(autouse=True)
def disarmed():
    """Leave no sabotage armed behind a test."""
    yield
    failpoints.arm("")


class OneRow:
    """A collection of one document, as far as `replace_one` goes."""

    def __init__(self, document):
        self.document = document

    async def replace_one(self, query, document):
        matched = all(self.document.get(name) == value for name, value in query.items())
        if matched:
            self.document = document

        class Result:
            matched_count = int(matched)

        return Result()


@pytest.mark.parametrize(("sabotage", "written"), [("", False), ("sabotage.no_fence", True)])
async def test_without_the_fence_an_overtaken_owner_overwrites_the_row(world, sabotage, written):
    event = world.reply()
    row = ledger.begin(ledger.opened(event.data, ("k",), world.clock.now()), "graph", world.clock.now())
    collection = OneRow({"_id": row.reply_id, "state": "delivered", "fence": row.fence + 1})
    store = MongoLedger({"deliveries": collection})
    failpoints.arm(sabotage)
    assert await store.put(ledger.nothing_sent(row), over=row) is written
    assert (collection.document["state"] == "claimed") is written


async def test_with_attempting_written_after_the_call_the_call_is_made_without_a_trace(world):
    failpoints.arm("sabotage.attempting_after_call")
    seen = []
    world.platform.during = lambda: seen.append(dict(world.ledger.rows))
    event = world.reply()
    await world.sender.deliver(event)
    assert seen == [{}]
    assert (world.row(event).state, world.kinds()) == ("delivered", ["delivered"])


@pytest.mark.parametrize(("sabotage", "messages"), [("", 1), ("sabotage.attempting_after_call", 2)])
async def test_with_attempting_written_after_the_call_a_crash_doubles_the_message(world, crash, sabotage, messages):
    failpoints.arm(sabotage)
    event = world.reply()
    world.platform.script = [("arrives", crash())]
    with pytest.raises(crash):
        await world.sender.deliver(event)
    world.restart()
    await world.deliver_until_done(event)
    assert len(world.platform.thread) == messages


async def test_with_attempting_written_after_the_call_a_later_try_has_no_trace_either(world):
    event = world.reply()
    world.platform.script = [Retryable("refused")]
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    failpoints.arm("sabotage.attempting_after_call")
    seen = []
    world.platform.during = lambda: seen.append(world.row(event).state)
    world.clock.advance(timedelta(seconds=1))
    await world.sender.deliver(event)
    assert seen == ["claimed"]
    assert world.row(event) == replace(world.row(event), state="delivered")


async def test_with_attempting_written_after_the_call_an_unknown_outcome_is_still_resolved(world):
    """The sabotage takes away one thing only."""
    failpoints.arm("sabotage.attempting_after_call")
    world.platform.script = [("arrives", UnknownOutcome("reset"))]
    event = world.reply()
    await world.deliver_until_done(event)
    assert (world.kinds(), len(world.platform.thread)) == (["outcomeunknown", "delivered"], 1)
