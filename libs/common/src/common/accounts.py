"""Whether an Instagram account can be used now, and why not: kept beside the merchants, because services find it out.

The operator writes a merchant's document; what the platform says about its account is found out by the services (a
send that is refused, a callback that says the app was removed) and undone by `jawab merchants connect`.

    active               everything works
    needs_reconnection   the token or a permission is gone: somebody has to connect the account again
    restricted           Meta holds the account back, until a moment where one is known
    disconnected         the app was removed from the account: nothing may be sent, nothing is taken in
"""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, get_args

from pymongo.errors import DuplicateKeyError

from common.mongo import ACCOUNTS, Database

AccountState = Literal["active", "needs_reconnection", "restricted", "disconnected"]
STATES: tuple[AccountState, ...] = get_args(AccountState)


@dataclass(frozen=True)
class Standing:
    """The state of an account since `since`. `reason` is a stable code; `detail` says what to do, for a person."""

    account_id: str
    state: AccountState = "active"
    reason: str = ""
    detail: str = ""
    since: datetime | None = None
    until: datetime | None = None

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
        """Write a standing, which needs `since`. False, and nothing changes, where a later one is known."""
        ...


class MongoStandings:
    """Standings in the database. What was read is believed for `keep` seconds, for at most `most` accounts."""

    def __init__(self, db: Database, *, keep: float = 5.0, most: int = 10_000) -> None:
        self._collection = db[ACCOUNTS]
        self._keep = keep
        self._most = most
        self._kept: OrderedDict[str, tuple[float, Standing]] = OrderedDict()

    async def of(self, account_id: str) -> Standing:
        """Return the account's standing. Raises PyMongoError."""
        kept = self._kept.get(account_id)
        if kept is not None and time.monotonic() - kept[0] < self._keep:
            return kept[1]
        document = await self._collection.find_one({"_id": account_id})
        standing = _read(document) if document is not None else Standing(account_id)
        self._remember(standing)
        return standing

    async def note(self, standing: Standing) -> bool:
        """Write a standing where no later one is known. Raises PyMongoError, ValueError without `since`."""
        if standing.since is None:
            raise ValueError("a standing that is noted needs `since`")
        fields = {name: getattr(standing, name) for name in ("state", "reason", "detail", "since", "until")}
        try:
            await self._collection.update_one(
                {"_id": standing.account_id, "$or": [{"since": None}, {"since": {"$lte": standing.since}}]},
                {"$set": fields},
                upsert=True,
            )
        except DuplicateKeyError:
            self._kept.pop(standing.account_id, None)
            return False
        self._remember(standing)
        return True

    def _remember(self, standing: Standing) -> None:
        self._kept[standing.account_id] = (time.monotonic(), standing)
        self._kept.move_to_end(standing.account_id)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


def _read(document: dict[str, object]) -> Standing:
    fields = {name: document[name] for name in ("state", "reason", "detail", "since", "until") if name in document}
    return Standing(str(document["_id"]), **fields)  # type: ignore[arg-type]  # our own document
