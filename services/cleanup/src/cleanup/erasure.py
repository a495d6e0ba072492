"""Erases one customer everywhere Jawab stores something about them.

A tombstone comes first (`common.tombstones`): from then on no service stores, sends or answers what was received
before, whoever repeats it, and what comes later waits. Then messages, decisions, conversation and contact are deleted.
The ledger's rows stay, stripped: their ids are what keeps a redelivered reply from being sent again, and they name
nobody. What the language model cost stays: it names nobody either. At the end the customer may begin again.

What this cannot reach: Kafka keeps the texts until its own retention removes them. That is said on the status page.

All of it is idempotent: a crash half-way, or a replay of the requests after a restored backup, does the rest. A request
that is read again once it is done erases only what was received before it; the same request made again is another
record, and erases what came since, too.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

import structlog

from cleanup.ledger_rows import strip_ledger
from cleanup.log_reader import LogReader
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords, State, disguised
from cleanup.second_pass import erase_old
from cleanup.stored_accounts import accounts_in
from cleanup.tombstones import Stored, TombstoneWriter
from common.clock import Clock
from common.errors import Permanent
from common.events.ids import NOBODY, conversation_id
from common.events.outcomes import OUTCOMES
from common.events.privacy import PRIVACY, ErasureRequested, PrivacyRequest
from common.events.replies import REPLIES
from common.failpoints import failpoint
from common.kafka.hold import hold, positions
from common.kafka.topics import SOURCES
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MERCHANTS, MESSAGES, Database
from common.tombstones import Position

log = structlog.get_logger("erasure")

BATCH = 500
BY_CONVERSATION = (MESSAGES, DECISIONS)
BY_ID = (CONVERSATIONS, CONTACTS)


def conversations_of(request: PrivacyRequest, accounts: Iterable[str]) -> list[str]:
    """Return the ids of the conversations a request is about: one account's, or that customer's with every account.

    The platform's own requests name an app-scoped id, which may be nobody's here: then none of them exists.
    """
    if not request.user_id.strip() or request.user_id == NOBODY:
        raise Permanent("user_id names nobody: it must be the id of one customer")
    named = [request.account_id] if request.account_id else sorted(set(accounts))
    return [conversation_id(account, request.user_id) for account in named]


class Eraser:
    """Erases customers, and writes down that it did.

    `reader` says where the topics end (without it, nothing is known by its place in the log); `settle` is how long, in
    seconds, it takes until every service knows of a tombstone (`common.erasures.SETTLE_SECONDS`).
    """

    def __init__(
        self,
        db: Database,
        records: ErasureRecords,
        *,
        environment_account: str | None,
        metrics: CleanupMetrics,
        clock: Clock,
        reader: LogReader | None = None,
        settle: float = 0.0,
    ) -> None:
        self._db = db
        self._records = records
        self._tombstones = TombstoneWriter(db)
        self._environment_account = environment_account
        self._metrics = metrics
        self._clock = clock
        self._reader = reader
        self._settle = settle

    async def erase(self, event: ErasureRequested) -> State:
        """Erase everything about the customer and return what came of it. Raises Permanent, Retryable, PyMongoError."""
        request = event.data
        conversations = await self.conversations_of(request)
        known = await self._tombstones.find(request.code)
        state = await self._records.state_of(request.code)
        if known is not None and known.tombstone.done and state is not None and not _asked_again(known):
            await erase_old(self._db, conversations, known.tombstone, self._metrics)
            return state
        found = await self._count(conversations)
        await self._records.begin(request.code, person=request.user_id, requested_at=event.time, found=found)
        await self._write_tombstone(request, conversations)
        await self._delete(conversations)
        failpoint("cleanup.after_erasing_before_done")
        state = await self._records.finish(request.code, at=self._clock.now())
        await self._tombstones.finish(request.code)
        self._metrics.requests.labels(state).inc()
        if state == "nobody":
            log.warning("erasure.nobody_known", accounts=len(conversations), asked_by_operator=bool(request.account_id))
        else:
            log.info("erasure.done", **found)
        return state

    async def conversations_of(self, request: PrivacyRequest) -> list[str]:
        """Return the ids of the conversations a request is about. Raises Permanent, PyMongoError."""
        return conversations_of(request, () if request.account_id else await self._accounts())

    async def _write_tombstone(self, request: PrivacyRequest, conversations: list[str]) -> None:
        """Let nothing be stored, sent or answered any more that was received until now.

        Replies and outcomes are cut later than what customers did: whatever a service made that did not know of the
        tombstone yet is in its topic by then.
        """
        customer = await disguised(request.user_id, request.code)
        cut = await self._ends([topic.name for topic in SOURCES if topic.keyed_by == "conversation"])
        await self._tombstones.write(request, customer=customer, cut=cut, position=_position(), at=self._clock.now())
        failpoint("cleanup.after_tombstone_before_erasing")
        await hold().wait_for(asyncio.ensure_future(asyncio.sleep(self._settle)))  # no work: others may do theirs
        await self._tombstones.move_cut(request.code, await self._ends([REPLIES, OUTCOMES]))
        await self._tombstones.remember(request.code, conversations, self._clock.now())

    async def _ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        return await self._reader.ends(topics) if self._reader is not None else {}

    async def _delete(self, conversations: list[str]) -> None:
        for name, field in ((name, "conversation_id") for name in BY_CONVERSATION):
            await self._delete_from(name, field, conversations)
        for name in BY_ID:
            await self._delete_from(name, "_id", conversations)
        for some in batches(conversations):
            self._metrics.erased.labels(DELIVERIES).inc(
                await strip_ledger(self._db, {"conversation_id": {"$in": some}})
            )

    async def _delete_from(self, name: str, field: str, conversations: list[str]) -> None:
        for some in batches(conversations):
            failpoint("cleanup.between_deletions")
            result = await self._db[name].delete_many({field: {"$in": some}})
            self._metrics.erased.labels(name).inc(result.deleted_count)

    async def _accounts(self) -> set[str]:
        fields = {"account_id": 1, "other_accounts.account_id": 1}
        accounts = {
            account["account_id"]
            async for document in self._db[MERCHANTS].find({}, fields)
            for account in accounts_in(document)
        }
        return accounts | ({self._environment_account} if self._environment_account else set())

    async def _count(self, conversations: list[str]) -> dict[str, int]:
        found = dict.fromkeys((*BY_CONVERSATION, *BY_ID, DELIVERIES), 0)
        for some in batches(conversations):
            for name in (*BY_CONVERSATION, DELIVERIES):
                found[name] += await self._db[name].count_documents({"conversation_id": {"$in": some}})
            for name in BY_ID:
                found[name] += await self._db[name].count_documents({"_id": {"$in": some}})
        return found


def _position() -> Position | None:
    """Return where the current request lies in its topic; None without Kafka."""
    return next((position for position in positions() if position.topic == PRIVACY), None)


def _asked_again(known: Stored) -> bool:
    """Tell whether the current record is a later request with the code of one that is done, and not that one again.

    A copy of a log may number its records otherwise, and keeps the moments at which they were written.
    """
    here = _position()
    if here is None or known.request is None:
        return False
    return here.offset > known.request.offset and here.written_ms != known.request.written_ms


def batches(ids: list[str], size: int = BATCH) -> list[list[str]]:
    """Return `ids` in pieces of at most `size`."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]
