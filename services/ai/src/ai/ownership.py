"""Who answers a conversation, as the `conversations` collection keeps it: Jawab, or people.

Decided by when agents and control events acted, not by when it is read here: topics are read side by side, backlogs
and replays bring back what is long over. What gives a conversation back undoes what agents did before it and nothing
later; what agents did before it takes nothing back that was given since. Those times are the platform's, also those of
delivery's API (docs/decisions/0015). Which messages came in before a release is decided by the log: the release says
how far the conversation's partition reached, and each message has its offset there.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ai.conversations import appended, beginning, conversation_of
from ai.history import Conversation, Line
from common.events.control import LogPosition
from common.mongo import CONVERSATIONS, Database, Document


class MongoOwnership:
    """Who answers each conversation. `history_length` is how many of its lines are kept."""

    def __init__(self, db: Database, *, history_length: int) -> None:
        self._collection = db[CONVERSATIONS]
        self._length = history_length

    async def person_wrote(
        self, line: Line, *, conversation: tuple[str, str, str, str | None], until: datetime, now: datetime
    ) -> None:
        """Append what a person of the shop wrote and let Jawab be silent until `until`, unless it was given back since.

        `conversation` is its id, merchant, account and contact.
        """
        conversation_id, merchant_id, account_id, contact_id = conversation
        try:
            await self._collection.update_one(
                {
                    "_id": conversation_id,
                    "recent.id": {"$ne": line.id},
                    "released_at": {"$not": {"$gte": line.at}},
                    "taken_back": {"$ne": line.mid or ""},
                },
                {
                    "$setOnInsert": beginning(merchant_id, account_id, contact_id, now),
                    "$set": {"updated_at": now, "attention": None},
                    "$max": {"human_until": until, "person_at": line.at},
                    "$push": appended(line, length=self._length),
                    "$inc": {"counters.human": 1},
                },
                upsert=True,
            )
        except DuplicateKeyError:
            await self._person_wrote_before(line, conversation_id, until=until, now=now)

    async def _person_wrote_before(self, line: Line, conversation_id: str, *, until: datetime, now: datetime) -> None:
        """Note what a person wrote where it is known, was taken back, or the conversation was given back since."""
        document = await self._collection.find_one({"_id": conversation_id}) or {}
        if any(known["id"] == line.id for known in document.get("recent", ())):
            return
        changes: dict[str, Any] = {"$set": {"updated_at": now}}
        if _is_before(document.get("resolved_at"), line.at):
            taken_back = line.mid in document.get("taken_back", ())
            changes["$push"] = appended(replace(line, text="") if taken_back else line, length=self._length)
            changes["$inc"] = {"counters.human": 1}
        if _is_before(document.get("released_at"), line.at):
            changes["$max"] = {"human_until": until, "person_at": line.at}
            changes["$set"]["attention"] = None
        await self._collection.update_one({"_id": conversation_id, "recent.id": {"$ne": line.id}}, changes)

    async def take_over(
        self, *, conversation: tuple[str, str, str, str | None], at: datetime, until: datetime, now: datetime
    ) -> None:
        """Let a person answer from `at` until `until`, unless the conversation was given back since."""
        conversation_id, merchant_id, account_id, contact_id = conversation
        try:
            await self._collection.update_one(
                {"_id": conversation_id, "released_at": {"$not": {"$gte": at}}},
                {
                    "$setOnInsert": beginning(merchant_id, account_id, contact_id, now),
                    "$set": {"updated_at": now},
                    "$max": {"human_until": until, "person_at": at},
                },
                upsert=True,
            )
        except DuplicateKeyError:
            return  # given back since

    async def release(
        self, conversation_id: str, *, at: datetime, now: datetime, log: LogPosition | None = None
    ) -> Conversation | None:
        """Let Jawab answer again what comes in after `at`, unless a person has acted since; return the conversation.

        What came in before was the person's to answer, and waits no more.
        """
        document = await self._collection.find_one_and_update(
            {"_id": conversation_id, "human_until": {"$gt": at}, **_nobody_acted_since(at)},
            {
                "$set": {"attention": None, "updated_at": now},
                "$unset": {"human_until": ""},
                "$max": {"answers_from": at, "released_at": at, **_answers_from(log)},
                "$pull": {"unanswered": _came_in_by(at, log)},
            },
            return_document=ReturnDocument.AFTER,
        )
        return conversation_of(document) if document is not None else await self._given_back(conversation_id, at)

    async def resolve(
        self, conversation_id: str, *, at: datetime, now: datetime, log: LogPosition | None = None
    ) -> Conversation | None:
        """Close the matter, once: what was said by `at` is no longer context, nobody is needed, Jawab answers what is
        new, unless a person has acted since. Return the conversation.
        """
        open_still = {"_id": conversation_id, "resolved_at": {"$not": {"$gte": at}}}
        over = {"recent": _before(log, {"at": {"$lte": at}}), "unanswered": _came_in_by(at, log)}
        document = await self._collection.find_one_and_update(
            {**open_still, **_nobody_acted_since(at)},
            {
                "$set": {"attention": None, "resolved_at": at, "updated_at": now},
                "$unset": {"human_until": ""},
                "$max": {"answers_from": at, "released_at": at, **_answers_from(log)},
                "$pull": over,
            },
            return_document=ReturnDocument.AFTER,
        )
        if document is not None:
            return conversation_of(document)
        await self._collection.update_one(open_still, {"$set": {"resolved_at": at, "updated_at": now}, "$pull": over})
        return await self._given_back(conversation_id, at)

    async def _given_back(self, conversation_id: str, at: datetime) -> Conversation | None:
        """Remember that what people did before `at` counts no more, should it be told only now."""
        document = await self._collection.find_one_and_update(
            {"_id": conversation_id}, {"$max": {"released_at": at}}, return_document=ReturnDocument.AFTER
        )
        return conversation_of(document) if document is not None else None


def _came_in_by(at: datetime, log: LogPosition | None) -> Document:
    """Return the condition of a waiting message that had come in when the conversation was given back."""
    return _before(log, {"received_at_ms": {"$lte": int(at.timestamp() * 1000)}})


def _before(log: LogPosition | None, by_time: Document) -> Document:
    """Return the condition of what lies before `log`; `by_time` decides where both have no place in one partition."""
    if log is None:
        return by_time
    by_log = {"position.partition": log.partition, "position.offset": {"$lt": log.offset}}
    return {"$or": [by_log, {"position.partition": {"$ne": log.partition}, **by_time}]}


def _answers_from(log: LogPosition | None) -> Document:
    return {f"answers_from_offsets.{log.partition}": log.offset} if log is not None else {}


def _nobody_acted_since(at: datetime) -> Document:
    """Return the condition that no person took over or wrote after `at`."""
    return {"person_at": {"$not": {"$gt": at}}}


def _is_before(moment: datetime | None, at: datetime) -> bool:
    return moment is None or moment < at
