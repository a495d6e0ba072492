"""A handler that waits leaves its place to others, and is told when its lane is drained meanwhile."""

import asyncio

import pytest
from consumption import event

from common.events.interactions import MessageReceived
from common.kafka.hold import OwnershipLost
from common.kafka.lanes import Entry, Lane, Lanes
from common.kafka.lease import Lease
from common.kafka.ownership import Ownership
from common.kafka.progress import PartitionProgress
from common.kafka.slots import Slots
from common.kafka.waiting import Waiting


class Record:
    """As much of a record as a lane looks at."""

    topic = "t"

    def __init__(self, one: MessageReceived) -> None:
        self.key: bytes | None = one.partitionkey.encode()
        self.value: bytes | None = one.to_json()


def entry(number: int) -> Entry:
    return Entry(Record(event("c0", number)), None, PartitionProgress(0), 1)


class Handler:
    """A handler that works in the only place there is."""

    def __init__(self) -> None:
        self.ownership = Ownership(Lease(10))
        self.working = Slots(1)
        self.working.take()
        self.waiting = Waiting(self.working, self.ownership)

    async def until_its_place_is_free(self) -> None:
        async with asyncio.timeout(5):
            while self.working.taken:
                await asyncio.sleep(0)


@pytest.fixture
def handler() -> Handler:
    return Handler()


def begun(coroutine) -> asyncio.Task:
    return asyncio.create_task(coroutine)


async def test_a_record_that_comes_ends_the_wait_and_the_place_is_taken_again(handler):
    lane = Lane(entry(0))
    wait = begun(handler.waiting.later_within(lane, lambda later: later.data.mid == "2", 20))
    await handler.until_its_place_is_free()
    lane.append(entry(1))
    lane.append(entry(2))
    assert await wait
    assert handler.working.taken == 1


async def test_waiting_for_a_record_has_an_end(handler):
    assert not await handler.waiting.later_within(Lane(entry(0)), lambda _: True, 0.01)
    assert handler.working.taken == 1


async def test_a_drain_ends_every_wait_and_cancels_what_was_awaited(handler):
    lanes, lane, awaited = Lanes(), Lane(entry(0)), asyncio.get_running_loop().create_future()
    other = lanes.put(b"other", entry(0))
    for wait in (
        lambda: handler.waiting.later_within(lane, lambda _: True, 20),
        lambda: handler.waiting.wait_for(awaited),
        lambda: handler.waiting.at_rest(lanes, b"other", 20),
    ):
        waiting = begun(wait())
        await handler.until_its_place_is_free()
        handler.ownership.draining.set()
        lanes.end(b"other", other)  # as a drain lets go of what only waits
        with pytest.raises(OwnershipLost):
            await waiting
        assert handler.working.taken == 1
        handler.ownership.end_drain()
        other = lanes.put(b"other", entry(0))
    assert awaited.cancelled()


async def test_a_wait_is_refused_after_its_drain_however_late_it_gets_its_place_again(handler):
    lanes, lane = Lanes(), Lane(entry(0))
    other = lanes.put(b"other", entry(0))
    waits = (
        lambda: handler.waiting.later_within(lane, lambda _: True, 20),
        lambda: handler.waiting.wait_for(asyncio.get_running_loop().create_future()),
        lambda: handler.waiting.at_rest(lanes, b"other", 20),
    )
    for wait in waits:
        waiting = begun(wait())
        await handler.until_its_place_is_free()
        assert handler.working.take()
        handler.ownership.draining.set()
        if wait is waits[-1]:
            lanes.end(b"other", other)
        for _ in range(10):
            await asyncio.sleep(0)
        handler.ownership.end_drain()
        handler.working.release()
        with pytest.raises(OwnershipLost):
            await asyncio.wait_for(waiting, 5)


async def test_what_was_awaited_is_returned(handler):
    awaited = asyncio.get_running_loop().create_future()
    wait = begun(handler.waiting.wait_for(awaited))
    await handler.until_its_place_is_free()
    awaited.set_result("the answer")
    assert await wait == "the answer"
    assert handler.working.taken == 1


async def test_a_lane_is_at_rest_only_when_nothing_came_while_its_waiter_took_its_place_again(handler):
    lanes = Lanes()
    first = lanes.put(b"other", entry(0))
    wait = begun(handler.waiting.at_rest(lanes, b"other", 20))
    await handler.until_its_place_is_free()
    assert handler.working.take()
    lanes.end(b"other", first)
    await asyncio.sleep(0)
    second = lanes.put(b"other", entry(1))
    handler.working.release()
    await handler.until_its_place_is_free()
    assert not wait.done()
    lanes.end(b"other", second)
    await wait


async def test_a_lane_that_does_not_come_to_rest_in_time_is_an_error(handler):
    lanes = Lanes()
    lanes.put(b"other", entry(0))
    with pytest.raises(TimeoutError):
        await handler.waiting.at_rest(lanes, b"other", 0.01)
    assert handler.working.taken == 1


async def test_a_lane_with_a_deferred_record_is_not_at_rest_until_that_was_read_again_and_handled(handler):
    lanes = Lanes()
    lanes.defer(b"other")
    wait = begun(handler.waiting.at_rest(lanes, b"other", 20))
    await handler.until_its_place_is_free()
    lanes.readmit(b"other")
    lane = lanes.put(b"other", entry(0))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not wait.done()
    lanes.end(b"other", lane)
    await wait


async def test_a_deferred_record_disturbs_whoever_watches_its_lane():
    lanes = Lanes()
    with lanes.watching(b"other") as watcher:
        assert not watcher.disturbed
        lanes.defer(b"other")
        assert watcher.disturbed


@pytest.mark.parametrize("change", [{"value": None}, {"value": b"["}, {"key": b"c1"}, {"key": None}])
def test_what_no_handler_will_see_is_not_waited_for(change):
    """A handler that left its answer to it would leave the customer without one."""
    behind = Record(event("c0", 1))
    for name, value in change.items():
        setattr(behind, name, value)
    lane = Lane(entry(0))
    lane.append(Entry(behind, None, PartitionProgress(0), 1))
    assert not lane.has_later(lambda _: True)
    lane.append(entry(2))
    assert lane.has_later(lambda _: True)
