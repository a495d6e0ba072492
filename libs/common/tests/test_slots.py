"""Places for work: never more than there are, in the order of asking, none lost."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.slots import Slots


@given(st.integers(1, 4), st.integers(1, 25), st.randoms(use_true_random=False))
def test_no_more_work_at_once_than_there_are_places_and_none_is_lost(places, workers, chance: random.Random):
    async def play() -> tuple[int, list[int]]:
        slots = Slots(places)
        most, began = 0, []

        async def work(number: int) -> None:
            nonlocal most
            if not slots.take():
                await slots.acquire()
            began.append(number)
            most = max(most, slots.taken)
            try:
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
            finally:
                slots.release()

        tasks = [asyncio.create_task(work(number)) for number in range(workers)]
        await asyncio.sleep(0)
        for task in chance.sample(tasks, workers // 3):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert slots.taken == 0
        return most, began

    most, began = asyncio.run(play())
    assert most <= places
    assert began == sorted(began)


async def test_a_place_given_to_one_who_is_cancelled_goes_to_the_next():
    slots = Slots(1)
    assert slots.take()
    first, second = asyncio.create_task(slots.acquire()), asyncio.create_task(slots.acquire())
    await asyncio.sleep(0)
    slots.release()
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    async with asyncio.timeout(5):
        await second
    assert slots.taken == 1
