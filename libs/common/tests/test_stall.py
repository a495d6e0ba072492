"""A client that stands still is noticed by a lease that stays away, and by nothing shorter."""

import asyncio
from types import SimpleNamespace

import pytest

from common.kafka.stall import LOOKS_APART, PATIENCE_SECONDS, Stall


class Client:
    """As much of aiokafka's client as refreshing metadata needs."""

    def __init__(self) -> None:
        self.begun = 0
        self._md_update_fut = asyncio.get_running_loop().create_future()
        self._md_update_waiter = asyncio.get_running_loop().create_future()
        self._sync_task = asyncio.create_task(self._md_synchronizer())

    async def _md_synchronizer(self) -> None:
        self.begun += 1
        await asyncio.Event().wait()


class Watched:
    def __init__(self) -> None:
        self.time = 0.0
        self.client = Client()
        self.stall = Stall(SimpleNamespace(_client=self.client), now=lambda: self.time)

    def after(self, seconds: float, *, well: bool = False) -> bool:
        self.time += seconds
        return self.stall.look(well=well)

    def over(self, seconds: float) -> list[bool]:
        return [self.after(1.0) for _ in range(int(seconds))]


@pytest.fixture
async def watched():
    watched = Watched()
    yield watched
    watched.client._sync_task.cancel()


async def test_a_lease_that_stays_away_sets_the_client_going_once_in_a_while(watched):
    waiting, old = watched.client._md_update_fut, watched.client._sync_task
    assert sum(watched.over(3 * PATIENCE_SECONDS + 3)) == 3
    await asyncio.sleep(0)
    assert (await waiting, old.cancelled()) == (False, True)
    assert watched.client.begun >= 1
    assert not watched.client._sync_task.done()


async def test_what_ended_with_an_error_is_replaced(watched):
    async def fails() -> None:
        raise KeyError("x")

    watched.client._sync_task = asyncio.create_task(fails())
    await asyncio.sleep(0)
    assert any(watched.over(PATIENCE_SECONDS + 2))
    assert not watched.client._sync_task.done()


async def test_a_rebalance_or_a_restart_is_waited_for(watched):
    assert not any(watched.over(PATIENCE_SECONDS - 1))
    assert not watched.after(1.0, well=True)
    assert not any(watched.over(PATIENCE_SECONDS - 1))


async def test_a_process_that_was_stopped_knows_nothing_of_kafka(watched):
    watched.after(1.0)
    assert not watched.after(PATIENCE_SECONDS + LOOKS_APART)


async def test_a_client_that_is_being_closed_is_left(watched):
    watched.client._sync_task.cancel()
    watched.client._sync_task = None
    watched.over(PATIENCE_SECONDS + 2)
    assert watched.client._sync_task is None
    watched.client._sync_task = asyncio.create_task(asyncio.sleep(0))
