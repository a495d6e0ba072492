"""Erasing one person on the MongoDB wire: no text and no id of theirs is left anywhere, and nobody else is touched."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pymongo import AsyncMongoClient
from pymongo.errors import AutoReconnect

from cleanup.deauthorization import Disconnector
from cleanup.erasure import Eraser
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords
from common.accounts import MongoStandings, Standing
from common.clock import ManualClock
from common.events.privacy import PRIVACY, DeauthorizationReceived, ErasureRequested, PrivacyRequest
from common.events.replies import DirectMessage, Reply
from common.mongo import (
    ACCOUNTS,
    COLLECTIONS,
    CONTACTS,
    CONVERSATIONS,
    DECISIONS,
    DELIVERIES,
    ERASURES,
    MERCHANTS,
    MESSAGES,
    USAGE,
    Database,
    database,
)
from common.tombstones import Position
from delivery.ledger import arrived, begin, opened
from delivery.mongo import MongoLedger

pytestmark = pytest.mark.mongo

AT = datetime(2026, 3, 1, tzinfo=UTC)
LATER = datetime(2026, 3, 2, tzinfo=UTC)
ACCOUNT, OTHER_ACCOUNT = "178", "179"
PERSON, NEIGHBOUR = "99000000000000001", "99000000000000002"
TEXT = "my address is 5 Palm Street"


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True)
    yield database(client)
    await client.close()


async def seed(db: Database, account: str, person: str) -> None:
    """Store what the services store about one person who wrote twice and was answered once."""
    conversation = f"{account}:{person}"
    await db[MESSAGES].insert_many(
        [
            {"_id": f"{account}:msg:{person[-1]}{n}", "conversation_id": conversation, "at": AT, "text": TEXT}
            for n in range(2)
        ]
    )
    await db[CONVERSATIONS].insert_one({"_id": conversation, "updated_at": AT, "lead": {"phone": TEXT}})
    await db[CONTACTS].insert_one({"_id": conversation, "updated_at": AT, "username": TEXT})
    await db[DECISIONS].insert_one(
        {"_id": f"dec_{conversation[-1]}{account}", "conversation_id": conversation, "at": AT, "replies": [TEXT]}
    )
    await db[DELIVERIES].insert_one(
        {
            "_id": f"rep_{conversation[-1]}{account}",
            "conversation_id": conversation,
            "contact_id": person,
            "state": "delivered",
            "at": AT,
            "parts": [{"text": TEXT}],
        }
    )


def eraser(db: Database, at: datetime = AT, environment_account: str | None = None) -> Eraser:
    return Eraser(
        db,
        ErasureRecords(db),
        environment_account=environment_account,
        metrics=CleanupMetrics(CollectorRegistry()),
        clock=ManualClock(at),
    )


def requested(code: str = "code", user_id: str = PERSON, account_id: str | None = ACCOUNT) -> ErasureRequested:
    data = PrivacyRequest(code=code, user_id=user_id, account_id=account_id)
    return ErasureRequested(id=code, source="/test", subject=code, time=AT, partitionkey=code, data=data)


async def everything(db: Database) -> str:
    """Return the whole database as text."""
    names = [collection.name for collection in COLLECTIONS]
    return json.dumps({name: await db[name].find({}).to_list() for name in names}, default=str)


async def test_nothing_stored_mentions_the_person_or_what_they_wrote(db: Database):
    await seed(db, ACCOUNT, PERSON)
    assert await eraser(db).erase(requested()) == "erased"
    left = await everything(db)
    assert PERSON not in left
    assert TEXT not in left


async def test_a_neighbour_keeps_every_document(db: Database):
    await seed(db, ACCOUNT, PERSON)
    await seed(db, ACCOUNT, NEIGHBOUR)
    before = {name: await db[name].find({}).to_list() for name in (MESSAGES, CONVERSATIONS, CONTACTS, DECISIONS)}
    await eraser(db).erase(requested())
    for name, documents in before.items():
        neighbours = [d for d in documents if NEIGHBOUR in json.dumps(d, default=str)]
        assert await db[name].find({}).to_list() == neighbours
    row = await db[DELIVERIES].find_one({"_id": f"rep_{NEIGHBOUR[-1]}{ACCOUNT}"})
    assert row is not None
    assert row["parts"] == [{"text": TEXT}]


async def test_the_ledger_still_knows_that_the_reply_was_sent(db: Database):
    await seed(db, ACCOUNT, PERSON)
    await eraser(db).erase(requested())
    row = await db[DELIVERIES].find_one({"_id": f"rep_{PERSON[-1]}{ACCOUNT}"})
    assert row == {"_id": f"rep_{PERSON[-1]}{ACCOUNT}", "state": "delivered", "at": AT, "erased": True}


async def test_what_the_model_cost_stays(db: Database):
    await db[USAGE].insert_one({"_id": "u", "merchant_id": "m", "at": AT, "total_tokens": 9})
    await seed(db, ACCOUNT, PERSON)
    await eraser(db).erase(requested())
    assert await db[USAGE].count_documents({}) == 1


async def test_the_platforms_request_reaches_that_person_at_every_account(db: Database):
    await db[MERCHANTS].insert_one({"_id": "shop", "account_id": OTHER_ACCOUNT})
    await seed(db, ACCOUNT, PERSON)
    await seed(db, OTHER_ACCOUNT, PERSON)
    assert await eraser(db, environment_account=ACCOUNT).erase(requested(account_id=None)) == "erased"
    assert PERSON not in await everything(db)


async def test_an_operators_request_touches_one_account_only(db: Database):
    await seed(db, ACCOUNT, PERSON)
    await seed(db, OTHER_ACCOUNT, PERSON)
    await eraser(db).erase(requested())
    assert await db[MESSAGES].count_documents({"conversation_id": f"{OTHER_ACCOUNT}:{PERSON}"}) == 2


async def test_a_person_nobody_knows_is_recorded_as_nobody(db: Database):
    await seed(db, ACCOUNT, NEIGHBOUR)
    assert await eraser(db, environment_account=ACCOUNT).erase(requested(account_id=None)) == "nobody"
    record = await ErasureRecords(db).find("code")
    assert record is not None
    assert record.state == "nobody"
    assert not any(record.found.values())


async def test_the_record_proves_the_work_and_names_nobody(db: Database):
    await seed(db, ACCOUNT, PERSON)
    await eraser(db, at=LATER).erase(requested())
    record = await ErasureRecords(db).find("code")
    assert record is not None
    assert (record.state, record.requested_at, record.done_at) == ("erased", AT, LATER)
    assert dict(record.found) == {MESSAGES: 2, DECISIONS: 1, CONVERSATIONS: 1, CONTACTS: 1, DELIVERIES: 1}
    document = await db[ERASURES].find_one({"_id": "code"})
    assert PERSON not in json.dumps(document, default=str)


async def test_a_second_delivery_of_the_request_changes_nothing_it_said(db: Database):
    await seed(db, ACCOUNT, PERSON)
    await eraser(db).erase(requested())
    assert await eraser(db).erase(requested()) == "erased"
    record = await ErasureRecords(db).find("code")
    assert record is not None
    assert record.found[MESSAGES] == 2


@pytest.mark.parametrize(("written_ms", "state"), [(1_000, "kept"), (2_000, "erased")])
async def test_the_same_request_in_a_copied_log_erases_nothing_that_came_since(
    db: Database, monkeypatch: pytest.MonkeyPatch, written_ms: int, state: str
):
    """A mirror may give a record a higher offset; a request that was made again was written at another moment."""
    place = Position(PRIVACY, 0, 5, 1_000)
    monkeypatch.setattr("cleanup.erasure.positions", lambda: (place,))
    await eraser(db).erase(requested())
    await db[MESSAGES].insert_one({"_id": "since", "conversation_id": f"{ACCOUNT}:{PERSON}", "at": LATER})
    place = Position(PRIVACY, 0, 9, written_ms)
    await eraser(db, LATER).erase(requested())
    assert await db[MESSAGES].count_documents({}) == (1 if state == "kept" else 0)


class DyingRecords(ErasureRecords):
    """Dies where the work is done and not yet written down."""

    async def finish(self, code: str, *, at: datetime) -> Any:
        raise AutoReconnect("gone")


async def test_a_crash_before_the_end_is_told_as_erased_by_the_next_try(db: Database):
    await seed(db, ACCOUNT, PERSON)
    dying = Eraser(
        db,
        DyingRecords(db),
        environment_account=None,
        metrics=CleanupMetrics(CollectorRegistry()),
        clock=ManualClock(AT),
    )
    with pytest.raises(AutoReconnect):
        await dying.erase(requested())
    between = await ErasureRecords(db).find("code")
    assert between is not None
    assert between.state == "erasing"
    assert await eraser(db).erase(requested()) == "erased"


async def test_a_reply_in_flight_can_neither_be_written_back_nor_sent_again(db: Database):
    now = datetime(2026, 3, 1, 12, tzinfo=UTC)
    ledger = MongoLedger(db)
    reply = Reply(
        reply_id="rep",
        merchant_id="m",
        account_id=ACCOUNT,
        contact_id=PERSON,
        origin="model",
        action=DirectMessage(text=TEXT),
    )
    claimed = opened(reply, ["key"], now)
    attempting = begin(claimed, "graph", now)
    assert await ledger.insert(claimed) is None
    assert await ledger.put(attempting, over=claimed)

    await eraser(db).erase(requested())

    assert await ledger.put(arrived(attempting, 0, "mid", now), over=attempting) is False
    left = await ledger.find("rep")
    assert left is not None
    assert left.finished
    assert left.state == "attempting"
    assert PERSON not in await everything(db)


def deauthorized(user_id: str) -> DeauthorizationReceived:
    data = PrivacyRequest(code="code", user_id=user_id)
    return DeauthorizationReceived(id="code", source="/test", subject="code", time=AT, partitionkey="code", data=data)


CONNECTOR = "5550001"
"""Who connected the other account, as Meta's callbacks name them."""

