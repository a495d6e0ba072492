"""What is being published: an account's own bodies wait for one another, nobody else's do."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.publishing_room import NoRoom, PublishingRoom

WAIT = 5.0


def room(requests=8, max_bytes=100, max_wait=WAIT):
    return PublishingRoom(max_requests=requests, max_bytes=max_bytes, max_wait=max_wait)


async def test_an_account_over_its_share_waits_and_another_does_not():
    here = room()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(here.taken("a", 40))
        waiting = asyncio.create_task(stack.enter_async_context(here.taken("a", 20)))
        async with asyncio.timeout(WAIT), here.taken("b", 50):
            assert not waiting.done()
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(WAIT), here.taken("a", 50):
        pass


async def test_what_waited_goes_on_when_the_earlier_one_is_published():
    here, entered = room(), asyncio.Event()

    async def later():
        async with here.taken("a", 50):
            entered.set()

    async with here.taken("a", 50):
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
        assert not entered.is_set()
    async with asyncio.timeout(WAIT):
        await task


async def test_no_body_overtakes_an_earlier_one_of_its_account():
    here, order = room(), []

    async def publish(name, size):
        async with here.taken("a", size):
            order.append(name)

    async with here.taken("a", 40):
        tasks = []
        for name, size in (("large", 45), ("small", 1), ("last", 1)):
            tasks.append(asyncio.create_task(publish(name, size)))
            await asyncio.sleep(0)
        assert order == []
    async with asyncio.timeout(WAIT):
        await asyncio.gather(*tasks)
    assert order == ["large", "small", "last"]


async def test_one_body_larger_than_any_share_is_published_alone():
    here = room(max_wait=0.01)
    async with here.taken("a", 1_000):
        with pytest.raises(NoRoom):
            async with here.taken("b", 1):
                raise AssertionError
    async with here.taken("b", 1_000):
        pass


async def test_whoever_waits_too_long_comes_again():
    here = room(max_wait=0.01)
    async with here.taken("a", 50):
        with pytest.raises(NoRoom):
            async with here.taken("a", 50):
                raise AssertionError
    async with here.taken("a", 50):
        pass


async def test_one_account_leaves_requests_to_others():
    here = room(requests=8)
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(here.taken("a", 1))
        with pytest.raises(NoRoom):
            await stack.enter_async_context(here.taken("a", 1))
        for _ in range(2):
            await stack.enter_async_context(here.taken("b", 1))
        with pytest.raises(NoRoom):
            await stack.enter_async_context(here.taken("c", 1))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 120)), max_size=20))
def test_no_bound_is_exceeded_and_everybody_gets_through(bodies):
    async def run():
        here, current = room(requests=40), {"a": [], "b": [], "c": []}

        async def one(account, size):
            async with here.taken(account, size):
                current[account].append(size)
                everything = [taken for sizes in current.values() for taken in sizes]
                assert sum(everything) <= 100 or len([taken for taken in everything if taken]) == 1
                assert sum(current[account]) <= 50 or len([taken for taken in current[account] if taken]) == 1
                await asyncio.sleep(0)
                current[account].remove(size)

        async with asyncio.timeout(WAIT):
            await asyncio.gather(*(one(*body) for body in bodies))

    asyncio.run(run())
