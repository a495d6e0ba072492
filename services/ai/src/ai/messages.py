"""Every message, once, in `messages`: `_id` is its event's id, so a redelivery finds it instead of adding to it.

An edit or an unsend may come before its message (webhooks have no order); it then waits here under the same id, without
`stored_at`, and the message that arrives later takes what the writer made of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ai.history import Unanswered, position_of
from ai.incoming import Incoming
from common.events.control import LogPosition
from common.mongo import MESSAGES, Database, Document


@dataclass(frozen=True)
class Stored:
    """A stored message. `fresh` is False when it had been stored before; `stored_at` is the first time.

    `transcript` is what its recordings say, empty when they could not be heard, None while nobody has listened.
    """

    fresh: bool
    stored_at: datetime
    text: str = field(repr=False)
    unsent: bool = False
    transcript: str | None = field(default=None, repr=False)
    position: LogPosition | None = None


class Edited(StrEnum):
    """What an edit did; empty where it changed nothing, because a later edit or the unsend was first."""

    NOTHING = ""
    REWORDED = "reworded"
    ANNOUNCED = "announced"
    """The message itself has not come: all that is known of it is this edit. The same when this edit comes again: its
    answer may have been interrupted."""


class MongoMessages:
    """The `messages` collection."""

    def __init__(self, db: Database) -> None:
        self._collection = db[MESSAGES]

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:
        """Store a message and return how it is stored: one call, two for a redelivery, three for what was taken back
        before it came. Raises PyMongoError.
        """
        facts = _facts(said, merchant_id, now)
        unstored = {"_id": said.id, "stored_at": {"$exists": False}}
        try:
            waiting = await self._collection.find_one_and_update(
                {**unstored, "unsent": {"$ne": True}},
                # The text only where no edit waits; what was taken back gets neither text nor attachments.
                {"$set": facts | _media(said), "$setOnInsert": {"text": said.text}},
                upsert=True,
                return_document=ReturnDocument.BEFORE,
            )
        except DuplicateKeyError:
            found = await self._collection.find_one({"_id": said.id})
            fresh = found is not None and "stored_at" not in found
            if fresh:
                await self._collection.update_one(unstored, {"$set": facts})
            elif found is not None and said.attachments and "attachments" not in found:
                # An edit brought the message before it came itself.
                await self._collection.update_one({"_id": said.id, "unsent": {"$ne": True}}, {"$set": _media(said)})
            return _stored(found, said, now, fresh=fresh)
        return _stored(waiting, said, now, fresh=True)

    async def edit(self, message_id: str, text: str, *, number: int, about: Document) -> Edited:
        """Replace a message's text, unless a later edit or the unsend was first. `about` names where it belongs."""
        try:
            before = await self._collection.find_one_and_update(
                {"_id": message_id, "edits": {"$not": {"$gt": number}}, "unsent": {"$ne": True}},
                {"$set": {"text": text, "edits": number}, "$setOnInsert": about},
                projection={"stored_at": 1, "edits": 1, "announced": 1},
                upsert=True,
                return_document=ReturnDocument.BEFORE,
            )
        except DuplicateKeyError:
            return Edited.NOTHING
        known = before is not None and "stored_at" in before
        again = before is not None and before.get("announced") and before.get("edits") == number
        return Edited.REWORDED if known and not again else Edited.ANNOUNCED

    async def to_answer_again(self, ids: Sequence[str], *, since: datetime) -> list[Unanswered]:
        """Return those of these direct messages that were written after `since` and not taken back, oldest first."""
        wanted = {
            "_id": {"$in": list(ids)},
            "channel": "direct_message",
            "at": {"$gt": since},
            "stored_at": {"$exists": True},
            "unsent": {"$ne": True},
        }
        found = {document["_id"]: document async for document in self._collection.find(wanted)}
        return [_waiting_again(found[id_]) for id_ in ids if id_ in found]

    async def heard(self, message_id: str, transcript: str) -> None:
        """Keep what the recordings of a message say, unless it was taken back."""
        await self._collection.update_one(
            {"_id": message_id, "unsent": {"$ne": True}}, {"$set": {"transcript": transcript}}
        )

    async def note_hidden(self, message_id: str, *, hidden: bool) -> None:
        """Note that a comment was hidden from the public, or is shown again."""
        await self._collection.update_one({"_id": message_id}, {"$set": {"hidden": hidden}})

    async def erase(self, message_id: str, *, about: Document) -> None:
        """Forget what an unsent message held."""
        await self._collection.update_one(
            {"_id": message_id},
            {
                "$set": {"text": "", "attachments": [], "unsent": True},
                "$unset": {"transcript": ""},
                "$setOnInsert": about,
            },
            upsert=True,
        )


def _waiting_again(document: Document) -> Unanswered:
    return Unanswered(
        id=document["_id"],
        at=document["at"],
        stored_at=document["stored_at"],
        received_at_ms=document.get("received_at_ms", 0),
        again=True,
        position=position_of(document),
    )


def _facts(said: Incoming, merchant_id: str, now: datetime) -> Document:
    facts: dict[str, Any] = {
        "conversation_id": said.conversation_id,
        "merchant_id": merchant_id,
        "channel": said.channel,
        "at": said.at,
        "received_at_ms": said.received_at_ms,
        "standby": said.standby,
        "stored_at": now,
    }
    if said.announced:
        facts["announced"] = True
    optional = {"mid": said.mid, "comment_id": said.comment_id, "ad_id": said.ad_id}
    facts |= {name: value for name, value in optional.items() if value is not None}
    if said.position is not None:
        facts["position"] = said.position.model_dump()
    return facts


def _media(said: Incoming) -> Document:
    return {"attachments": list(said.attachments)} if said.attachments else {}


def _stored(document: Document | None, said: Incoming, now: datetime, *, fresh: bool) -> Stored:
    found = document or {}
    return Stored(
        fresh=fresh,
        stored_at=now if fresh else found.get("stored_at", now),
        text=found.get("text", said.text),
        unsent=bool(found.get("unsent")),
        transcript=found.get("transcript"),
        position=said.position if fresh else position_of(found),
    )
