"""How many sends are under way at once, and whose is next."""

import asyncio
from datetime import timedelta

import pytest

from common.errors import Paced
from common.kafka.hold import OwnershipLost, hand
from delivery.pace.places import Places


async def settled():
    """Let every task run until it waits."""
    for _ in range(20):
        await asyncio.sleep(0)


class Letting:
    """A record in hand that is let go when told to."""

    owned, partition = True, 0

    def __init__(self):
        self.drained = asyncio.Event()

    async def wait_for(self, awaited):
        drained = asyncio.create_task(self.drained.wait())
        try:
            await asyncio.wait((awaited, drained), return_when=asyncio.FIRST_COMPLETED)
            if self.drained.is_set():
                raise OwnershipLost("its lane was drained")
            return await awaited
        finally:
            drained.cancel()
            awaited.cancel()


@pytest.fixture
def places():
    return Places(1)


def waiting(places, order, *who, route="graph"):
    async def take(account, first):
        await places.take(route, account, first=first)
        order.append((account, first))

    return [asyncio.create_task(take(*one)) for one in who]


async def handed_out(places, order, tasks):
    while len(order) < len(tasks):
        before = len(order)
        places.leave("graph")
        await settled()
        assert len(order) == before + 1
    await asyncio.gather(*tasks)
    return order


async def test_places_go_round_between_accounts(places):
    await places.take("graph", "a")
    tasks = waiting(places, order := [], *[("a", True)] * 3, ("b", True), ("b", True), ("c", True))
    await settled()
    assert order == []
    assert [account for account, _ in await handed_out(places, order, tasks)] == ["a", "b", "c", "a", "b", "a"]


async def test_an_accounts_answers_come_before_what_its_programs_ask_for(places):
    await places.take("graph", "a")
    tasks = waiting(places, order := [], ("a", False), ("a", False), ("a", True), ("a", True))
    await settled()
    assert [first for _, first in await handed_out(places, order, tasks)] == [True, True, False, False]


async def test_another_accounts_answer_waits_for_one_place_only_behind_a_thousand(places):
    await places.take("graph", "a")
    tasks = waiting(places, order := [], *[("a", False)] * 1000)
    await settled()
    (other,) = waiting(places, order, ("b", True))
    await settled()
    places.leave("graph")
    await settled()
    places.leave("graph")
    await settled()
    assert ("b", True) in order[:2]
    for task in (*tasks, other):
        task.cancel()
    await asyncio.gather(*tasks, other, return_exceptions=True)


async def test_one_routes_places_are_not_anothers(places):
    await places.take("graph", "a")
    await asyncio.wait_for(places.take("manychat", "a"), 1)


async def test_whoever_leaves_while_waiting_takes_no_place(places):
    await places.take("graph", "a")
    first, second = waiting(places, order := [], ("a", True), ("b", True))
    await settled()
    first.cancel()
    await settled()
    places.leave("graph")
    await second
    assert order == [("b", True)]
    places.leave("graph")
    assert places.free("graph") == 1


async def test_a_place_given_in_the_moment_of_leaving_goes_to_the_next(places):
    await places.take("graph", "a")
    first, second = waiting(places, order := [], ("a", True), ("b", True))
    await settled()
    places.leave("graph")
    first.cancel()
    await second
    assert order == [("b", True)]


async def test_a_wait_ends_when_the_record_is_let_go(places):
    await places.take("graph", "a")
    record = Letting()

    async def take():
        hand(record)
        await places.take("graph", "b")

    task = asyncio.create_task(take())
    await settled()
    record.drained.set()
    with pytest.raises(OwnershipLost):
        await task
    places.leave("graph")
    assert places.free("graph") == 1


async def test_nobody_waits_for_ever_and_who_gave_up_takes_no_place():
    places = Places(1, longest=0.01)
    await places.take("graph", "a")
    with pytest.raises(Paced):
        await asyncio.wait_for(places.take("graph", "b"), 1)
    places.leave("graph")
    assert places.free("graph") == 1


async def test_a_reply_whose_window_closed_while_it_waited_for_a_place_is_not_sent(make_world):
    world = make_world(places=1)
    world.pacing._places = places = Places(1, longest=0.01)
    await places.take("graph", "another account")
    event = world.reply(customer_acted_at=world.clock.now() - timedelta(hours=23, minutes=58))
    with pytest.raises(Paced):
        await asyncio.wait_for(world.sender.deliver(event), 1)
    world.clock.advance(timedelta(minutes=5))
    places.leave("graph")
    await world.sender.deliver(event)
    assert (world.platform.sends(), world.row(event).reason) == ([], "window_closed")
