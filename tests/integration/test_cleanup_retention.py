"""Retention on the MongoDB wire: what is old goes, in small batches, and open work stays whatever its age."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from pymongo import AsyncMongoClient

from cleanup.retention import ATTENTION, Cutoffs, retain
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, USAGE, Database, database
from delivery.ledger import TERMINAL, State

pytestmark = pytest.mark.mongo

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CUT = Cutoffs(messages=NOW, decisions=NOW, usage=NOW, deliveries=NOW)
OLD, NEW = NOW - timedelta(days=1), NOW + timedelta(days=1)


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    yield database(client)
    await client.close()


async def ids(db: Database, collection: str) -> set[Any]:
    return {document["_id"] async for document in db[collection].find({}, {"_id": 1})}


async def test_what_is_older_than_its_day_goes_and_the_rest_stays(db: Database):
    for collection, age in ((MESSAGES, "at"), (DECISIONS, "at"), (USAGE, "at"), (CONVERSATIONS, "updated_at")):
        await db[collection].insert_many(
            [
                {"_id": "old", "conversation_id": "178:1", age: OLD},
                {"_id": "exact", "conversation_id": "178:1", age: NOW},
                {"_id": "new", "conversation_id": "178:1", age: NEW},
            ]
        )
    deleted = await retain(db, CUT)
    for collection in (MESSAGES, DECISIONS, USAGE, CONVERSATIONS):
        assert await ids(db, collection) == {"exact", "new"}
        assert deleted[collection] == 1


async def test_a_ledger_row_that_is_not_closed_is_never_deleted(db: Database):
    states = (*get_args(State), "a state of tomorrow")
    await db[DELIVERIES].insert_many([{"_id": s, "conversation_id": f"178:{s}", "state": s, "at": OLD} for s in states])
    assert (await retain(db, CUT))[DELIVERIES] == len(TERMINAL)
    assert await ids(db, DELIVERIES) == {"claimed", "attempting", "unknown", "a state of tomorrow"}


async def test_a_row_that_an_erasure_left_goes_with_age_whatever_its_state(db: Database):
    await db[DELIVERIES].insert_many(
        [
            {"_id": "old", "state": "unknown", "at": OLD, "erased": True},
            {"_id": "new", "state": "unknown", "at": NEW, "erased": True},
        ]
    )
    await retain(db, CUT)
    assert await ids(db, DELIVERIES) == {"new"}


async def test_who_took_a_conversation_over_for_good_keeps_it(db: Database):
    await db[CONTACTS].insert_many(
        [
            {"_id": "178:1", "updated_at": OLD, "owner": "human", "owner_until": None},
            {"_id": "178:2", "updated_at": OLD, "owner": "human", "owner_until": OLD},
            {"_id": "178:3", "updated_at": OLD},
        ]
    )
    await retain(db, CUT)
    assert await ids(db, CONTACTS) == {"178:1"}


@pytest.mark.parametrize(("collection", "until"), [(CONTACTS, "owner_until"), (CONVERSATIONS, "human_until")])
async def test_what_an_agent_owns_until_later_stays_until_then(db: Database, collection: str, until: str):
    owner = {"owner": "human"} if collection == CONTACTS else {}
    await db[collection].insert_many(
        [
            {"_id": "178:later", "updated_at": OLD, until: NEW, **owner},
            {"_id": "178:exact", "updated_at": OLD, until: NOW, **owner},
            {"_id": "178:over", "updated_at": OLD, until: OLD, **owner},
            {"_id": "178:new", "updated_at": NEW, until: OLD, **owner},
        ]
    )
    await retain(db, CUT)
    assert await ids(db, collection) == {"178:later", "178:exact", "178:new"}
    later = Cutoffs(messages=NEW + timedelta(days=1), decisions=NOW, usage=NOW, deliveries=NOW)
    await retain(db, later)
    assert await ids(db, collection) == set()


async def test_a_contact_that_was_given_back_goes_though_its_takeover_had_a_later_end(db: Database):
    await db[CONTACTS].insert_one({"_id": "178:1", "updated_at": OLD, "owner": "bot", "owner_until": NEW})
    await retain(db, CUT)
    assert await ids(db, CONTACTS) == set()


async def test_a_row_whose_end_delivery_still_has_to_publish_stays(db: Database):
    row = {"conversation_id": "178:1", "state": "failed", "at": OLD}
    await db[DELIVERIES].insert_many([{"_id": "unpublished", "untold": True, **row}, {"_id": "published", **row}])
    await retain(db, CUT)
    assert await ids(db, DELIVERIES) == {"unpublished"}


async def test_what_a_person_still_has_to_see_stays_with_its_messages(db: Database):
    await db[CONVERSATIONS].insert_many(
        [
            {"_id": "178:waits", "updated_at": OLD, "attention": "escalated"},
            {"_id": "178:seen", "updated_at": OLD, "attention": None},
            {"_id": "178:never", "updated_at": OLD},
        ]
    )
    for each in ("waits", "seen", "never"):
        await db[MESSAGES].insert_one({"_id": each, "conversation_id": f"178:{each}", "at": OLD})
        await db[DECISIONS].insert_one({"_id": each, "conversation_id": f"178:{each}", "at": OLD})
    await retain(db, CUT)
    assert await ids(db, CONVERSATIONS) == {"178:waits"}
    assert await ids(db, MESSAGES) == {"waits"}
    assert await ids(db, DECISIONS) == {"waits"}
    assert await db[CONVERSATIONS].count_documents(ATTENTION) == 1


async def test_a_reply_whose_outcome_is_open_keeps_its_conversation(db: Database):
    await db[DELIVERIES].insert_one({"_id": "rep", "conversation_id": "178:1", "state": "unknown", "at": OLD})
    await db[CONVERSATIONS].insert_one({"_id": "178:1", "updated_at": OLD})
    await db[CONTACTS].insert_one({"_id": "178:1", "updated_at": OLD})
    await db[DECISIONS].insert_one({"_id": "dec", "conversation_id": "178:1", "at": OLD})
    assert sum((await retain(db, CUT)).values()) == 0


@pytest.mark.parametrize("batch", [1, 3, 500])
async def test_batches_of_any_size_delete_the_same(db: Database, batch: int):
    await db[CONVERSATIONS].insert_one({"_id": "178:open", "updated_at": OLD, "attention": "escalated"})
    await db[MESSAGES].insert_many(
        [{"_id": n, "conversation_id": "178:open" if n % 5 == 0 else "178:done", "at": OLD} for n in range(20)]
    )
    assert (await retain(db, CUT, batch=batch))[MESSAGES] == 16
    assert await ids(db, MESSAGES) == {0, 5, 10, 15}


async def test_a_second_run_finds_nothing_left_to_do(db: Database):
    await db[MESSAGES].insert_many([{"_id": n, "conversation_id": "178:1", "at": OLD} for n in range(7)])
    assert (await retain(db, CUT, batch=2))[MESSAGES] == 7
    assert sum((await retain(db, CUT, batch=2)).values()) == 0
