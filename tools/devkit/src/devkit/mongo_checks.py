"""What Jawab relies on a MongoDB server for, tried on the server that is there.

The embedded servers are betas that imitate MongoDB. A flaw in one of these abilities would not look like an
error but like a message answered twice, so each is tried before anything is stored.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from pymongo import AsyncMongoClient, ReturnDocument, WriteConcern
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError, PyMongoError

Document = dict[str, Any]
Collection = AsyncCollection[Document]

CHECK_TIMEOUT = 30.0
OPERATION_TIMEOUT_MS = 5000
HISTORY = 2


async def unique_index_conflict(collection: Collection) -> None:
    """a second document with the same unique key is refused"""
    await collection.create_index("key", unique=True)
    await collection.insert_one({"key": 1})
    try:
        await collection.insert_one({"key": 1})
    except DuplicateKeyError:
        return
    raise AssertionError("both were stored")


async def compare_and_set(collection: Collection) -> None:
    """findAndModify changes a document only while it is as expected"""
    await collection.insert_one({"_id": 1, "state": "free"})
    taken = [
        await collection.find_one_and_update(
            {"_id": 1, "state": "free"},
            {"$set": {"state": "taken"}, "$inc": {"takes": 1}},
            return_document=ReturnDocument.AFTER,
        )
        for _ in range(2)
    ]
    expect(taken, [{"_id": 1, "state": "taken", "takes": 1}, None])


async def upsert(collection: Collection) -> None:
    """an upsert inserts once, sets on insert only then, and finds its document again"""
    for _ in range(2):
        await collection.update_one({"_id": 1}, {"$setOnInsert": {"made": 1}, "$inc": {"seen": 1}}, upsert=True)
    expect(await collection.find_one({"_id": 1}), {"_id": 1, "made": 1, "seen": 2})


async def ttl_index(collection: Collection) -> None:
    """an index that lets documents expire can be made and is listed as such"""
    await collection.insert_one({"at": datetime.now(UTC)})
    name = await collection.create_index("at", expireAfterSeconds=3600)
    expect((await collection.index_information()).get(name, {}).get("expireAfterSeconds"), 3600)


async def bounded_push(collection: Collection) -> None:
    """$push with $each and $slice keeps the last items only"""
    await collection.insert_one({"_id": 1, "last": ["a"]})
    await collection.update_one({"_id": 1}, {"$push": {"last": {"$each": ["b", "c"], "$slice": -HISTORY}}})
    expect(await collection.find_one({"_id": 1}), {"_id": 1, "last": ["b", "c"]})


async def journaled_majority(collection: Collection) -> None:
    """a write with concern majority and journal is acknowledged"""
    durable = collection.with_options(write_concern=WriteConcern(w="majority", j=True, wtimeout=5000))
    expect((await durable.insert_one({"_id": 1})).inserted_id, 1)


ABILITIES: tuple[Callable[[Collection], Awaitable[None]], ...] = (
    unique_index_conflict,
    compare_and_set,
    upsert,
    ttl_index,
    bounded_push,
    journaled_majority,
)


def expect(found: object, wanted: object) -> None:
    """Raise `AssertionError` with both values unless they are equal."""
    if found != wanted:
        raise AssertionError(f"expected {wanted!r}, found {found!r}")


async def missing_abilities(
    url: str, abilities: tuple[Callable[[Collection], Awaitable[None]], ...] = ABILITIES
) -> list[str]:
    """Return a readable line for each ability the server at `url` lacks; leaves nothing behind on it."""
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        url, serverSelectionTimeoutMS=OPERATION_TIMEOUT_MS, timeoutMS=OPERATION_TIMEOUT_MS
    )
    async with client:
        scratch = client[f"jawab_check_{uuid4().hex[:8]}"]
        lines = []
        try:
            for ability in abilities:
                try:
                    await ability(scratch[ability.__name__])
                except (AssertionError, PyMongoError) as problem:
                    lines.append(f"{ability.__doc__}: no ({problem})")
        finally:
            await client.drop_database(scratch.name)
    return lines


def run_checks(url: str) -> list[str]:
    """Do the same from code without an event loop, or inside another one. Raises `TimeoutError`."""
    with ThreadPoolExecutor(1, thread_name_prefix="mongo-checks") as thread:
        return thread.submit(lambda: asyncio.run(asyncio.wait_for(missing_abilities(url), CHECK_TIMEOUT))).result()


def answers_ping(url: str) -> bool:
    """Say whether the server at `url` answers a ping within two seconds."""

    async def ping() -> bool:
        client: AsyncMongoClient[Document] = AsyncMongoClient(url, serverSelectionTimeoutMS=2000, timeoutMS=2000)
        async with client:
            try:
                await client.admin.command("ping")
            except PyMongoError:
                return False
        return True

    with ThreadPoolExecutor(1, thread_name_prefix="mongo-ping") as thread:
        return thread.submit(lambda: asyncio.run(ping())).result()
