"""Whether an Instagram account can be used now, and why not: kept beside the merchants, because services find it out.

The operator writes a merchant's document; what the platform says about its account is found out by the services (a
send that is refused, a callback that says the app was removed) and undone by `jawab merchants connect`.

    active               everything works
    restricted           Meta holds the account back, until a moment where one is known
    needs_reconnection   the token or a permission is gone: somebody has to connect the account again
    disconnected         the app was removed from the account: nothing may be sent, nothing is taken in

Each is worse than the one before it. What a service finds out never makes an account better, and never undoes what was
connected after it happened; only connecting makes it active again.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol, get_args

from pymongo.errors import DuplicateKeyError

from common.errors import Retryable
from common.mongo import ACCOUNTS, Database, Document

AccountState = Literal["active", "restricted", "needs_reconnection", "disconnected"]
STATES: tuple[AccountState, ...] = get_args(AccountState)

MOST_TRIES = 10
STORED = ("state", "reason", "detail", "since", "until", "connected_at")


@dataclass(frozen=True)
class Standing:
    """The state of an account since `since`. `reason` is a stable code; `detail` says what to do, for a person."""

    account_id: str
    state: AccountState = "active"
    reason: str = ""
    detail: str = ""
    since: datetime | None = None
    until: datetime | None = None
    connected_at: datetime | None = None
    """When the account was last connected: set by whoever keeps standings."""

    def state_at(self, now: datetime) -> AccountState:
        """Return the state at `now`: a restriction with an end is over at its end."""
        return "active" if self.until is not None and now >= self.until else self.state

    def works(self, now: datetime) -> bool:
        """Tell whether the account may be used to send."""
        return self.state_at(now) == "active"


class Standings(Protocol):
    """Keeps the standings of accounts. Both methods raise PyMongoError where the store is away."""

    async def of(self, account_id: str) -> Standing:
        """Return the account's standing; active where nothing was ever noted."""
        ...

    async def note(self, standing: Standing) -> bool:
        """Write a standing, which needs `since`. False, and nothing changes, where what is known goes before it."""
        ...


def replaces(new: Standing, known: Standing) -> bool:
    """Tell whether `new`, which has `since`, is to be believed in place of what is known."""
    if new.since is None or known.since is None:
        return new.since is not None
    if new.state == "active" or known.state == "active":
        return new.since >= known.since
    if known.connected_at is not None and new.since < known.connected_at:
        return False
    worse = STATES.index(new.state) - STATES.index(known.state)
    over = known.until is not None and new.since >= known.until
    return worse > 0 or over or (worse == 0 and new.since >= known.since)


def is_news(new: Standing, known: Standing) -> bool:
    """Tell whether `new`, which has `since`, says more than what is known: another state or reason, or one anew."""
    over = known.until is not None and new.since is not None and new.since >= known.until
    return over or (new.state, new.reason) != (known.state, known.reason)


class MongoStandings:
    """Standings in the database. That an account works is believed for `keep` seconds, for at most `most` accounts.

    That it is stopped is read again each time: the first message after it was connected again is answered.
    """

    def __init__(self, db: Database, *, keep: float = 5.0, most: int = 10_000) -> None:
        self._collection = db[ACCOUNTS]
        self._keep = keep
        self._most = most
        self._kept: OrderedDict[str, tuple[float, Standing]] = OrderedDict()

    async def of(self, account_id: str) -> Standing:
        """Return the account's standing. Raises PyMongoError."""
        kept = self._kept.get(account_id)
        if kept is not None and kept[1].state == "active" and time.monotonic() - kept[0] < self._keep:
            return kept[1]
        return self._remembered(_read(account_id, await self._find(account_id)))

    async def all(self, account_ids: list[str]) -> dict[str, Standing]:
        """Return the standings of these accounts, as they are now. Raises PyMongoError."""
        found = {document["_id"]: document async for document in self._collection.find({"_id": {"$in": account_ids}})}
        return {account_id: _read(account_id, found.get(account_id)) for account_id in account_ids}

    async def note(self, standing: Standing) -> bool:
        """Write a standing, unless what is known goes before it. Raises PyMongoError, Retryable, ValueError.

        ValueError without `since`; Retryable where others write the same account's again and again.
        """
        return await self._note(standing, news_only=False)

    async def note_news(self, standing: Standing) -> bool:
        """Write a standing like `note`, but only where the account does not stand so already.

        Of all who find out the same at once, one is told True: people are told once. Raises like `note`.
        """
        return await self._note(standing, news_only=True)

    async def _note(self, standing: Standing, *, news_only: bool) -> bool:
        if standing.since is None:
            raise ValueError("a standing that is noted needs `since`")
        for _ in range(MOST_TRIES):
            document = await self._find(standing.account_id)
            known = _read(standing.account_id, document)
            if document is not None and (not replaces(standing, known) or (news_only and not is_news(standing, known))):
                self._remembered(known)
                return False
            connected_at = standing.since if standing.state == "active" else known.connected_at
            new = replace(standing, connected_at=connected_at)
            if await self._written(new, over=document):
                self._remembered(new)
                return True
        raise Retryable(f"the standing of account {standing.account_id} is being written by others")

    async def _find(self, account_id: str) -> Document | None:
        return await self._collection.find_one({"_id": account_id})

    async def _written(self, new: Standing, *, over: Document | None) -> bool:
        """Write `new` over the document as it was read; False where it has changed since."""
        fields = {name: getattr(new, name) for name in STORED}
        if over is None:
            try:
                await self._collection.insert_one({"_id": new.account_id, **fields})
            except DuplicateKeyError:
                return False
            return True
        as_read = {"_id": new.account_id, "state": over.get("state"), "since": over.get("since")}
        return (await self._collection.update_one(as_read, {"$set": fields})).matched_count > 0

    def _remembered(self, standing: Standing) -> Standing:
        self._kept[standing.account_id] = (time.monotonic(), standing)
        self._kept.move_to_end(standing.account_id)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return standing


def _read(account_id: str, document: Document | None) -> Standing:
    stored = {name: document[name] for name in STORED if name in document} if document is not None else {}
    return Standing(account_id, **stored)
