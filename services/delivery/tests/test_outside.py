"""Circuit breakers around the outside APIs: asked before anything is announced, told what became of each call."""

from datetime import timedelta

import pytest

from common.breaker import BreakerOpen, BreakerPolicy
from common.errors import Retryable, Throttled, UnknownOutcome
from common.events.replies import OperatorNotification, Typing
from delivery.platforms.sending import Refused

ACCOUNT = "17841400000000001"
FAILURES = BreakerPolicy().failures


def open_breaker(breakers, account=ACCOUNT):
    while breakers.state(account) != "open":
        breakers.ask(account).failed()


async def test_an_open_breaker_is_met_before_anything_is_announced(world):
    open_breaker(world.graph_breakers)
    event = world.reply()
    with pytest.raises(BreakerOpen) as wait:
        await world.sender.deliver(event)
    assert wait.value.after == BreakerPolicy().first_pause
    assert (world.ledger.rows, world.platform.asked, world.places_left()) == ({}, [], world.places)


async def test_a_claimed_reply_stays_claimed_under_an_open_breaker(world):
    event = world.reply()
    world.platform.script = [Throttled("429", after=1)]
    with pytest.raises(Throttled):
        await world.sender.deliver(event)
    open_breaker(world.graph_breakers)
    with pytest.raises(BreakerOpen):
        await world.sender.deliver(event)
    assert world.row(event).state == "claimed"
    assert await world.deliver_until_done(event) == 2
    assert world.kinds() == ["delivered"]


@pytest.mark.parametrize("error", [Retryable("ConnectError"), UnknownOutcome("ReadTimeout")])
async def test_calls_without_an_answer_open_it(world, error):
    world.platform.script = [error] * FAILURES
    for _ in range(FAILURES):
        with pytest.raises(Retryable):
            await world.sender.deliver(world.reply())
    assert world.graph_breakers.state(ACCOUNT) == "open"
    assert world.value("breaker_open", api="graph") == 1
    assert world.value("breaker_openings_total", api="graph") == 1


@pytest.mark.parametrize("error", [Refused("window_closed"), Throttled("429", after=1)])
async def test_answers_do_not_open_it(world, error):
    world.platform.script = [error] * FAILURES * 2
    for _ in range(FAILURES * 2):
        try:
            await world.sender.deliver(world.reply())
        except Throttled:
            continue
    assert world.graph_breakers.state(ACCOUNT) == "closed"


async def test_one_probe_goes_out_and_the_others_wait(world):
    open_breaker(world.graph_breakers)
    world.clock.advance(timedelta(seconds=BreakerPolicy().first_pause))
    waiting = []

    def another_comes():
        waiting.append(world.graph_breakers.state(ACCOUNT))
        with pytest.raises(BreakerOpen):
            world.graph_breakers.ask(ACCOUNT)

    world.platform.during = another_comes
    await world.sender.deliver(world.reply())
    assert waiting == ["half_open"]
    assert world.graph_breakers.state(ACCOUNT) == "closed"


async def test_a_probe_that_was_announced_but_not_made_leaves_its_place(world):
    open_breaker(world.graph_breakers)
    world.clock.advance(timedelta(seconds=BreakerPolicy().first_pause))
    world.barrier.says = [Retryable("Kafka is away")]
    event = world.reply()
    with pytest.raises(Retryable, match="Kafka is away"):
        await world.sender.deliver(event)
    await world.sender.deliver(event)
    assert world.kinds() == ["delivered"]


async def test_a_reroute_into_an_open_breaker_takes_the_attempt_back(world):
    world.with_manychat()
    open_breaker(world.graph_breakers)
    world.platform.script = [Refused("channel_failed", elsewhere=True)]
    event = world.reply()
    with pytest.raises(BreakerOpen):
        await world.sender.deliver(event)
    assert world.row(event).state == "claimed"
    assert world.manychat_breakers.state(ACCOUNT) == "closed"


async def test_a_lookup_behind_an_open_breaker_goes_by_the_other_route(world):
    world.with_manychat()
    open_breaker(world.manychat_breakers)
    await world.sender.deliver(world.reply())
    assert [one[0] for one in world.platform.asked] == ["graph"]


async def test_reading_back_behind_an_open_breaker_proves_nothing(world):
    world.platform.script = [("arrives", UnknownOutcome("reset"))]
    event = world.reply()
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    world.clock.advance(timedelta(seconds=world.patience.first_look))
    open_breaker(world.graph_breakers)
    with pytest.raises(Retryable):
        await world.sender.deliver(event)
    assert world.row(event).state == "unknown"
    await world.deliver_until_done(event)
    assert (world.row(event).state, len(world.platform.sends())) == ("delivered", 1)


async def test_typing_is_not_worth_waiting_for_a_breaker(world):
    open_breaker(world.graph_breakers)
    await world.sender.deliver(world.reply(Typing()))
    assert (world.platform.asked, world.published[0].data.reason) == ([], "not_shown")


async def test_people_are_told_whatever_is_open(world):
    open_breaker(world.graph_breakers)
    open_breaker(world.manychat_breakers)
    await world.sender.deliver(world.reply(OperatorNotification(reason="escalated", text="Please look")))
    assert [notice.reason for notice in world.people.told] == ["escalated"]


async def test_one_accounts_breaker_holds_up_no_other_account(world):
    other = "17841400000000002"
    world.directory.merchants.append(world.merchant(id="other", account_id=other))
    open_breaker(world.graph_breakers)
    await world.sender.deliver(world.reply(merchant_id="other", account_id=other, in_reply_to=f"{other}:msg:in.1"))
    assert world.kinds() == ["delivered"]