MERCHANTS_THERE = [
    {"_id": "one", "account_id": ACCOUNT, "other_accounts": [{"account_id": "177", "app_scoped_id": CONNECTOR}]},
    {"_id": "two", "account_id": OTHER_ACCOUNT, "app_scoped_id": "5550002"},
]


def disconnector(db: Database, environment_account: str | None = None) -> tuple[Disconnector, CollectorRegistry]:
    registry = CollectorRegistry()
    standings = MongoStandings(db, keep=0)
    metrics = CleanupMetrics(registry)
    return Disconnector(db, standings, environment_account=environment_account, metrics=metrics), registry


async def states(db: Database) -> dict[str, str]:
    return {document["_id"]: document["state"] async for document in db[ACCOUNTS].find({})}


@pytest.mark.parametrize(("user_id", "account"), [(ACCOUNT, ACCOUNT), (CONNECTOR, "177"), ("5550002", OTHER_ACCOUNT)])
async def test_a_merchant_who_removed_the_app_is_disconnected_by_either_id_and_kept(
    db: Database, user_id: str, account: str
):
    await db[MERCHANTS].insert_many([dict(one) for one in MERCHANTS_THERE])
    remover, registry = disconnector(db)
    assert await remover.disconnect(deauthorized(user_id)) is True
    assert await states(db) == {account: "disconnected"}
    assert await db[MERCHANTS].find({}).sort("_id").to_list() == MERCHANTS_THERE
    assert registry.get_sample_value("cleanup_privacy_requests_total", {"result": "disconnected"}) == 1


