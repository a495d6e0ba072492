"""Standings of accounts: which goes before which, whatever the order they are told in, and what the database keeps."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.accounts import STATES, MongoStandings, Standing, replaces
from common.mongo import ACCOUNTS, database, mongo_client
from common.settings import MongoSettings

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def at(minutes: float, state="active", **more) -> Standing:
    return Standing("1", state, since=NOON + timedelta(minutes=minutes), **more)


def told(*standings: Standing) -> Standing:
    """Return what is known after being told these, one after another."""
    known = Standing("1")
    for new in standings:
        if replaces(new, known):
            known = replace(new, connected_at=new.since if new.state == "active" else known.connected_at)
    return known


MOMENTS = st.builds(at, st.integers(0, 5), st.sampled_from(STATES))


def test_an_account_of_which_nothing_is_known_works():
    assert Standing("1").works(NOON)


def test_a_restriction_is_over_at_its_end():
    restricted = at(0, "restricted", until=NOON + timedelta(hours=1))
    assert restricted.state_at(NOON + timedelta(minutes=59)) == "restricted"
    assert restricted.works(NOON + timedelta(hours=1))


def possible(order) -> bool:
    """Connecting is told as it happens: nothing that happened after it was told before it."""
    return all(
        one.state != "active" or all(earlier.since < one.since for earlier in order[:place])
        for place, one in enumerate(order)
    )


@given(st.lists(MOMENTS, min_size=1, max_size=5, unique_by=lambda one: one.since))
def test_what_is_known_in_the_end_does_not_depend_on_how_late_services_tell_it(standings):
    ends = {told(*order).state for order in permutations(standings) if possible(order)}
    assert len(ends) == 1


@given(st.lists(MOMENTS, max_size=6))
def test_only_connecting_makes_an_account_better(standings):
    known = Standing("1")
    for new in standings:
        if replaces(new, known):
            assert new.state == "active" or STATES.index(new.state) >= STATES.index(known.state)
            known = new


@given(st.lists(MOMENTS, max_size=6), st.sampled_from(STATES))
def test_nothing_from_before_a_connection_undoes_it(standings, state):
    later = told(*standings, at(10), *standings, at(9, state))
    assert later.state == "active"


def test_a_removed_app_is_not_softened_by_the_refusals_that_follow():
    assert told(at(0, "disconnected"), at(1, "needs_reconnection"), at(2, "restricted")).state == "disconnected"


def test_a_removed_app_is_believed_also_when_the_callback_comes_after_its_refusals():
    assert told(at(1, "needs_reconnection"), at(0, "disconnected")).state == "disconnected"


def test_a_late_callback_from_before_the_reconnection_changes_nothing():
    known = told(at(0, "disconnected"), at(5), at(6, "restricted"), at(4, "disconnected"))
    assert known.state == "restricted"


def test_a_restriction_can_be_extended_and_follows_one_that_is_over():
    first = at(0, "restricted", until=NOON + timedelta(minutes=5))
    assert told(first, at(1, "restricted", until=NOON + timedelta(minutes=9))).until == NOON + timedelta(minutes=9)
    assert told(first, at(6, "restricted")).until is None


@pytest.fixture
async def db(mongo_url):
    client = mongo_client(MongoSettings(mongodb_url=mongo_url), service="test")
    yield database(client)
    await client.close()


@pytest.mark.mongo
async def test_a_standing_is_kept_for_every_process(db):
    here, there = MongoStandings(db, keep=0), MongoStandings(db, keep=0)
    assert await here.of("1") == Standing("1")
    stopped = at(0, "needs_reconnection", reason="token_expired", detail="connect it again")
    assert await here.note(stopped)
    assert await there.of("1") == stopped
    assert await there.of("2") == Standing("2")
    assert await there.all(["1", "2"]) == {"1": stopped, "2": Standing("2")}


@pytest.mark.mongo
async def test_what_is_known_better_stays(db):
    standings = MongoStandings(db)
    assert await standings.note(at(5))
    assert not await standings.note(at(4, "disconnected"))
    assert (await standings.of("1")).state == "active"
    assert await standings.note(at(6, "disconnected"))
    assert not await standings.note(at(7, "needs_reconnection"))
    assert (await standings.of("1")).connected_at == NOON + timedelta(minutes=5)


@pytest.mark.mongo
async def test_of_many_who_write_at_once_the_one_who_knows_best_wins(db):
    each = [MongoStandings(db, keep=0) for _ in range(6)]
    notes = [at(n, "disconnected" if n == 2 else "needs_reconnection") for n in range(6)]
    await asyncio.gather(*(one.note(note) for one, note in zip(each, notes, strict=True)))
    assert (await each[0].of("1")).state == "disconnected"
    assert await db[ACCOUNTS].count_documents({}) == 1


@pytest.mark.mongo
async def test_an_answer_is_believed_for_a_while_and_ones_own_note_at_once(db):
    here, there = MongoStandings(db, keep=60), MongoStandings(db, keep=60)
    assert (await here.of("1")).works(NOON)
    assert await there.note(at(0, "restricted"))
    assert (await here.of("1")).works(NOON)
    assert not (await there.of("1")).works(NOON)
    assert not await here.note(at(-1, "restricted"))
    assert not (await here.of("1")).works(NOON)


@pytest.mark.mongo
async def test_a_standing_without_a_moment_is_refused(db):
    with pytest.raises(ValueError, match="since"):
        await MongoStandings(db).note(Standing("1", "restricted"))


@pytest.mark.mongo
async def test_of_many_who_find_out_the_same_at_once_one_is_told_that_it_is_news(db):
    each = [MongoStandings(db, keep=0) for _ in range(6)]
    notes = [at(n / 60, "needs_reconnection", reason="token_expired") for n in range(6)]
    told = await asyncio.gather(*(one.note_news(note) for one, note in zip(each, notes, strict=True)))
    assert sorted(told) == [False] * 5 + [True]
    assert not await each[0].note_news(at(9, "needs_reconnection", reason="token_expired"))
    assert await each[0].note_news(at(10, "disconnected", reason="removed"))


@pytest.mark.mongo
async def test_a_restriction_after_one_that_is_over_is_news_again(db):
    standings = MongoStandings(db)
    assert await standings.note_news(at(0, "restricted", reason="blocked", until=NOON + timedelta(minutes=5)))
    assert not await standings.note_news(at(4, "restricted", reason="blocked", until=NOON + timedelta(minutes=9)))
    assert await standings.note_news(at(5, "restricted", reason="blocked", until=NOON + timedelta(minutes=10)))


@pytest.mark.mongo
async def test_an_account_that_is_connected_again_works_at_once_in_every_process(db):
    here, there = MongoStandings(db, keep=60), MongoStandings(db, keep=60)
    await there.note(Standing("1", "needs_reconnection", "token_expired", since=NOON))
    assert (await here.of("1")).state == "needs_reconnection"
    await there.note(Standing("1", since=NOON + timedelta(minutes=1)))
    assert (await here.of("1")).state == "active"
