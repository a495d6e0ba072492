"""MongoDB: the client, and every collection and index, declared in one place.

Only single-document operations and unique indexes are relied upon: they mean the same on every server that speaks the
protocol, and no promise rests on a transaction. Writes are acknowledged by a majority and journaled.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pymongo import ASCENDING, DESCENDING, AsyncMongoClient, IndexModel, WriteConcern
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from common.health import Unhealthy
from common.settings import MongoSettings

log = structlog.get_logger("mongo")

INDEX_RETRY_SECONDS = 2.0

Document = dict[str, Any]
Database = AsyncDatabase[Document]

CONVERSATIONS = "conversations"
MESSAGES = "messages"
DECISIONS = "decisions"
USAGE = "usage"
DELIVERIES = "deliveries"
CONTACTS = "contacts"
MERCHANTS = "merchants"
READABLE_MERCHANTS = "readable_merchants"
ACCOUNTS = "accounts"
ERASURES = "erasures"
TOMBSTONES = "tombstones"
PRIVACY_AUDIT = "privacy_audit"
JOBS = "jobs"


@dataclass(frozen=True)
class Collection:
    """One collection, who creates its indexes (the first is its owner), and those indexes beyond `_id`."""

    name: str
    creators: tuple[str, ...]
    indexes: Sequence[IndexModel] = ()


COLLECTIONS: tuple[Collection, ...] = (
    Collection(
        MERCHANTS,
        ("cli", "delivery"),
        (
            IndexModel([("account_id", ASCENDING)], name="account", unique=True),
            # Only merchants with several accounts have the field filled. That no merchant's other account is another
            # one's main account, the command sees to; the directory believes neither where it happens.
            IndexModel([("other_accounts.account_id", ASCENDING)], name="other_accounts", unique=True, sparse=True),
        ),
    ),
    Collection(READABLE_MERCHANTS, ("ai", "delivery")),
    Collection(ACCOUNTS, ("cli", "delivery", "cleanup")),
    Collection(
        CONVERSATIONS,
        ("ai",),
        (
            IndexModel([("merchant_id", ASCENDING), ("updated_at", DESCENDING)], name="merchant_recent"),
            # Few wait for a person at a time; `jawab waiting` asks for a text, which no other conversation has here.
            IndexModel([("attention", ASCENDING)], name="attention", sparse=True),
        ),
    ),
    Collection(
        MESSAGES,
        ("ai",),
        (
            IndexModel([("conversation_id", ASCENDING), ("at", DESCENDING)], name="conversation_recent"),
            IndexModel([("at", ASCENDING)], name="age"),
        ),
    ),
    Collection(
        DECISIONS,
        ("ai",),
        (
            IndexModel([("covers", ASCENDING)], name="covers"),
            IndexModel([("conversation_id", ASCENDING), ("at", DESCENDING)], name="conversation_recent"),
            IndexModel([("at", ASCENDING)], name="age"),
        ),
    ),
    Collection(USAGE, ("ai",), (IndexModel([("at", ASCENDING)], name="age"),)),
    Collection(
        DELIVERIES,
        ("delivery",),
        (
            IndexModel([("conversation_id", ASCENDING), ("at", DESCENDING)], name="conversation_recent"),
            IndexModel([("message_ids", ASCENDING)], name="message_ids"),
            IndexModel([("state", ASCENDING), ("at", ASCENDING)], name="state_age"),
            # Only the ends that a sweep has written and nobody was told of yet have the field.
            IndexModel([("untold", ASCENDING)], name="untold", sparse=True),
            # Only private replies have the field: one per comment, whatever decided them.
            IndexModel([("private_reply_to", ASCENDING)], name="private_reply_to", unique=True, sparse=True),
            # Only public answers of rules and the model: one per comment, whether it is told as a comment or a mention.
            IndexModel([("public_reply_to", ASCENDING)], name="public_reply_to", unique=True, sparse=True),
        ),
    ),
    Collection(CONTACTS, ("delivery",), (IndexModel([("merchant_id", ASCENDING)], name="merchant"),)),
    Collection(ERASURES, ("cleanup",), ()),
    Collection(TOMBSTONES, ("cleanup",), ()),
    Collection(JOBS, ("cleanup",), ()),
    Collection(PRIVACY_AUDIT, ("cli",), ()),
)


def mongo_client(settings: MongoSettings, *, service: str) -> AsyncMongoClient[Document]:
    """Return a client that connects when it is first used; every operation ends within the configured timeout."""
    milliseconds = int(settings.mongodb_timeout * 1000)
    return AsyncMongoClient(
        settings.mongodb_url.get_secret_value(),
        appname=f"jawab-{service}",
        tz_aware=True,
        serverSelectionTimeoutMS=min(milliseconds, 5000),
        connectTimeoutMS=min(milliseconds, 5000),
        timeoutMS=milliseconds,
        maxPoolSize=64,
        retryWrites=True,
        retryReads=True,
    )


def database(client: AsyncMongoClient[Document]) -> Database:
    """Return the database the URL names, with the write concern every promise rests on."""
    return client.get_default_database().with_options(write_concern=WriteConcern(w="majority", j=True))


async def ensure_indexes(db: Database, *, owner: str) -> None:
    """Create the indexes that are `owner`'s to create; existing ones stay. Raises PyMongoError."""
    for collection in COLLECTIONS:
        if owner in collection.creators and collection.indexes:
            await db[collection.name].create_indexes(list(collection.indexes))


async def ensure_indexes_once_reachable(db: Database, *, owner: str, pause: float = INDEX_RETRY_SECONDS) -> None:
    """Create the indexes that are `owner`'s, however late MongoDB can be reached; `pause` seconds between tries."""
    while True:
        try:
            await ensure_indexes(db, owner=owner)
        except PyMongoError as error:
            log.warning("indexes.not_created", error=type(error).__name__)
            await asyncio.sleep(pause)
        else:
            return


async def check_mongo(db: Database) -> None:
    """Ask the server whether it is there. Raises Unhealthy."""
    try:
        await db.command("ping")
    except PyMongoError as error:
        raise Unhealthy(
            f"MongoDB cannot be reached ({type(error).__name__})", "start MongoDB, or correct MONGODB_URL"
        ) from None
