"""What was decided, stored before anything is published: whatever crashes afterwards, the same is published again.

A decision holds the finished events, byte for byte what goes to Kafka, and names the interactions it answers. That is
why a redelivery needs no model, and why replay can show what was decided beside what would be decided today.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pymongo.errors import DuplicateKeyError

from ai.completion import NOTHING, Usage
from common.events.replies import ReplyGenerated
from common.mongo import DECISIONS, Database, Document

DecisionOrigin = Literal["rule", "model", "apology"]


@dataclass(frozen=True)
class Decision:
    """One decision. `attention` is why an agent is needed, if one is; `skipped_rules` are those that were not tried."""

    id: str
    conversation_id: str
    merchant_id: str
    covers: tuple[str, ...]
    at: datetime
    origin: DecisionOrigin
    replies: tuple[ReplyGenerated, ...] = field(default=(), repr=False)
    rule: str | None = None
    match: str | None = None
    model: str | None = None
    usage: Usage = NOTHING
    intent: str | None = None
    sentiment: str | None = None
    language: str | None = None
    escalate: bool = False
    reasons: tuple[str, ...] = ()
    skipped_rules: tuple[str, ...] = ()
    attention: str | None = None
    lead: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_document(self) -> Document:
        """Return what is stored."""
        document: dict[str, Any] = {
            "_id": self.id,
            "conversation_id": self.conversation_id,
            "merchant_id": self.merchant_id,
            "covers": list(self.covers),
            "at": self.at,
            "origin": self.origin,
            "rule": self.rule,
            "match": self.match,
            "model": self.model,
            "usage": {"input_tokens": self.usage.input_tokens, "output_tokens": self.usage.output_tokens},
            "intent": self.intent,
            "sentiment": self.sentiment,
            "language": self.language,
            "escalate": self.escalate,
            "reasons": list(self.reasons),
            "skipped_rules": list(self.skipped_rules),
            "attention": self.attention,
            "lead": dict(self.lead),
            "replies": [reply.to_json().decode() for reply in self.replies],
        }
        return document

    @classmethod
    def from_document(cls, document: Document) -> "Decision":
        """Read what was stored."""
        facts = {
            name: document.get(name)
            for name in ("rule", "match", "model", "intent", "sentiment", "language", "attention")
        }
        return cls(
            id=document["_id"],
            conversation_id=document["conversation_id"],
            merchant_id=document["merchant_id"],
            covers=tuple(document["covers"]),
            at=document["at"],
            origin=document["origin"],
            replies=tuple(ReplyGenerated.from_json(reply.encode()) for reply in document["replies"]),
            usage=Usage(**document["usage"]),
            escalate=document["escalate"],
            reasons=tuple(document["reasons"]),
            skipped_rules=tuple(document.get("skipped_rules", ())),
            lead=document["lead"],
            **facts,
        )


class MongoDecisions:
    """The `decisions` collection."""

    def __init__(self, db: Database) -> None:
        self._collection = db[DECISIONS]

    async def covering(self, event_id: str) -> Decision | None:
        """Return the decision that answers an interaction, or None. Raises PyMongoError."""
        document = await self._collection.find_one({"covers": event_id})
        return Decision.from_document(document) if document is not None else None

    async def find(self, decision_id: str) -> Decision | None:
        """Return a decision by its id, or None."""
        document = await self._collection.find_one({"_id": decision_id})
        return Decision.from_document(document) if document is not None else None

    async def learnt_from(self, event_id: str) -> tuple[str, ...]:
        """Return the names of what the decision about an interaction had learnt of the customer."""
        document = await self._collection.find_one({"covers": event_id}, projection={"lead": 1})
        return tuple((document or {}).get("lead", ()))

    async def forget_lead(self, event_id: str) -> None:
        """Forget what the decision about an interaction had learnt of the customer.

        Later decisions of the conversation were made with the interaction in view and may have learnt the same again.
        """
        learnt = await self._collection.find_one(
            {"covers": event_id}, projection={"lead": 1, "conversation_id": 1, "at": 1}
        )
        if learnt is None:
            return
        for name, value in learnt["lead"].items():
            later = {"conversation_id": learnt["conversation_id"], "at": {"$gte": learnt["at"]}}
            await self._collection.update_many(
                {**later, "_id": {"$ne": learnt["_id"]}, f"lead.{name}": value}, {"$unset": {f"lead.{name}": ""}}
            )
        await self._collection.update_one({"_id": learnt["_id"]}, {"$set": {"lead": {}}})

    async def store(self, decision: Decision) -> tuple[Decision, bool]:
        """Store a decision and return it with True, or the one stored before under its id with False."""
        try:
            await self._collection.insert_one(decision.to_document())
        except DuplicateKeyError:
            stored = await self._collection.find_one({"_id": decision.id})
            return (Decision.from_document(stored) if stored is not None else decision), False
        return decision, True
