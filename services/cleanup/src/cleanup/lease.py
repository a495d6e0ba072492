"""The lease by which one of several replicas does the scheduled work. No clock is compared with another machine's.

The holder adds a beat to the lease every `BEAT_SECONDS`. Whoever else wants it watches: a lease whose term and beat
have not changed for `LEASE_SECONDS`, by the watcher's own monotonic clock, has no holder any more and is taken with the
next term, by compare-and-set. The holder stops `MARGIN_SECONDS` before that, counted from when its last acknowledged
beat was sent, so a process that was frozen or cut off never works beside its successor. Suspended machines count the
time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from pymongo.errors import DuplicateKeyError

from common.clock import monotonic
from common.mongo import JOBS, Database

BEAT_SECONDS = 10.0
LEASE_SECONDS = 45.0
MARGIN_SECONDS = 10.0
LEASE = "lease"


@dataclass(frozen=True)
class Seen:
    """The lease as it was read, and since when it looks like this here."""

    term: int
    beat: int
    since: float


class Lease:
    """This process's part in the lease. `seconds` is how long a lease without a beat is left to its holder."""

    def __init__(
        self,
        db: Database,
        *,
        seconds: float = LEASE_SECONDS,
        margin: float = MARGIN_SECONDS,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._collection = db[JOBS]
        self._seconds = seconds
        self._margin = margin
        self._now = now
        self._me = uuid4().hex
        self._seen: Seen | None = None
        self._term: int | None = None
        self._beat = 0
        self._sent_at = float("-inf")

    @property
    def held(self) -> bool:
        """Whether nobody else can have the lease yet."""
        return self._term is not None and self._now() - self._sent_at < self._seconds - self._margin

    async def keep(self) -> bool:
        """Add a beat to the lease, or take it if nobody has it; return whether it is held. Raises PyMongoError."""
        return await self._add_beat() if self._term is not None else await self._take()

    async def release(self) -> None:
        """Give the lease back, so that another replica need not wait for its end. Raises PyMongoError."""
        if self._term is not None:
            mine = {"_id": LEASE, "term": self._term, "holder": self._me}
            await self._collection.update_one(mine, {"$set": {"holder": None}})
            self._term = None

    async def _add_beat(self) -> bool:
        if not self.held:  # another replica may have it by now: only a new term may follow
            self._term, self._seen = None, None
            return False
        sent_at = self._now()
        mine = {"_id": LEASE, "term": self._term, "holder": self._me}
        kept = await self._collection.update_one(mine, {"$set": {"beat": self._beat + 1}})
        if not kept.matched_count:
            self._term, self._seen = None, None
            return False
        self._beat, self._sent_at = self._beat + 1, sent_at
        return self.held

    async def _take(self) -> bool:
        sent_at = self._now()
        document: dict[str, Any] | None = await self._collection.find_one({"_id": LEASE})
        if document is None:
            return await self._begin(sent_at)
        if not self._is_free(document):
            return False
        as_seen = {"_id": LEASE, "term": document["term"], "beat": document["beat"], "holder": document["holder"]}
        mine = {"term": document["term"] + 1, "beat": 0, "holder": self._me}
        taken = await self._collection.update_one(as_seen, {"$set": mine})
        return self._taken(mine["term"], sent_at) if taken.matched_count else False

    def _is_free(self, document: dict[str, Any]) -> bool:
        if document["holder"] is None:
            return True
        seen = self._seen
        if seen is None or (seen.term, seen.beat) != (document["term"], document["beat"]):
            # Counted from after the reading: the holder counts from before its beat was written.
            self._seen = Seen(document["term"], document["beat"], self._now())
            return False
        return self._now() - seen.since >= self._seconds

    async def _begin(self, sent_at: float) -> bool:
        try:
            await self._collection.insert_one({"_id": LEASE, "term": 1, "beat": 0, "holder": self._me})
        except DuplicateKeyError:
            return False
        return self._taken(1, sent_at)

    def _taken(self, term: int, sent_at: float) -> bool:
        self._term, self._beat, self._sent_at, self._seen = term, 0, sent_at, None
        return self.held
