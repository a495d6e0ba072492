"""Erases one person everywhere Jawab stores something about them.

Messages, decisions, the conversation and the contact are deleted. The ledger's rows stay, stripped: their ids are what
keeps a redelivered reply from being sent again, and they name nobody. What the language model cost stays: it names
nobody either.

What this cannot reach: Kafka keeps the texts of the last 14 days (30 days for dead letters) until its own retention
removes them, and a record that is being handled while the erasure runs may store its message after it. Both are said
on the status page; asking again erases what came since.

All of it is idempotent: a crash half-way, or a replay of the requests after a restored backup, does the rest.
"""

from collections.abc import Iterable, Mapping

import structlog
from pymongo import UpdateOne

from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords, State
from cleanup.stored_accounts import accounts_in
from common.clock import Clock
from common.errors import Permanent
from common.events.ids import NOBODY, conversation_id
from common.events.privacy import ErasureRequested, PrivacyRequest
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MERCHANTS, MESSAGES, Database

log = structlog.get_logger("erasure")

BATCH = 500
BY_CONVERSATION = (MESSAGES, DECISIONS)
BY_ID = (CONVERSATIONS, CONTACTS)
KEPT_IN_LEDGER = frozenset({"_id", "state", "at"})
"""Delivery takes a row with nothing else, marked `erased`, as finished: it is never sent again."""


def conversations_of(request: PrivacyRequest, accounts: Iterable[str]) -> list[str]:
    """Return the ids of the conversations a request is about: one account's, or that person's with every account.

    The platform's own requests name an app-scoped id, which may be nobody's here: then none of them exists.
    """
    if not request.user_id.strip() or request.user_id == NOBODY:
        raise Permanent("user_id names nobody: it must be the id of one person")
    named = [request.account_id] if request.account_id else sorted(set(accounts))
    return [conversation_id(account, request.user_id) for account in named]


def stripped(row: Mapping[str, object]) -> dict[str, object]:
    """Return the update that leaves of a ledger row only what keeps its reply from being sent again.

    The fence goes too, so that a delivery which has the row in hand cannot write it back.
    """
    telling = {name: "" for name in row if name not in KEPT_IN_LEDGER}
    return {"$unset": telling, "$set": {"erased": True}}


class Eraser:
    """Erases persons, and writes down that it did."""

    def __init__(
        self,
        db: Database,
        records: ErasureRecords,
        *,
        environment_account: str | None,
        metrics: CleanupMetrics,
        clock: Clock,
    ) -> None:
        self._db = db
        self._records = records
        self._environment_account = environment_account
        self._metrics = metrics
        self._clock = clock

    async def erase(self, event: ErasureRequested) -> State:
        """Erase everything about the person and return what came of it. Raises Permanent, PyMongoError."""
        request = event.data
        conversations = conversations_of(request, () if request.account_id else await self._accounts())
        found = await self._count(conversations)
        await self._records.begin(request.code, person=request.user_id, requested_at=event.time, found=found)
        for name in BY_CONVERSATION:
            for some in batches(conversations):
                result = await self._db[name].delete_many({"conversation_id": {"$in": some}})
                self._metrics.erased.labels(name).inc(result.deleted_count)
        for name in BY_ID:
            for some in batches(conversations):
                result = await self._db[name].delete_many({"_id": {"$in": some}})
                self._metrics.erased.labels(name).inc(result.deleted_count)
        await self._strip_ledger(conversations)
        state = await self._records.finish(request.code, at=self._clock.now())
        self._metrics.requests.labels(state).inc()
        if state == "nobody":
            log.warning("erasure.nobody_known", accounts=len(conversations), asked_by_operator=bool(request.account_id))
        else:
            log.info("erasure.done", **found)
        return state

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

    async def _strip_ledger(self, conversations: list[str]) -> None:
        ledger = self._db[DELIVERIES]
        for some in batches(conversations):
            while rows := await ledger.find({"conversation_id": {"$in": some}}).limit(BATCH).to_list():
                # A stripped row no longer names its conversation, so a round finds other rows, or those that changed
                # between reading and writing.
                as_read = [{"_id": row["_id"], "state": row["state"], "fence": row.get("fence")} for row in rows]
                updates = [UpdateOne(read, stripped(row)) for read, row in zip(as_read, rows, strict=True)]
                result = await ledger.bulk_write(updates, ordered=False)
                self._metrics.erased.labels(DELIVERIES).inc(result.modified_count)


def batches(ids: list[str], size: int = BATCH) -> list[list[str]]:
    """Return `ids` in pieces of at most `size`."""
    return [ids[start : start + size] for start in range(0, len(ids), size)]
