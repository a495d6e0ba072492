"""Places for work: never more than there are, line by line in turn, none lost."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.slots import Slots


@given(st.integers(1, 4), st.integers(1, 25), st.randoms(use_true_random=False))
def test_no_more_work_at_once_than_there_are_places_and_none_is_lost(places, workers, chance: random.Random):
    # Drawn before anything runs: Hypothesis may end the example at a draw, which no task must swallow.
    steps = [chance.randrange(3) for _ in range(workers)]
    cancelled = chance.sample(range(workers), workers // 3)

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
                for _ in range(steps[number]):
                    await asyncio.sleep(0)
            finally:
                slots.release()

        tasks = [asyncio.create_task(work(number)) for number in range(workers)]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
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


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_lines_are_served_in_turn_and_each_in_the_order_of_asking(lines):
    async def play() -> list[tuple[str, int]]:
        slots, served = Slots(1), []
        assert slots.take()

        async def work(line: str, number: int) -> None:
            await slots.acquire(line)
            served.append((line, number))
            slots.release(line)

        tasks = [asyncio.create_task(work(line, number)) for number, line in enumerate(lines)]
        await asyncio.sleep(0)
        slots.release()
        await asyncio.gather(*tasks)
        assert slots.taken == 0
        return served

    served = asyncio.run(play())
    for line in set(lines):
        of_line = [number for one, number in served if one == line]
        assert of_line == sorted(of_line)
    for at, (line, _) in enumerate(served):
        still_waiting = {one for one, _ in served[at + 1 :]} - {line}
        next_ones = [one for one, _ in served[at + 1 : at + 1 + len(still_waiting)]]
        assert set(next_ones) == still_waiting


async def test_one_record_of_another_account_is_served_before_the_rest_of_a_thousand():
    slots, served = Slots(1), []
    assert slots.take()

    async def work(line: str) -> None:
        await slots.acquire(line)
        served.append(line)
        slots.release(line)

    tasks = [asyncio.create_task(work(line)) for line in (*["loud"] * 1000, "quiet")]
    await asyncio.sleep(0)
    slots.release()
    await asyncio.gather(*tasks)
    assert served.index("quiet") == 1


@given(st.integers(4, 200), st.integers(1, 5))
def test_an_account_that_never_gives_a_place_back_leaves_some_to_the_others(places, loud):
    slots = Slots(places)
    accounts = [(topic, b"loud%d" % number) for number in range(loud) for topic in ("a", "b")]
    taken = [line for _ in range(places) for line in accounts if slots.take(line)]
    assert len(taken) < places or loud > 1
    if len(taken) < places:
        assert slots.take(("a", b"quiet"))


async def test_whoever_waits_only_for_the_share_of_its_own_account_keeps_nobody_elses_place():
    slots = Slots(4)
    while slots.take(("t", b"loud")):
        pass
    assert slots.taken == 3
    waiting = asyncio.create_task(slots.acquire(("t", b"loud")))
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await slots.acquire(("t", b"quiet"))
    assert not waiting.done()
    slots.release(("t", b"quiet"))
    await asyncio.sleep(0)
    assert not waiting.done()
    slots.release(("t", b"loud"))
    async with asyncio.timeout(5):
        await waiting
    assert slots.taken == 3
