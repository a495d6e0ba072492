"""The second passes on the MongoDB wire: one customer's odd document, or another log, harms no other customer."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from cleanup.erasure import Eraser
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords
from cleanup.second_passes import PassesFailed, SecondPasses
from cleanup.tombstones import TombstoneWriter
from common.clock import ManualClock
from common.events.privacy import PRIVACY, ErasureRequested, PrivacyRequest
from common.mongo import CONTACTS, DECISIONS, TOMBSTONES, Database, database, mongo_client
from common.settings import MongoSettings
from common.tombstones import Position, customer_digest

pytestmark = pytest.mark.mongo

AT = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNT = "178"


@pytest.fixture
async def db(mongo_url: str) -> AsyncIterator[Database]:
    async with mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test") as client:
        yield database(client)


def requested(code: str, contact: str) -> ErasureRequested:
    data = PrivacyRequest(code=code, user_id=contact, account_id=ACCOUNT)
    return ErasureRequested(id=code, source="/test", subject=code, time=AT, partitionkey=code, data=data)


class Log:
    """A topic of requests, by offset."""

    def __init__(self, *requests: ErasureRequested) -> None:
        self.requests = requests

    async def ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        return {topic: [0] for topic in topics}

    async def value_at(self, position: Position) -> bytes | None:
        return self.requests[position.offset].to_json()


async def erased(db: Database, *requests: ErasureRequested) -> None:
    """Store the tombstones of these requests, done an hour ago, each at its place in the topic."""
    writer = TombstoneWriter(db)
    for offset, request in enumerate(requests):
        code, contact = request.data.code, request.data.user_id
        await writer.write(
            request.data,
            customer=customer_digest(contact, code),
            cut={},
            position=Position(PRIVACY, 0, offset),
            at=AT,
        )
        await writer.finish(code)


def passes(db: Database, log: Log) -> SecondPasses:
    metrics, clock = CleanupMetrics(CollectorRegistry()), ManualClock(AT + timedelta(hours=2))
    eraser = Eraser(db, ErasureRecords(db), environment_account=None, metrics=metrics, clock=clock)
    return SecondPasses(db, eraser, log, metrics=metrics, clock=clock)


async def left_to_do(db: Database) -> set[str]:
    return {each["_id"] async for each in db[TOMBSTONES].find({"state": "done", "second_pass_at": None})}


async def test_a_document_that_cannot_be_read_delays_no_other_customers_pass(db: Database):
    requests = [requested("first", "7001"), requested("second", "7002"), requested("third", "7003")]
    await erased(db, *requests)
    await db[DECISIONS].insert_one({"_id": "odd", "conversation_id": f"{ACCOUNT}:7001", "covers": 5})
    with pytest.raises(PassesFailed, match="1 of 3"):
        await passes(db, Log(*requests)).run()
    assert await left_to_do(db) == {"first"}


async def test_a_tombstone_that_cannot_be_read_delays_no_other_customers_pass(db: Database):
    requests = [requested("first", "7001"), requested("second", "7002")]
    await erased(db, *requests)
    await db[TOMBSTONES].update_one({"_id": "first"}, {"$unset": {"cut": 1}})
    assert await passes(db, Log(*requests)).run() == 1
    assert await left_to_do(db) == {"first"}


async def test_a_topic_that_was_made_anew_erases_nothing_of_whoever_stands_there_now(db: Database):
    await erased(db, requested("code", "7001"))
    await db[CONTACTS].insert_one({"_id": f"{ACCOUNT}:7002"})
    assert await passes(db, Log(requested("another", "7002"))).run() == 1
    assert await db[CONTACTS].count_documents({"_id": f"{ACCOUNT}:7002"}) == 1
    assert await left_to_do(db) == set()
