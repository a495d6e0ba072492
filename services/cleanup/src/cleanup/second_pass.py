"""The second look after an erasure: erases what was received before it and stored after it.

That takes a process that stood still between asking for tombstones and writing, for longer than every service needs to
learn of one. It is known by its id: whoever wrote it, or reads its record again, has noted it on the tombstone by now.
What the customer wrote since is a new conversation and stays.
"""

from collections.abc import Sequence
from typing import Any

from cleanup.ledger_rows import strip_ledger
from cleanup.metrics import CleanupMetrics
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, Database
from common.tombstones import Tombstone, digest_of


async def erase_old(db: Database, conversations: Sequence[str], tombstone: Tombstone, metrics: CleanupMetrics) -> int:
    """Erase of these conversations what their tombstone knows; return how much that was.

    Raises PyMongoError. Doing it again changes nothing.
    """
    known = set()
    for name, field in ((MESSAGES, "conversation_id"), (DECISIONS, "conversation_id"), (DELIVERIES, "conversation_id")):
        known |= set(await db[name].distinct(field, {field: {"$in": list(conversations)}}))
    for name in (CONVERSATIONS, CONTACTS):
        known |= {each["_id"] async for each in db[name].find({"_id": {"$in": list(conversations)}}, {"_id": 1})}
    return sum([await _erase_old(db, conversation, tombstone, metrics) for conversation in sorted(known)])


async def _erase_old(db: Database, conversation: str, tombstone: Tombstone, metrics: CleanupMetrics) -> int:
    of_it: dict[str, Any] = {"conversation_id": conversation}
    ids = {each["_id"] async for each in db[MESSAGES].find(of_it, {"_id": 1})}
    decisions = {each["_id"]: set(each["covers"]) async for each in db[DECISIONS].find(of_it, {"covers": 1})}
    old = {one for one in ids.union(*decisions.values()) if digest_of(tombstone.code, one) in tombstone.seen}
    decided = [id_ for id_, covers in decisions.items() if covers <= old]
    if ids <= old and len(decided) == len(decisions) and not await _has_new_activity(db, conversation, tombstone):
        replies = [each["_id"] async for each in db[DELIVERIES].find(of_it, {"_id": 1})]
        erased = 0
        for name in (CONVERSATIONS, CONTACTS):
            erased += await _delete(db, name, [conversation], metrics)
    else:
        replies = [each["_id"] async for each in db[DELIVERIES].find({**of_it, "decision_id": {"$in": decided}})]
        gone = {"id": {"$in": [*old, *replies]}}
        erased = (
            await db[CONVERSATIONS].update_one({"_id": conversation}, {"$pull": {"recent": gone, "unanswered": gone}})
        ).modified_count
    erased += await _delete(db, MESSAGES, sorted(old), metrics)
    erased += await _delete(db, DECISIONS, decided, metrics)
    stripped = await strip_ledger(db, {**of_it, "_id": {"$in": replies}})
    metrics.erased.labels(DELIVERIES).inc(stripped)
    return erased + stripped


async def _has_new_activity(db: Database, conversation: str, tombstone: Tombstone) -> bool:
    """Return whether the customer, or an agent, has done something else in the conversation since the erasure."""
    contact = await db[CONTACTS].find_one({"_id": conversation}) or {}
    talk = await db[CONVERSATIONS].find_one({"_id": conversation}) or {}
    if contact.get("owner") == "human" or talk.get("human_until"):
        return True
    last = [each["last_customer_at"] for each in (contact, talk) if each.get("last_customer_at")]
    return any(tombstone.seen_until is None or at > tombstone.seen_until for at in last)


async def _delete(db: Database, name: str, ids: Sequence[str], metrics: CleanupMetrics) -> int:
    if not ids:
        return 0
    deleted = (await db[name].delete_many({"_id": {"$in": list(ids)}})).deleted_count
    metrics.erased.labels(name).inc(deleted)
    return deleted
