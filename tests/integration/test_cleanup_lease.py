"""The lease on the MongoDB wire: one holder at a time, whatever anybody's clock says, and a successor after a death."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient

from cleanup.job_records import JobRecords
from cleanup.lease import Lease
from common.mongo import JOBS, Database, database

pytestmark = pytest.mark.mongo


class ManualMonotonic:
    """A monotonic clock that a test moves."""

    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    yield database(client)
    await client.close()


def lease(db: Database, clock: ManualMonotonic) -> Lease:
    return Lease(db, seconds=45.0, margin=10.0, now=clock)


async def test_one_of_several_has_it_and_keeps_it(db: Database):
    clock = ManualMonotonic()
    first, second = lease(db, clock), lease(db, clock)
    assert await first.keep()
    for _ in range(30):
        clock.at += 10
        assert await first.keep()
        assert not await second.keep()


async def test_after_a_death_another_has_it_once_its_time_is_over(db: Database):
    clock = ManualMonotonic()
    dead, other = lease(db, clock), lease(db, clock)
    assert await dead.keep()
    assert not await other.keep()
    clock.at += 44
    assert not await other.keep()
    clock.at += 1
    assert await other.keep()
    assert not dead.held


async def test_what_is_given_back_is_taken_at_once(db: Database):
    clock = ManualMonotonic()
    first, second = lease(db, clock), lease(db, clock)
    assert await first.keep()
    await first.release()
    assert await second.keep()
    assert not await first.keep()


async def test_a_holder_that_was_frozen_finds_itself_without_it(db: Database):
    mine, theirs = ManualMonotonic(), ManualMonotonic(1e6)
    frozen, other = lease(db, mine), lease(db, theirs)
    assert await frozen.keep()
    await other.keep()
    theirs.at += 45
    assert await other.keep()
    mine.at += 5  # its clock may even have stood still
    assert not await frozen.keep()
    assert not frozen.held


def test_no_two_ever_have_it_at_once(mongo_url: str):
    """Processes with monotonic clocks of their own that begin anywhere, stand still and run on, in any order."""
    import asyncio

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["keep", "release", "die"])), max_size=30), st.data())
    def whatever_happens(steps: list[tuple[int, str]], data: st.DataObject) -> None:
        async def play() -> None:
            async with AsyncMongoClient(mongo_url, tz_aware=True) as client:
                db = database(client)
                await db[JOBS].delete_many({})
                real = ManualMonotonic()
                clocks = [ManualMonotonic(1000.0 * number) for number in range(3)]
                leases = [lease(db, clock) for clock in clocks]
                for number, what in steps:
                    passed = data.draw(st.sampled_from([0.0, 1.0, 10.0, 34.0, 46.0]))
                    real.at += passed
                    for clock in clocks:
                        clock.at += passed
                    if what == "keep":
                        await leases[number].keep()
                    elif what == "release":
                        await leases[number].release()
                    else:
                        leases[number] = lease(db, clocks[number])
                    assert sum(one.held for one in leases) <= 1

        asyncio.run(play())

    whatever_happens()


async def test_how_a_job_stands_is_kept(db: Database):
    from datetime import UTC, datetime, timedelta

    at = datetime(2026, 3, 1, tzinfo=UTC)
    records = JobRecords(db)
    first = await records.register("tokens", interval=60.0, now=at)
    assert (first.since, first.next_run, first.outcome) == (at, at, "never_run")
    await records.note_started("tokens", now=at, again_after=10.0)
    begun = await records.register("tokens", interval=60.0, now=at + timedelta(seconds=5))
    assert (begun.outcome, begun.next_run) == ("running", at + timedelta(seconds=10))
    later = at + timedelta(seconds=20)
    await records.note_ended("tokens", "ok", now=later, next_run=later + timedelta(seconds=60))
    ended = await records.find("tokens")
    assert ended is not None
    assert (ended.last_success, ended.last_run, ended.outcome) == (later, at, "ok")
