"""Asks, before something is stored or sent, whether the customer it is about was erased meanwhile.

Every service that stores or sends something of a customer asks: when it begins with a record, and again before it
writes what took it long to make. Tombstones are few and change seldom, so they are kept here, and a revision says
whether any changed: one small read a second, whatever the traffic. An answer is at most `KEEP_SECONDS` old; cleanup
waits longer than that between the tombstone and the first deletion (`SETTLE_SECONDS`), so nothing is stored behind its
back except by a process that stood still in between. The second pass is for that.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import structlog

from common.clock import monotonic
from common.errors import Paced
from common.events import AnyEvent
from common.events.interactions import INTERACTIONS
from common.kafka.hold import positions
from common.mongo import TOMBSTONES, Database
from common.tombstones import (
    Tombstone,
    Verdict,
    bucket_of,
    customer_digest,
    digest_of,
    ids_of,
    received_at,
    seen_at,
)

log = structlog.get_logger("erasures")

KEEP_SECONDS = 1.0
SETTLE_SECONDS = 3.0
AGAIN_AFTER = 1.0
MAX_WAIT = 900.0
"""Seconds for which a conversation waits for its erasure, from when this process first saw that it is at work. Then the
customer is answered: whoever erases has stopped half-way, and silence without an end would be worse.
"""
MAX_DIGESTS = 10_000
MAX_SEEN = 20_000
"""Ids that are noted on one tombstone at most: whoever is erased may react to their old messages for ever, and each
reaction has an id of its own. MongoDB's documents and every service's memory have an end.
"""
REVISION = "revision"


class ConversationErased(Exception):
    """The record in hand was received before its customer was erased: nothing of it is stored, sent or answered."""


class Erasures(Protocol):
    """Knows who was erased. Every method raises PyMongoError where the store is away."""

    async def begin(self, event: AnyEvent) -> None:
        """Remember that the current task works on `event`, for `refuse_if_erased`; ask at once. Raises like that."""
        ...

    async def note_ignored(self, event: AnyEvent) -> None:
        """Count a record that was ignored because its customer was erased, and remember that it was."""
        ...

    async def sent(self, account_id: str, contact_id: str, mid: str, keys: Sequence[str]) -> bool:
        """Return whether Jawab sent a message with this id or fingerprint before an erasure."""
        ...


class NoErasures:
    """Knows nobody: for tests, and for tools that store nothing."""

    async def begin(self, event: AnyEvent) -> None:  # noqa: ARG002 the protocol's name
        """Forget what an earlier record of this task was about."""
        _current.set(None)

    async def note_ignored(self, event: AnyEvent) -> None:
        """Count nothing."""

    async def sent(self, account_id: str, contact_id: str, mid: str, keys: Sequence[str]) -> bool:  # noqa: ARG002 the protocol's names
        """Know no message."""
        return False


class MongoErasures:
    """The tombstones in the database; what was read is believed for `keep` seconds."""

    def __init__(self, db: Database, *, keep: float = KEEP_SECONDS, max_wait: float = MAX_WAIT) -> None:
        self._collection = db[TOMBSTONES]
        self._max_wait = max_wait
        self._waits: OrderedDict[str, float] = OrderedDict()
        self._keep = keep
        self._read_at = float("-inf")
        self._revision = -1
        self._buckets: dict[int, list[Tombstone]] = {}
        self._digests: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._reading = asyncio.Lock()

    async def begin(self, event: AnyEvent) -> None:
        """Remember what the current task works on, and ask at once. Raises ConversationErased, Paced, PyMongoError."""
        _current.set((self, event))
        await self.refuse(event)

    async def refuse(self, event: AnyEvent) -> None:
        """Raise ConversationErased for what was received before an erasure, Paced while one is at work."""
        verdicts = {verdict for _, verdict in await self._verdicts(event)}
        if "erased" in verdicts:
            raise ConversationErased(f"{event.id} was received before its customer was erased")
        if "wait" in verdicts and self._may_wait(event):
            raise Paced("its conversation is being erased", after=AGAIN_AFTER)

    async def note_ignored(self, event: AnyEvent) -> None:
        """Count an ignored record on its tombstones; a copy of it that comes later is known then."""
        received = received_at(event)
        moment = seen_at(event.time, received) if received is not None else event.time
        for tombstone, verdict in await self._verdicts(event):
            if verdict != "erased":
                continue
            noted: dict[str, Any] = {"$inc": {"ignored": 1}}
            news = {digest_of(tombstone.code, one) for one in ids_of(event)} - tombstone.seen
            if len(tombstone.seen) >= MAX_SEEN:
                news = set()
            is_later = tombstone.seen_until is None or moment > tombstone.seen_until
            if event.topic == INTERACTIONS and (news or is_later):
                noted |= {"$addToSet": {"seen": {"$each": sorted(news)}}, "$max": {"seen_until": moment}}
            await self._collection.update_one({"_id": tombstone.code}, noted)
            if "$max" in noted:
                await self.announce()
        log.info("record.of_erased_customer_ignored", type=event.type)

    async def sent(self, account_id: str, contact_id: str, mid: str, keys: Sequence[str]) -> bool:
        """Return whether Jawab sent, or was sending, a message with this id or fingerprint before an erasure.

        A fingerprint counts once: its echo's copies are known by their id from then on, and the same words of an agent
        are the agent's.
        """
        for tombstone in await self._of(account_id, contact_id):
            named = digest_of(tombstone.code, mid)
            if named in tombstone.own:
                return True
            for key in (digest_of(tombstone.code, one) for one in keys):
                if key in tombstone.own:
                    await self._collection.update_one({"_id": tombstone.code}, {"$addToSet": {"own": named}})
                    await self._collection.update_one({"_id": tombstone.code}, {"$pull": {"own": key}})
                    await self.announce()
                    return True
        return False

    async def announce(self) -> None:
        """Let every process read the tombstones again within `KEEP_SECONDS`."""
        await self._collection.update_one({"_id": REVISION}, {"$inc": {"number": 1}}, upsert=True)
        self._read_at = float("-inf")

    def _may_wait(self, event: AnyEvent) -> bool:
        """Return whether a conversation may wait (still) for its erasure."""
        since = self._waits.setdefault(event.subject, monotonic())
        while len(self._waits) > MAX_DIGESTS:
            self._waits.popitem(last=False)
        if monotonic() - since < self._max_wait:
            return True
        log.error("erasure.not_finished", fix="see cleanup's log: the erasure is tried until it is done")
        return False

    async def _verdicts(self, event: AnyEvent) -> list[tuple[Tombstone, Verdict]]:
        contact_id = getattr(event.data, "contact_id", None)
        if contact_id is None:
            return []
        return [
            (tombstone, tombstone.verdict(event, positions()))
            for tombstone in await self._of(event.data.account_id or "", contact_id)
        ]

    async def _of(self, account_id: str, contact_id: str) -> list[Tombstone]:
        await self._refresh()
        found = []
        for tombstone in self._buckets.get(bucket_of(contact_id), ()):
            of_account = tombstone.account_id in {None, account_id}
            if of_account and await self._digest(contact_id, tombstone.code) == tombstone.customer:
                found.append(tombstone)
        return found

    async def _digest(self, contact_id: str, code: str) -> str:
        known = self._digests.get((contact_id, code))
        if known is None:
            known = await asyncio.to_thread(customer_digest, contact_id, code)
            self._digests[contact_id, code] = known
            while len(self._digests) > MAX_DIGESTS:
                self._digests.popitem(last=False)
        return known

    def _readable(self, stored: Mapping[str, Any]) -> Tombstone | None:
        """Return a stored tombstone, or its last readable version: one broken document must stop no other customer."""
        try:
            return Tombstone.from_document(stored)
        except (KeyError, TypeError, ValueError) as error:
            known = (each for bucket in self._buckets.values() for each in bucket if each.code == stored["_id"])
            last = next(known, None)
            log.error(
                "tombstone.unreadable",
                code=str(stored["_id"]),
                error=type(error).__name__,
                in_force="none" if last is None else "last_readable",
                fix="correct the document in the collection `tombstones`, or erase the customer once more",
            )
            return last

    async def _refresh(self) -> None:
        asked_at = monotonic()
        if asked_at - self._read_at < self._keep:
            return
        async with self._reading:
            if asked_at < self._read_at:
                return  # whoever had the lock before read after we asked
            began = monotonic()
            document = await self._collection.find_one({"_id": REVISION})
            revision = document["number"] if document is not None else 0
            if revision != self._revision:
                buckets: dict[int, list[Tombstone]] = {}
                async for stored in self._collection.find({"_id": {"$ne": REVISION}}):
                    if (tombstone := self._readable(stored)) is not None:
                        buckets.setdefault(tombstone.bucket, []).append(tombstone)
                self._buckets, self._revision = buckets, revision
                if all(each.done for bucket in buckets.values() for each in bucket):
                    self._waits.clear()
            self._read_at = began


_current: ContextVar[tuple[MongoErasures, AnyEvent] | None] = ContextVar("record that may be of an erased customer")


async def refuse_if_erased() -> None:
    """Ask again about the record that the current task works on. Raises ConversationErased, Paced, PyMongoError."""
    current = _current.get(None)
    if current is not None:
        erasures, event = current
        await erasures.refuse(event)
