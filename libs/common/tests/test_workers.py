"""The tasks that work off lanes: one for those that never wait, one more for each that does."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable

from hypothesis import given
from hypothesis import strategies as st

from common.kafka.lanes import Entry, Lane
from common.kafka.progress import PartitionProgress
from common.kafka.workers import Workers

Work = Callable[[Hashable, Lane], Awaitable[None]]


def lane() -> Lane:
    return Lane(Entry(None, None, PartitionProgress(0), 1))


async def test_lanes_that_never_wait_are_worked_off_in_turn_by_a_single_task():
    by, order = set(), []

    async def work(key, _):
        by.add(asyncio.current_task())
        order.append(key)

    workers = Workers(work)
    for key in range(100):
        workers.take(key, lane())
    await workers.finish(5)
    assert order == list(range(100))
    assert len(by) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_whichever_lanes_wait_the_others_are_worked_off_and_each_once(waits):
    async def run() -> None:
        go_on, done = asyncio.Event(), []

        async def work(key, _):
            if waits[key]:
                await go_on.wait()
            done.append(key)

        workers = Workers(work)
        for key in range(len(waits)):
            workers.take(key, lane())
        for _ in range(2 * len(waits) + 2):
            await asyncio.sleep(0)
        assert done == [key for key, waiting in enumerate(waits) if not waiting]
        assert len(workers) == sum(waits)
        go_on.set()
        await workers.finish(5)
        assert sorted(done) == list(range(len(waits)))
        assert len(workers) == 0

    asyncio.run(run())


async def test_finishing_is_bounded_and_cancelling_ends_what_is_late():
    ended = []

    async def work(key, _):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(key)

    workers = Workers(work)
    workers.take("hangs", lane())
    await workers.finish(0.01)
    assert len(workers) == 1
    assert ended == []
    await workers.cancel()
    assert len(workers) == 0
    assert ended == ["hangs"]


async def test_a_lane_that_comes_after_a_cancellation_is_worked_off():
    done = []

    async def work(key, _):
        done.append(key)

    workers = Workers(work)
    workers.take("never begun", lane())
    await workers.cancel()
    workers.take("after", lane())
    await workers.finish(5)
    assert done == ["after"]
