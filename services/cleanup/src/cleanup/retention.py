"""Deletes what has grown old, never what an agent or a service still has to finish.

Ages come from the settings; each collection has one field that says how old a document is. Work that is open stays
whatever its age: a ledger row whose outcome is not known or not published yet, a conversation that waits for an agent,
and the messages and decisions of both. So does the silence that Jawab owes an agent: a contact or a conversation that
an agent has taken over stays until that ends, and for its age after that. Batches are small and stand alone, so a run
that is stopped has simply done less.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cleanup.settings import TOMBSTONE_DAYS, Settings
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, TOMBSTONES, USAGE, Database, Document

BATCH = 500
CLOSED_STATES = ("delivered", "failed", "suppressed", "handed_to_human")
"""Ledger states that nothing follows. Named instead of the open ones: a state nobody here knows is kept."""

ATTENTION: Document = {"attention": {"$nin": [None, False]}}
"""Selects the conversations that wait for an agent."""

FINISHED_ROW: Document = {"$or": [{"state": {"$in": list(CLOSED_STATES)}, "untold": {"$ne": True}}, {"erased": True}]}
"""A row whose end delivery still has to publish (`untold`) is not finished, whatever its state."""


def takeover_over(before: datetime) -> Document:
    """Select the contacts that no agent answers, or none since `before`: forgetting a takeover lets Jawab answer again.

    A takeover ages from its end. One without an end never grows old.
    """
    return {"$or": [{"owner": {"$ne": "human"}}, {"owner_until": {"$lt": before}}]}


def pause_over(before: datetime) -> Document:
    """Select the conversations in which Jawab is not silent for an agent, or not since `before`."""
    return {"human_until": {"$not": {"$gte": before}}}


@dataclass(frozen=True)
class Cutoffs:
    """The moments before which each kind of document goes."""

    messages: datetime
    decisions: datetime
    usage: datetime
    deliveries: datetime
    tombstones: datetime | None = None
    """None keeps them all."""


def cutoffs(settings: Settings, now: datetime) -> Cutoffs:
    """Return the moments that lie the configured number of days before `now`."""
    return Cutoffs(
        messages=now - timedelta(days=settings.messages_days),
        decisions=now - timedelta(days=settings.decisions_days),
        usage=now - timedelta(days=settings.usage_days),
        deliveries=now - timedelta(days=settings.deliveries_days),
        tombstones=now - timedelta(days=TOMBSTONE_DAYS),
    )


@dataclass(frozen=True)
class Kind:
    """How one collection ages: by which field, before when, and which of its documents may go at all."""

    collection: str
    age: str
    before: datetime
    conversation: str | None = None
    """The field that names the conversation; a document of an open conversation stays."""
    closed: Document | None = None
    """What must hold beside the age."""


def kinds(at: Cutoffs) -> tuple[Kind, ...]:
    """Return what to delete, in order: what belongs to a conversation before the conversation itself."""
    tombstones = () if at.tombstones is None else (Kind(TOMBSTONES, "erased_at", at.tombstones),)
    return (
        *tombstones,
        Kind(MESSAGES, "at", at.messages, conversation="conversation_id"),
        Kind(DECISIONS, "at", at.decisions, conversation="conversation_id"),
        Kind(USAGE, "at", at.usage),
        Kind(DELIVERIES, "at", at.deliveries, closed=FINISHED_ROW),
        Kind(CONVERSATIONS, "updated_at", at.messages, conversation="_id", closed=pause_over(at.messages)),
        Kind(CONTACTS, "updated_at", at.messages, conversation="_id", closed=takeover_over(at.messages)),
    )


async def retain(db: Database, at: Cutoffs, *, batch: int = BATCH) -> dict[str, int]:
    """Delete what is older than `at` and return how many documents of each collection went. Raises PyMongoError."""
    return {kind.collection: await _delete_old(db, kind, batch) for kind in kinds(at)}


async def _delete_old(db: Database, kind: Kind, batch: int) -> int:
    old: Document = {kind.age: {"$lt": kind.before}, **(kind.closed or {})}
    fields = {kind.conversation: 1} if kind.conversation else {"_id": 1}
    deleted = 0
    some: list[Document] = []
    async for document in db[kind.collection].find(old, fields, batch_size=batch):
        some.append(document)
        if len(some) == batch:
            deleted += await _delete(db, kind, old, some)
            some = []
    return deleted + await _delete(db, kind, old, some)


async def _delete(db: Database, kind: Kind, old: Document, some: list[Document]) -> int:
    if kind.conversation:
        open_ones = await open_conversations(db, {document[kind.conversation] for document in some})
        some = [document for document in some if document[kind.conversation] not in open_ones]
    if not some:
        return 0
    # The condition is asked again: what changed since it was found is no longer old, or no longer closed.
    result = await db[kind.collection].delete_many({"_id": {"$in": [document["_id"] for document in some]}, **old})
    return result.deleted_count


async def open_conversations(db: Database, ids: Iterable[Any]) -> set[Any]:
    """Return those of `ids` that wait for a person or have a reply whose outcome is open. Raises PyMongoError."""
    some = list(ids)
    waiting = await db[CONVERSATIONS].find({"_id": {"$in": some}, **ATTENTION}, {"_id": 1}).to_list()
    unfinished = await db[DELIVERIES].distinct(
        "conversation_id", {"conversation_id": {"$in": some}, "state": {"$nin": list(CLOSED_STATES)}}
    )
    return {document["_id"] for document in waiting} | set(unfinished)
