"""Writes what stays of an erased customer (`common.tombstones`): first of all, before anything of them is deleted."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from common.erasures import REVISION, MongoErasures
from common.events.privacy import PrivacyRequest
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, TOMBSTONES, Database
from common.tombstones import Position, Tombstone, bucket_of, digest_of, seen_at

log = structlog.get_logger("erasure")

MAX_ROWS = 500
MAX_IDS = 1000
IN_FLIGHT = timedelta(hours=1)
"""For so long after an attempt the echo of a message without an id may still come."""


@dataclass(frozen=True)
class Stored:
    """A tombstone, and where the request that asked for it lies in Kafka."""

    tombstone: Tombstone
    request: Position | None


class TombstoneWriter:
    """The `tombstones` collection, as the one writes it who erases."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._collection = db[TOMBSTONES]
        self._erasures = MongoErasures(db)

    async def write(
        self,
        request: PrivacyRequest,
        *,
        customer: str,
        cut: Mapping[str, Sequence[int]],
        position: Position | None,
        at: datetime,
    ) -> None:
        """Write the tombstone of a request and let every service know. Raises PyMongoError.

        One that is at work stays as it is: a crash half-way moves no cut. One that is done begins again.
        """
        whom = {"customer": customer, "bucket": bucket_of(request.user_id), "account_id": request.account_id}
        begun: dict[str, Any] = {
            "state": "erasing",
            "second_pass_at": None,
            "cut": _listed(cut),
            "cut_ms": round(at.timestamp() * 1000),
            "erased_at": at,
        }
        if position is not None:
            begun["request"] = asdict(position)
        again = await self._collection.update_one({"_id": request.code, "state": "done"}, {"$set": begun})
        if not again.matched_count:
            await self._collection.update_one({"_id": request.code}, {"$setOnInsert": whom | begun}, upsert=True)
        await self._erasures.announce()

    async def move_cut(self, code: str, cut: Mapping[str, Sequence[int]]) -> None:
        """Move the cut of these topics to where they end now; that of others stays. Raises PyMongoError."""
        document = await self._collection.find_one({"_id": code}, {"cut": 1}) or {"cut": []}
        known = {each["topic"]: each["ends"] for each in document["cut"]}
        await self._collection.update_one({"_id": code}, {"$set": {"cut": _listed({**known, **cut})}})

    async def remember(self, code: str, conversations: Sequence[str], at: datetime) -> None:
        """Note what the customer had done and what the account had sent, before both are deleted.

        Doing it again adds what came since. Raises PyMongoError.
        """
        moments = [seen_at(moment, at) for moment in [each async for each in self._moments(conversations)]]
        seen = [digest_of(code, id_) for id_ in [each async for each in self._ids(conversations)]]
        own = [digest_of(code, mark) for mark in [each async for each in self._marks(conversations, at)]]
        noted: dict[str, Any] = {"$addToSet": {"seen": {"$each": seen}, "own": {"$each": own}}}
        if moments:
            noted["$max"] = {"seen_until": max(moments)}
        await self._collection.update_one({"_id": code}, noted)

    async def finish(self, code: str) -> None:
        """Let what comes from now on begin a new conversation. Raises PyMongoError."""
        await self._collection.update_one({"_id": code}, {"$set": {"state": "done"}})
        await self._erasures.announce()

    async def find(self, code: str) -> Stored | None:
        """Return a request's tombstone, or None. Raises PyMongoError."""
        document = await self._collection.find_one({"_id": code})
        return _stored(document) if document is not None else None

    async def waiting_for_second_pass(self, before: datetime, most: int) -> list[Stored]:
        """Return up to `most` erasures from before `before` that had no second pass yet. Raises PyMongoError."""
        which = {"_id": {"$ne": REVISION}, "state": "done", "second_pass_at": None, "erased_at": {"$lt": before}}
        found = [_readable(each) for each in await self._collection.find(which).limit(most).to_list()]
        return [each for each in found if each is not None]

    async def note_second_pass(self, code: str, at: datetime) -> None:
        """Note that an erasure was looked after once more. Raises PyMongoError."""
        await self._collection.update_one({"_id": code}, {"$set": {"second_pass_at": at}})

    async def _moments(self, conversations: Sequence[str]) -> AsyncIterator[datetime]:
        by_conversation = {"conversation_id": {"$in": list(conversations)}}
        async for message in self._db[MESSAGES].find(by_conversation, {"at": 1}).sort([("at", -1)]).limit(1):
            yield message["at"]
        for name in (CONVERSATIONS, CONTACTS):
            which = {"_id": {"$in": list(conversations)}, "last_customer_at": {"$type": "date"}}
            async for document in self._db[name].find(which, {"last_customer_at": 1}):
                yield document["last_customer_at"]

    async def _ids(self, conversations: Sequence[str]) -> AsyncIterator[str]:
        """Return the ids of what the customer wrote last: of messages, and of what only a decision names (mentions)."""
        which = {"conversation_id": {"$in": list(conversations)}}
        async for message in self._db[MESSAGES].find(which, {"_id": 1}).sort([("at", -1)]).limit(MAX_IDS):
            yield message["_id"]
        async for decision in self._db[DECISIONS].find(which, {"covers": 1}).sort([("at", -1)]).limit(MAX_IDS):
            for covered in decision.get("covers", ()):
                yield covered

    async def _marks(self, conversations: Sequence[str], at: datetime) -> AsyncIterator[str]:
        """Return the ids of what the account sent last, and the fingerprints of what has no known id (yet)."""
        which = {"conversation_id": {"$in": list(conversations)}}
        async for row in self._db[DELIVERIES].find(which).sort([("at", -1)]).limit(MAX_ROWS):
            for mid in row.get("message_ids", ()):
                yield mid
            for part in row.get("parts", ()):
                attempted = part.get("attempted_at")
                if part.get("key") and not part.get("message_id") and attempted and at - attempted < IN_FLIGHT:
                    yield part["key"]
        async for talk in self._db[CONVERSATIONS].find({"_id": {"$in": list(conversations)}}, {"recent": 1}):
            for line in talk.get("recent", ()):
                for mid in (line.get("mid"), *(line.get("mids") or ())):
                    if mid:
                        yield mid


def _listed(cut: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
    """Return a cut as it is stored: a topic's name has dots, which a field's name cannot."""
    return [{"topic": topic, "ends": list(ends)} for topic, ends in sorted(cut.items())]


def _readable(document: Mapping[str, Any]) -> Stored | None:
    try:
        return _stored(document)
    except (KeyError, TypeError, ValueError) as error:
        log.error("tombstone.unreadable", code=str(document["_id"]), error=type(error).__name__)
        return None


def _stored(document: Mapping[str, Any]) -> Stored:
    request = document.get("request")
    return Stored(Tombstone.from_document(document), Position(**request) if request is not None else None)
