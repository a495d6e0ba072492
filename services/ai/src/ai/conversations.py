"""The `conversations` collection: one document a conversation, made by whoever comes first, and what is done to it.

Every change is one operation on one document whose filter makes it happen once: a line is appended only where its id
is not there yet, a reply's line only behind the message it answers, a pause only extended, never shortened.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ai.decisions import Decision
from ai.history import LONGEST_LINE, Conversation, Line
from ai.incoming import Incoming
from common.events.replies import CommentReply, DirectMessage, PrivateReply
from common.mongo import CONVERSATIONS, Database, Document


class MongoConversations:
    """Conversations, each with its last `history_length` lines."""

    def __init__(self, db: Database, *, history_length: int) -> None:
        self._collection = db[CONVERSATIONS]
        self._length = history_length

    async def record(self, said: Incoming, *, merchant_id: str, language: str | None, now: datetime) -> Conversation:
        """Append what a customer said, unless it is there, and return the conversation: one call, two if it was."""
        changes: dict[str, Any] = {
            "$setOnInsert": _beginning(merchant_id, said.account_id, said.contact_id, now),
            "$set": {"channel": said.channel, "updated_at": now},
            "$max": {"last_customer_at": said.at},
            "$push": self._appended(said.line()),
            "$inc": {"counters.received": 1},
        }
        if language is not None:
            changes["$set"]["language"] = language
        if said.ad_id is not None:
            changes["$set"]["ad_id"] = said.ad_id
        try:
            document = await self._collection.find_one_and_update(
                {"_id": said.conversation_id, "recent.id": {"$ne": said.id}},
                changes,
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return await self.find(said.conversation_id) or Conversation(said.conversation_id)
        return _conversation(document) if document is not None else Conversation(said.conversation_id)

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None when it has not begun."""
        document = await self._collection.find_one({"_id": conversation_id})
        return _conversation(document) if document is not None else None

    async def record_decision(self, decision: Decision, *, now: datetime) -> None:
        """Append what was decided to be said, and what was learnt: once, behind the message it answers."""
        lines = _said(decision)
        changes: dict[str, Any] = {
            "$set": {
                "updated_at": now,
                "last_decision": decision.id,
                **{f"lead.{name}": value for name, value in decision.lead.items()},
            },
            "$inc": {"counters.decisions": 1, "counters.replies": len(lines)},
        }
        if decision.language is not None:
            changes["$set"]["language"] = decision.language
        if decision.attention is not None:
            changes["$set"] |= {"attention": decision.attention, "attention_at": now, "attention_reply": None}
        if lines:
            changes["$push"] = self._appended(*lines)
        await self._collection.update_one(
            {
                "_id": decision.conversation_id,
                "last_decision": {"$ne": decision.id},
                "$and": [
                    {"recent.id": decision.covers[-1]},
                    *({"recent.id": {"$ne": line.id}} for line in lines),
                ],
            },
            changes,
        )

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
                    "answers_from": {"$not": {"$gte": line.at}},
                },
                {
                    "$setOnInsert": _beginning(merchant_id, account_id, contact_id, now),
                    "$set": {"updated_at": now, "attention": None},
                    "$max": {"human_until": until},
                    "$push": self._appended(line),
                    "$inc": {"counters.human": 1},
                },
                upsert=True,
            )
        except DuplicateKeyError:
            return  # known, or from before the conversation was given back

    async def take_over(self, *, conversation: tuple[str, str, str, str | None], now: datetime) -> None:
        """Let a person answer from here on."""
        conversation_id, merchant_id, account_id, contact_id = conversation
        beginning = {k: v for k, v in _beginning(merchant_id, account_id, contact_id, now).items() if k != "owner"}
        await self._collection.update_one(
            {"_id": conversation_id},
            {"$setOnInsert": beginning, "$set": {"owner": "human", "updated_at": now}},
            upsert=True,
        )

    async def release(self, conversation_id: str, *, at: datetime, now: datetime) -> None:
        """Let Jawab answer again what comes in after `at`."""
        await self._collection.update_one(
            {"_id": conversation_id, "$or": [{"owner": "human"}, {"human_until": {"$gt": at}}]},
            {
                "$set": {"owner": "bot", "attention": None, "updated_at": now},
                "$unset": {"human_until": ""},
                "$max": {"answers_from": at},
            },
        )

    async def resolve(self, conversation_id: str, *, at: datetime, now: datetime) -> None:
        """Close the matter, once: what was said is no longer context, nobody is needed, Jawab answers what is new."""
        await self._collection.update_one(
            {"_id": conversation_id, "resolved_at": {"$not": {"$gte": at}}},
            {
                "$set": {"recent": [], "owner": "bot", "attention": None, "resolved_at": at, "updated_at": now},
                "$unset": {"human_until": ""},
                "$max": {"answers_from": at},
            },
        )

    async def reword(self, conversation_id: str, line_id: str, text: str) -> None:
        """Replace the text of a line that its writer changed."""
        await self._collection.update_one(
            {"_id": conversation_id, "recent.id": line_id}, {"$set": {"recent.$.text": text[:LONGEST_LINE]}}
        )

    async def erase(self, conversation_id: str, line_id: str) -> None:
        """Forget what a line that was taken back said."""
        await self._collection.update_one(
            {"_id": conversation_id, "recent.id": line_id}, {"$set": {"recent.$.text": ""}}
        )

    async def erase_sent(self, conversation_id: str, mid: str) -> None:
        """Forget a line of the account's own, by the platform's id of the message."""
        await self._collection.update_one({"_id": conversation_id, "recent.mids": mid}, {"$set": {"recent.$.text": ""}})

    async def delivered(
        self, conversation_id: str, reply_id: str, message_ids: Sequence[str], *, now: datetime
    ) -> None:
        """Mark a reply as delivered, once; what was unknown about it is known now."""
        line = {"$elemMatch": {"id": reply_id, "state": {"$ne": "delivered"}}}
        known = {"recent.$.state": "delivered", "recent.$.mids": list(message_ids), "updated_at": now}
        counted = {"$inc": {"counters.delivered": 1}}
        marked = await self._collection.update_one(
            {"_id": conversation_id, "attention_reply": {"$ne": reply_id}, "recent": line}, {"$set": known, **counted}
        )
        if not marked.matched_count:
            await self._collection.update_one(
                {"_id": conversation_id, "attention_reply": reply_id, "recent": line},
                {"$set": {**known, "attention": None, "attention_reply": None}, **counted},
            )

    async def not_delivered(
        self, conversation_id: str, reply_id: str, *, state: str, reason: str | None, now: datetime
    ) -> None:
        """Mark what became of a reply, and that a person is needed for `reason`, if one is."""
        attention = (
            {"attention": reason, "attention_at": now, "attention_reply": reply_id, "updated_at": now}
            if reason is not None
            else {"updated_at": now}
        )
        marked = await self._collection.update_one(
            {"_id": conversation_id, "recent": {"$elemMatch": {"id": reply_id, "state": {"$ne": "delivered"}}}},
            {"$set": {"recent.$.state": state, **attention}},
        )
        if not marked.matched_count and reason is not None:
            await self._collection.update_one(
                {"_id": conversation_id, "recent.id": {"$ne": reply_id}}, {"$set": attention}
            )

    async def opened_by(self, conversation_id: str, referral: Document, *, now: datetime) -> None:
        """Note the link or ad through which a person came back to a conversation."""
        await self._collection.update_one({"_id": conversation_id}, {"$set": {"referral": referral, "updated_at": now}})

    def _appended(self, *lines: Line) -> Document:
        return {"recent": {"$each": [line.to_document() for line in lines], "$slice": -self._length}}


def _beginning(merchant_id: str, account_id: str, contact_id: str | None, now: datetime) -> Document:
    return {
        "merchant_id": merchant_id,
        "account_id": account_id,
        "contact_id": contact_id,
        "owner": "bot",
        "created_at": now,
    }


def _conversation(document: Document) -> Conversation:
    return Conversation(
        id=document["_id"],
        recent=tuple(Line.from_document(line) for line in document.get("recent", ())),
        language=document.get("language"),
        owner=document.get("owner", "bot"),
        human_until=document.get("human_until"),
        answers_from=document.get("answers_from"),
    )


def _said(decision: Decision) -> list[Line]:
    lines = []
    for reply in decision.replies:
        action = reply.data.action
        if isinstance(action, DirectMessage | PrivateReply | CommentReply):
            lines.append(
                Line(
                    id=reply.data.reply_id,
                    role="assistant",
                    text=action.text,
                    at=decision.at,
                    channel="comment" if isinstance(action, CommentReply) else "direct_message",
                )
            )
    return lines
