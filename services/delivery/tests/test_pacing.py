"""When a send may begin: inside the limits, fairly, and counted only where a call was made."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from common.breaker import BreakerOpen
from common.errors import Paced, Retryable
from common.events.replies import DirectMessage, Flow, OperatorNotification, PrivateReply, Typing
from delivery.metrics import PaceMetrics
from delivery.pace.lines import EARLY, LONGEST_AWAY, PATIENCE
from delivery.pace.pacing import pacing
from delivery.pace.rate_limits import DEFAULTS, Limit, Meter
from devkit.virtual_time import in_virtual_time

A, B = Meter("message", "a"), Meter("message", "b")


async def settled():
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


def turns(places=100, **limits):
    loop = asyncio.get_running_loop()
    return pacing({**DEFAULTS, **limits}, places=places, metrics=PaceMetrics(CollectorRegistry()), now=loop.time)


async def call(paced, meter, *, first=True, seconds=0.0, who=None):
    """Make one call when its turn comes; return when it began."""
    turn = paced.turn()
    try:
        await turn.take("graph", meter.who, [meter], first=first, who=who)
        began = asyncio.get_running_loop().time()
        with turn.calling():
            await asyncio.sleep(seconds)
        return began
    finally:
        turn.leave()


def test_calls_above_the_limit_wait_and_the_next_window_takes_them():
    async def scene():
        paced = turns(message=Limit(3, 1))
        return await asyncio.gather(*(call(paced, A) for _ in range(6)))

    began = in_virtual_time(scene())
    assert began[:3] == [0, 0, 0]
    assert all(1.0 < at < 1.01 for at in began[3:])


def test_one_accounts_line_never_delays_anothers():
    async def scene():
        paced = turns(message=Limit(1, 1))
        crowd = [asyncio.create_task(call(paced, A, first=False)) for _ in range(2)]
        await settled()
        other = await call(paced, B)
        await asyncio.gather(*crowd)
        return other

    assert in_virtual_time(scene()) == 0


def test_in_a_line_answers_come_before_what_programs_ask_for():
    async def scene():
        paced = turns(message=Limit(2, 1))
        order = []

        async def one(name, *, first):
            await call(paced, A, first=first)
            order.append(name)

        names = [("now", False), ("too", False), ("program", False), ("second program", False), ("answer", True)]
        await asyncio.gather(*(one(name, first=first) for name, first in names))
        return order

    assert in_virtual_time(scene()) == ["now", "too", "answer", "program", "second program"]


async def until_called(paced, meter, who, *, first=True):
    """Come back whenever told to, as a lane does; return when the call began and how often it was put off."""
    for times in range(200):
        try:
            return await call(paced, meter, first=first, who=who), times
        except Paced as told:
            await asyncio.sleep(told.after)
    raise AssertionError("it never was its turn")


def test_whoever_would_wait_long_comes_back_and_keeps_their_number():
    async def scene():
        paced = turns(private_reply=Limit(2, 3600))
        meter = Meter("private_reply", "a")
        begun = []

        async def one(name, *, first=True):
            at, times = await until_called(paced, meter, name, first=first)
            begun.append((name, round(at / 3600), times))

        early = [asyncio.create_task(one(f"{n}")) for n in range(6)]
        await asyncio.sleep(2000)
        late = [asyncio.create_task(one(f"{n}")) for n in range(6, 8)]
        await asyncio.gather(*early, *late)
        return begun

    begun = in_virtual_time(scene())
    assert sorted((name, hour) for name, hour, _ in begun) == [(str(n), n // 2) for n in range(8)]
    assert max(times for _, _, times in begun) <= 3 * 3600 / LONGEST_AWAY + 3


def test_an_answer_that_comes_later_goes_before_programs_that_are_away():
    async def scene():
        paced = turns(media=Limit(1, 10))
        meter = Meter("media", "a")
        programs = [asyncio.create_task(until_called(paced, meter, f"p{n}", first=False)) for n in range(4)]
        await asyncio.sleep(1)
        at, _ = await until_called(paced, meter, "answer")
        return at, sorted(round(at) for at, _ in await asyncio.gather(*programs))

    at, programs = in_virtual_time(scene())
    assert (round(at), programs) == (10, [0, 20, 30, 40])


def test_whoever_gave_up_in_line_is_back_with_the_same_number_and_served():
    """A slow call holds the only pass for longer than anybody stands in line."""

    async def scene():
        paced = turns(message=Limit(1, 0.5))
        slow = asyncio.create_task(call(paced, A, seconds=3 * PATIENCE))
        await asyncio.sleep(0.1)
        others = [asyncio.create_task(until_called(paced, A, f"{n}")) for n in range(4)]
        ends = [at for at, _ in await asyncio.gather(*others)]
        await slow
        return ends

    assert [round(at, 1) for at in in_virtual_time(scene())] == [6.5, 7.0, 7.5, 8.0]


def test_whoever_does_not_come_back_is_not_waited_for():
    """A free pass is given to who is there, and after a while those who are away count no more."""

    async def scene():
        paced = turns(media=Limit(1, 10))
        meter = Meter("media", "a")
        await call(paced, meter)
        for n in range(5):
            with pytest.raises(Paced):
                await call(paced, meter, who=f"gone {n}")
        await asyncio.sleep(15)
        there = await call(paced, meter)
        with pytest.raises(Paced) as behind:
            await call(paced, meter)
        await asyncio.sleep(85)
        await call(paced, meter)
        with pytest.raises(Paced) as alone:
            await call(paced, meter)
        return there, behind.value.after, alone.value.after

    there, behind, alone = in_virtual_time(scene())
    assert there == 15
    assert behind > 5 * 10
    assert alone < 10


def test_a_turn_that_ends_without_a_call_counts_nowhere():
    async def scene():
        paced = turns(message=Limit(1, 3600))
        turn = paced.turn()
        for _ in range(5):
            await turn.take("graph", "a", [A])
            turn.leave()
        await call(paced, A)
        with pytest.raises(Paced):
            await turn.take("graph", "a", [A])

    in_virtual_time(scene())


def test_a_call_that_needs_two_passes_holds_none_while_it_gets_only_one():
    async def scene():
        paced = turns(manychat_flow=Limit(5, 1), manychat_flow_subscriber=Limit(1, 3600))
        page, hour = Meter("manychat_flow", "p"), Meter("manychat_flow_subscriber", "p:1")
        turn = paced.turn()
        await turn.take("manychat", "a", [page, hour])
        with pytest.raises(Paced):
            await paced.turn().take("manychat", "a", [page, hour])
        turn.leave()
        return await asyncio.gather(*(call(paced, page) for _ in range(5)))

    assert in_virtual_time(scene()) == [0] * 5


def test_whoever_leaves_the_line_leaves_their_pass_to_the_next():
    async def scene():
        paced = turns(message=Limit(1, 0.9))
        await call(paced, A)
        first, second = (asyncio.create_task(call(paced, A)) for _ in range(2))
        await asyncio.sleep(0.5)
        first.cancel()
        return await second

    assert 0.9 < in_virtual_time(scene()) < 0.91


def test_what_is_not_worth_a_wait_is_done_at_once_or_not():
    async def scene():
        paced = turns(message=Limit(1, 1))
        said = []
        for _ in range(2):
            async with paced.at_once(A) as free:
                said.append(free)
        return said

    assert in_virtual_time(scene()) == [True, False]


def test_closing_ends_the_lines():
    async def scene():
        paced = turns(message=Limit(1, 1))
        await call(paced, A)
        waiting = asyncio.create_task(call(paced, A))
        await asyncio.sleep(0.1)
        await paced.close()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return {task.get_name() for task in asyncio.all_tasks()}

    assert "pace" not in in_virtual_time(scene())


def test_patience_is_longer_than_the_head_start():
    assert PATIENCE > EARLY


# The sender


async def test_a_reply_that_waits_for_its_turn_has_announced_nothing(make_world):
    world = make_world(places=1)
    answered = asyncio.Event()
    original = world.platform.send

    async def slow(*arguments, **named):
        await answered.wait()
        return await original(*arguments, **named)

    world.platform.send = slow
    first, second = world.reply(), world.reply(contact_id="5")
    running = [asyncio.create_task(world.sender.deliver(one)) for one in (first, second)]
    await settled()
    assert [row.state for row in world.ledger.rows.values()] == ["attempting"]
    alert = world.reply(OperatorNotification(reason="escalated", text="Please look"))
    await asyncio.wait_for(world.sender.deliver(alert), 1)
    answered.set()
    await asyncio.gather(*running)
    assert {row.state for row in world.ledger.rows.values()} == {"delivered"}


async def test_a_reply_that_has_to_wait_for_something_else_gives_its_place_back(make_world):
    world = make_world(places=1)
    world.platform.script = [Retryable("429", after=30)]
    with pytest.raises(Retryable):
        await world.sender.deliver(world.reply())
    await asyncio.wait_for(world.sender.deliver(world.reply(contact_id="5")), 1)


async def test_a_reply_beyond_an_hours_limit_is_told_to_come_back_and_nothing_is_announced(make_world):
    world = make_world()
    world.limits = {**world.limits, "private_reply": Limit(1, 3600)}
    world.restart()
    replies = [world.reply(PrivateReply(comment_id=str(n), text="Hello")) for n in range(2)]
    await world.sender.deliver(replies[0])
    with pytest.raises(Paced):
        await world.sender.deliver(replies[1])
    assert list(world.ledger.rows) == [replies[0].data.reply_id]


async def test_what_the_breaker_refuses_after_its_turn_came_counts_nowhere(make_world):
    """As many sends as the limit allows are made, however often the breaker let one wait before."""
    world = make_world()
    world.limits = {**world.limits, "message": Limit(2, 3600)}
    world.restart()
    permits = [world.graph_breakers.ask(world.reply().data.account_id) for _ in range(5)]
    for permit in permits:
        permit.failed()
    replies = [world.reply() for _ in range(3)]
    for _ in range(4):
        with pytest.raises(BreakerOpen):
            await world.sender.deliver(replies[0])
    world.clock.advance(replace(world.patience).human_pause)
    for one in replies[:2]:
        await world.sender.deliver(one)
    with pytest.raises(Paced):
        await world.sender.deliver(replies[2])
    assert len(world.platform.sends()) == 2


async def test_what_was_disturbed_after_its_turn_came_counts_nowhere(make_world):
    world = make_world()
    world.limits = {**world.limits, "message": Limit(1, 3600)}
    world.restart()
    world.barrier.says = [False, False, True]
    await world.sender.deliver(world.reply())
    assert len(world.platform.sends()) == 1
    with pytest.raises(Paced):
        await world.sender.deliver(world.reply())


async def test_a_refused_call_counts_because_it_was_made(make_world):
    world = make_world()
    world.limits = {**world.limits, "message": Limit(1, 3600)}
    world.restart()
    world.platform.script = [Retryable("500")]
    event = world.reply()
    with pytest.raises(Retryable, match="500"):
        await world.sender.deliver(event)
    with pytest.raises(Paced):
        await world.sender.deliver(event)


async def test_each_part_of_a_long_message_is_a_call_of_its_own(make_world):
    world = make_world()
    world.limits = {**world.limits, "message": Limit(2, 3600)}
    world.restart()
    event = world.reply(DirectMessage(text="word " * 500))
    with pytest.raises(Paced):
        await world.sender.deliver(event)
    assert len(world.platform.sends()) == 2
    assert [part.state for part in world.row(event).parts].count("delivered") == 2


async def test_a_flow_counts_for_the_subscriber_and_for_the_page(make_world):
    world = make_world()
    world.with_manychat()
    world.limits = {**world.limits, "manychat_flow_subscriber": Limit(1, 3600)}
    world.restart()
    await world.sender.deliver(world.reply(Flow(flow_ns="welcome")))
    with pytest.raises(Paced, match="manychat_flow_subscriber"):
        await world.sender.deliver(world.reply(Flow(flow_ns="welcome")))


async def test_reading_a_conversation_back_is_paced_and_a_later_look_tells(make_world):
    world = make_world()
    world.limits = {**world.limits, "conversation": Limit(1, 3600)}
    world.restart()
    await world.outside.conversation("token", "9", "7")
    with pytest.raises(Paced):
        await world.outside.conversation("token", "9", "7")
    await world.outside.conversation("token", "another", "7")


async def test_typing_is_not_shown_where_it_would_take_a_messages_pass(make_world):
    world = make_world()
    world.limits = {**world.limits, "message": Limit(1, 3600)}
    world.restart()
    await world.sender.deliver(world.reply())
    await world.sender.deliver(world.reply(Typing()))
    assert [asked[0] for asked in world.platform.asked] == ["graph"]
    assert world.kinds()[-1] == "suppressed"
