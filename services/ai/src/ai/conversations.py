"""The `conversations` collection: one document a conversation, made by whoever comes first, and what is done to it.

Every change is one operation on one document whose filter makes it happen once: a line is appended only where its id
is not there yet, a reply's line only while the message it answers waits for it, a pause only extended, never shortened.

Who answers it is told in `ai.ownership`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from ai.decisions import Decision
from ai.history import LONGEST_LINE, Conversation, Line, Unanswered
from ai.incoming import Incoming
from ai.turn import MOST_MESSAGES, Turn
from common.errors import Retryable
from common.events.replies import CommentReply, DirectMessage, PrivateReply
from common.mongo import CONVERSATIONS, Database, Document

MOST_UNANSWERED = 50
"""Messages kept as waiting: far more than a turn has, because what a person is to answer stands there as well."""

MOST_TAKEN_BACK = 50
"""Messages of the account's own that are remembered as taken back, in case their texts come only later."""


class MongoConversations:
    """Conversations, each with its last `history_length` lines."""

    def __init__(self, db: Database, *, history_length: int) -> None:
        self._collection = db[CONVERSATIONS]
        self._length = history_length

    async def record(
        self,
        said: Incoming,
        *,
        merchant_id: str,
        language: str | None,
        stored_at: datetime,
        closes: bool,
        now: datetime,
    ) -> Conversation:
        """Append what a customer said, unless it is there, and return the conversation: one call, two if it was.

        It waits for a decision from here on (not in standby); `closes`: as the last message of its turn.
        """
        pushed = self._appended(said.line())
        if not said.standby:
            pushed |= _waiting(said.unanswered(stored_at=stored_at, closes=closes))
        changes: dict[str, Any] = {
            "$setOnInsert": beginning(merchant_id, said.account_id, said.contact_id, now),
            "$set": {"channel": said.channel, "updated_at": now},
            "$max": {"last_customer_at": said.at},
            "$push": pushed,
            "$inc": {"counters.received": 1},
        }
        if language is not None:
            changes["$set"]["language"] = language
        if said.ad_id is not None:
            changes["$set"]["ad_id"] = said.ad_id
        try:
            document = await self._collection.find_one_and_update(
                {"_id": said.conversation_id, "recent.id": {"$ne": said.id}, "unanswered.id": {"$ne": said.id}},
                changes,
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            return await self.find(said.conversation_id) or Conversation(said.conversation_id)
        return conversation_of(document) if document is not None else Conversation(said.conversation_id)

    async def reopen(self, conversation_id: str, message: Unanswered) -> Conversation:
        """Let a message wait for a decision again: it went to the dead letters, and comes back from there."""
        await self._collection.update_one(
            {"_id": conversation_id, "unanswered.id": {"$ne": message.id}}, {"$push": _waiting(message)}
        )
        return await self.find(conversation_id) or Conversation(conversation_id)

    async def wait_again(self, conversation_id: str, reply_id: str, messages: Sequence[Unanswered]) -> None:
        """Let messages wait before all others, because the reply to them could not be sent: once for each reply.

        Of more than one turn answers the latest: an account that stays without a way would make each message dearer.
        """
        messages = messages[-MOST_MESSAGES:]
        await self._collection.update_one(
            {
                "_id": conversation_id,
                "unsendable": {"$ne": reply_id},
                "unanswered.id": {"$nin": [message.id for message in messages]},
                f"unanswered.{MOST_MESSAGES - len(messages)}": {"$exists": False},
            },
            {
                "$push": {
                    "unanswered": {"$each": [message.to_document() for message in messages], "$position": 0},
                    "unsendable": {"$each": [reply_id], "$slice": -MOST_UNANSWERED},
                }
            },
        )

    async def begin(self, conversation: Conversation, turn: Turn) -> None:
        """Write down where a turn ends, unless what waits has changed since `conversation` was read: Retryable then."""
        waiting = conversation.unanswered
        place = next(index for index, message in enumerate(waiting) if message.id == turn.trigger.id)
        begun = await self._collection.update_one(
            {
                "_id": conversation.id,
                f"unanswered.{place}.id": turn.trigger.id,
                "unanswered": {"$size": len(waiting)},
            },
            {"$set": {f"unanswered.{place}.closes": True}},
        )
        if not begun.matched_count:
            raise Retryable("another process has just changed what waits for an answer")

    async def reopen_turn(self, conversation_id: str, trigger_id: str) -> bool:
        """Let the turn that ends with a message take in another one; False where it waits no more."""
        reopened = await self._collection.update_one(
            {"_id": conversation_id, "unanswered": {"$elemMatch": {"id": trigger_id, "closes": True}}},
            {"$set": {"unanswered.$.closes": False}},
        )
        return bool(reopened.matched_count)

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None when it has not begun."""
        document = await self._collection.find_one({"_id": conversation_id})
        return conversation_of(document) if document is not None else None

    async def record_decision(self, decision: Decision, *, now: datetime) -> None:
        """Append what was decided to be said, and what was learnt: once, while the messages it covers wait for it."""
        lines = _said(decision)
        changes: dict[str, Any] = {
            "$set": {
                "updated_at": now,
                "last_decision": decision.id,
                **{f"lead.{name}": value for name, value in decision.lead.items()},
            },
            "$inc": {"counters.decisions": 1, "counters.replies": len(lines)},
            "$pull": {"unanswered": {"id": {"$in": list(decision.covers)}}},
        }
        if decision.language is not None:
            changes["$set"]["language"] = decision.language
        if decision.attention is not None:
            changes["$set"] |= {"attention": decision.attention, "attention_at": now, "attention_reply": None}
        if lines:
            changes["$push"] = self._appended(*lines)
        await self._collection.update_one(
            {"_id": decision.conversation_id, "unanswered.id": decision.covers[-1]}, changes
        )

    async def given_up(self, said: Incoming, *, merchant_id: str, reason: str, now: datetime) -> None:
        """Call a person: what a customer said can never be handled, and what was left to it waits for nobody now."""
        lost = {"channel": "direct_message"} if said.in_thread else {"id": said.id}
        await self._collection.update_one(
            {"_id": said.conversation_id},
            {
                "$setOnInsert": beginning(merchant_id, said.account_id, said.contact_id, now),
                "$set": {"attention": reason, "attention_at": now, "attention_reply": None, "updated_at": now},
                "$pull": {"unanswered": lost},
            },
            upsert=True,
        )

    async def needs_person(self, conversation_id: str, *, reason: str, now: datetime) -> None:
        """Call a person to a conversation, if it has begun."""
        await self._collection.update_one(
            {"_id": conversation_id},
            {"$set": {"attention": reason, "attention_at": now, "attention_reply": None, "updated_at": now}},
        )

    async def request_agent(self, said: Incoming, *, merchant_id: str, reason: str, now: datetime) -> None:
        """Call an agent to a conversation, which begins here if it has not. What waits for Jawab goes on waiting."""
        await self._collection.update_one(
            {"_id": said.conversation_id},
            {
                "$setOnInsert": beginning(merchant_id, said.account_id, said.contact_id, now),
                "$set": {"attention": reason, "attention_at": now, "attention_reply": None, "updated_at": now},
            },
            upsert=True,
        )

    async def reword(self, conversation_id: str, line_id: str, text: str) -> None:
        """Replace what was typed in a line that its writer changed; what came along stays: "[story reply] "."""
        conversation = await self.find(conversation_id)
        line = next((one for one in conversation.recent if one.id == line_id), None) if conversation else None
        if line is None:
            return
        told = f"{line.text[: line.placeholder].rstrip()} {text}".strip()
        await self._collection.update_one(
            # Only as it was read: what was taken back meanwhile stays empty.
            {"_id": conversation_id, "recent": {"$elemMatch": {"id": line_id, "text": line.text}}},
            {"$set": {"recent.$.text": told[:LONGEST_LINE], "recent.$.placeholder": len(told) - len(text)}},
        )

    async def erase(self, conversation_id: str, line_id: str) -> None:
        """Forget what a line that was taken back said; it waits for no answer any more."""
        no_answer = {"$pull": {"unanswered": {"id": line_id}}}
        erased = await self._collection.update_one(
            {"_id": conversation_id, "recent.id": line_id},
            {"$set": {"recent.$.text": "", "recent.$.placeholder": 0, "recent.$.images": []}, **no_answer},
        )
        if not erased.matched_count:  # it may wait still when its line has grown old
            await self._collection.update_one({"_id": conversation_id, "unanswered.id": line_id}, no_answer)

    async def forget_lead(self, conversation_id: str, names: Sequence[str]) -> None:
        """Forget what was learnt of a customer under these names."""
        await self._collection.update_one({"_id": conversation_id}, {"$unset": {f"lead.{name}": "" for name in names}})

    async def reword_sent(self, conversation_id: str, mid: str, text: str, *, number: int) -> None:
        """Replace the text of a line of the account's own, unless a later edit was first."""
        line = {"mids": mid, "edits": {"$not": {"$gt": number}}}
        await self._collection.update_one(
            {"_id": conversation_id, "recent": {"$elemMatch": line}, "taken_back": {"$ne": mid}},
            {"$set": {"recent.$[line].text": text[:LONGEST_LINE], "recent.$[line].edits": number}},
            array_filters=[{"line.mids": mid}],
        )

    async def erase_sent(self, mid: str, *, conversation: tuple[str, str, str, str | None], now: datetime) -> None:
        """Forget a line of the account's own, by the platform's id of the message, also one that is told only later.

        `conversation` is its id, merchant, account and contact.
        """
        conversation_id, merchant_id, account_id, contact_id = conversation
        remembered = {"$push": {"taken_back": {"$each": [mid], "$slice": -MOST_TAKEN_BACK}}}
        erased = await self._collection.update_one(
            {"_id": conversation_id, "recent.mids": mid},
            {"$set": {"recent.$.text": "", "recent.$.images": []}, **remembered},
        )
        if not erased.matched_count:
            first = beginning(merchant_id, account_id, contact_id, now)
            await self._collection.update_one(
                {"_id": conversation_id},
                # Without it retention would never find the conversation that begins here.
                {"$setOnInsert": first, "$set": {"updated_at": now}, **remembered},
                upsert=True,
            )

    async def delivered(
        self, conversation_id: str, reply_id: str, message_ids: Sequence[str], *, now: datetime
    ) -> None:
        """Mark a reply as delivered, once; what was unknown about it is known now.

        The text of one that the account has taken back meanwhile goes.
        """
        sent = {
            "_id": conversation_id,
            "recent": {"$elemMatch": {"id": reply_id, "state": {"$ne": "delivered"}}},
        }
        known = {"recent.$[line].state": "delivered", "recent.$[line].mids": list(message_ids), "updated_at": now}
        counted = {"$inc": {"counters.delivered": 1}}
        line = [{"line.id": reply_id}]  # named: beside another array in the condition `$` could be the place in either
        stands = {"taken_back": {"$nin": list(message_ids)}}
        marked = await self._collection.update_one(
            {**sent, **stands, "attention_reply": {"$ne": reply_id}}, {"$set": known, **counted}, array_filters=line
        )
        if not marked.matched_count:
            marked = await self._collection.update_one(
                {**sent, **stands, "attention_reply": reply_id},
                {"$set": {**known, "attention": None, "attention_reply": None}, **counted},
                array_filters=line,
            )
        if not marked.matched_count and message_ids:
            await self._collection.update_one(
                {**sent, "taken_back": {"$in": list(message_ids)}},
                {"$set": {**known, "recent.$[line].text": ""}, **counted},
                array_filters=line,
            )

    async def answered(self, conversation_id: str, reply_id: str, *, at: datetime, now: datetime) -> None:
        """Note that what a person wrote through Jawab arrived `at`: nobody has to be called for what was before."""
        called_before = [{"attention_at": {"$lte": at}}, {"attention_reply": reply_id}]
        await self._collection.update_one(
            {"_id": conversation_id, "$or": called_before},
            {"$set": {"attention": None, "attention_reply": None, "updated_at": now}},
        )

    async def not_delivered(
        self, conversation_id: str, reply_id: str, *, state: str, reason: str | None, at: datetime, now: datetime
    ) -> None:
        """Mark what became of a reply `at`, and that a person is needed for `reason`, if one is.

        Nobody is needed for what belongs to a matter that was closed after it.
        """
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
                {"_id": conversation_id, "recent.id": {"$ne": reply_id}, "resolved_at": {"$not": {"$gte": at}}},
                {"$set": attention},
            )

    async def opened_by(self, conversation_id: str, referral: Document, *, now: datetime) -> None:
        """Note the link or ad through which a person came back to a conversation."""
        await self._collection.update_one({"_id": conversation_id}, {"$set": {"referral": referral, "updated_at": now}})

    def _appended(self, *lines: Line) -> Document:
        return appended(*lines, length=self._length)


def _waiting(message: Unanswered) -> Document:
    return {"unanswered": {"$each": [message.to_document()], "$slice": -MOST_UNANSWERED}}


def appended(*lines: Line, length: int) -> Document:
    """Return what to push so that the last `length` lines stay."""
    return {"recent": {"$each": [line.to_document() for line in lines], "$slice": -length}}


def beginning(merchant_id: str, account_id: str, contact_id: str | None, now: datetime) -> Document:
    """Return what a conversation begins with, whoever comes first."""
    return {
        "merchant_id": merchant_id,
        "account_id": account_id,
        "contact_id": contact_id,
        "created_at": now,
    }


def conversation_of(document: Document) -> Conversation:
    """Read a stored conversation."""
    return Conversation(
        id=document["_id"],
        recent=tuple(Line.from_document(line) for line in document.get("recent", ())),
        unanswered=tuple(Unanswered.from_document(message) for message in document.get("unanswered", ())),
        language=document.get("language"),
        human_until=document.get("human_until"),
        answers_from=document.get("answers_from"),
        answers_from_offsets=document.get("answers_from_offsets", {}),
        attention=document.get("attention"),
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
