"""Which replies a read receipt marks as seen, in whatever order it comes."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import Retryable
from common.events.interactions import MessageRead
from common.events.interactions import Read as Receipt
from common.events.replies import DirectMessage

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ACCOUNT, CONTACT = "17841400000000001", "1000000000000007"
MINUTE = timedelta(minutes=1)


def read(world, mid=None, at=None, **data):
    at = at or world.clock.now()
    about = Receipt(account_id=ACCOUNT, contact_id=CONTACT, mid=mid, **data)
    return MessageRead(id=f"seen:{mid}:{at}", source="/i", subject="s", time=at, partitionkey="k", data=about)


async def three_replies(world):
    events = [world.reply(DirectMessage(text=f"Answer {number}")) for number in range(3)]
    for event in events:
        await world.sender.deliver(event)
        world.clock.advance(MINUTE)
    return events


def seen(world, events):
    return [world.row(event).seen_at for event in events]


async def test_a_receipt_marks_what_was_sent_up_to_the_message_it_names(world):
    events = await three_replies(world)
    await world.observer.observe(read(world, "mid.2"))
    now = world.clock.now()
    assert seen(world, events) == [now, now, None]


async def test_messengers_receipt_marks_what_was_sent_up_to_its_moment(world):
    events = await three_replies(world)
    watermark = int((NOON + MINUTE).timestamp() * 1000)
    await world.observer.observe(read(world, watermark_ms=watermark))
    assert [bool(one) for one in seen(world, events)] == [True, True, False]


async def test_a_receipt_for_a_message_nobody_here_sent_marks_what_had_been_sent_when_it_was_read(world):
    events = await three_replies(world)
    await world.observer.observe(read(world, "mid.of.a.person", at=NOON + MINUTE))
    assert [bool(one) for one in seen(world, events)] == [True, True, False]


async def test_what_the_account_itself_read_marks_nothing(world):
    events = await three_replies(world)
    await world.observer.observe(read(world, "mid.2", from_account=True))
    assert seen(world, events) == [None, None, None]


async def test_a_receipt_that_comes_before_the_calls_answer_waits_for_it(world):
    event = world.reply(DirectMessage(text="Hello"))
    receipts, waited = [], []
    original = world.platform.direct_message

    async def read_at_once(token, account, contact, text):
        sent = await original(token, account, contact, text)
        receipts.append(read(world, sent.message_id))
        with pytest.raises(Retryable):
            await world.observer.observe(receipts[0])
        waited.append(True)
        return sent

    world.platform.direct_message = read_at_once
    await world.sender.deliver(event)
    await world.observer.observe(receipts[0])
    assert waited
    assert seen(world, [event]) == [world.clock.now()]


async def test_a_receipt_does_not_wait_for_ever_for_a_call_whose_process_died(world, crash):
    world.platform.script = [crash()]
    with pytest.raises(crash):
        await world.sender.deliver(world.reply())
    receipt = read(world, "mid.9")
    world.clock.advance(timedelta(seconds=world.patience.in_flight))
    await world.observer.observe(receipt)
    assert world.ledger.calls[-1] == "ledger.mark_seen"


@settings(max_examples=60, deadline=None)
@given(order=st.permutations(range(4)), again=st.lists(st.integers(0, 3), max_size=3))
async def test_neither_order_nor_repetition_of_receipts_matters(make_world, order, again):
    world = make_world()
    events = await three_replies(world)
    receipts = [
        read(world, f"mid.{number + 1}", at=NOON + number * MINUTE + 30 * timedelta(seconds=1)) for number in range(3)
    ]
    receipts.append(read(world, "mid.3", at=NOON + 9 * MINUTE))
    for which in [*order, *again]:
        await world.observer.observe(receipts[which])
    half = timedelta(seconds=30)
    assert seen(world, events) == [NOON + half, NOON + MINUTE + half, NOON + 2 * MINUTE + half]