async def test_an_account_nobody_has_disconnects_nobody_and_is_counted(db: Database):
    await db[MERCHANTS].insert_many([dict(one) for one in MERCHANTS_THERE])
    remover, registry = disconnector(db)
    assert await remover.disconnect(deauthorized("555")) is False
    assert await states(db) == {}
    assert registry.get_sample_value("cleanup_privacy_requests_total", {"result": "unknown_account"}) == 1


async def test_the_environments_account_is_disconnected_too(db: Database):
    remover, _ = disconnector(db, environment_account="176")
    assert await remover.disconnect(deauthorized("176")) is True
    assert await states(db) == {"176": "disconnected"}


async def test_an_account_that_was_connected_again_since_stays_connected(db: Database):
    await db[MERCHANTS].insert_many([dict(one) for one in MERCHANTS_THERE])
    await MongoStandings(db).note(Standing(ACCOUNT, since=LATER))
    remover, registry = disconnector(db)
    assert await remover.disconnect(deauthorized(ACCOUNT)) is True
    assert await states(db) == {ACCOUNT: "active"}
    assert registry.get_sample_value("cleanup_privacy_requests_total", {"result": "connected_since"}) == 1


async def test_a_person_is_erased_from_every_account_of_a_merchant(db: Database):
    await db[MERCHANTS].insert_many([dict(one) for one in MERCHANTS_THERE])
    await seed(db, "177", PERSON)
    await eraser(db).erase(requested(account_id=None))
    assert PERSON not in await everything(db)
