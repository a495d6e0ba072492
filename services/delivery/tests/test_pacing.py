"""How many sends are under way at once."""

import asyncio

import pytest

from common.errors import Retryable
from common.events.replies import OperatorNotification
from delivery.pacing import Places


async def settled():
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_turn_waits_for_a_place_and_the_first_who_asked_gets_it():
    places = Places(1)
    first, second, third = places.turn(), places.turn(), places.turn()
    order = []

    async def take(name, turn):
        await turn.take("graph")
        order.append(name)

    await first.take("graph")
    waiting = [asyncio.create_task(take("second", second)), asyncio.create_task(take("third", third))]
    await settled()
    assert order == []
    first.leave()
    await settled()
    assert order == ["second"]
    second.leave()
    await asyncio.gather(*waiting)
    assert order == ["second", "third"]


async def test_one_routes_places_are_not_anothers():
    places = Places(1)
    busy, other = places.turn(), places.turn()
    await busy.take("graph")
    await asyncio.wait_for(other.take("manychat"), 1)


async def test_a_turn_holds_one_place_and_gives_it_back_once():
    places = Places(1)
    turn = places.turn()
    await turn.take("graph")
    await turn.take("graph")
    await turn.take("manychat")
    await asyncio.wait_for(places.turn().take("graph"), 1)
    turn.leave()
    turn.leave()
    await asyncio.wait_for(places.turn().take("manychat"), 1)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(places.turn().take("manychat"), 0.01)


async def test_a_reply_that_waits_for_its_turn_has_announced_nothing(make_world):
    world = make_world(places=1)
    answered = asyncio.Event()
    original = world.platform.direct_message

    async def slow(*arguments):
        await answered.wait()
        return await original(*arguments)

    world.platform.direct_message = slow
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
