"""Renews the tokens of accounts before their 60 days are over, by the clock: an account that is idle needs it as well.

A token can be renewed from its second day on and while it lasts (Meta, "Refresh Access Token"). One whose end nobody
knows, copied from the app's dashboard, is tried at every run until it is renewed: then its end is known. The old one
stays good until its own end, so services that still have it go on. What the platform refuses is noted as the account's
standing, for an operator to connect it again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from pydantic import ValidationError

from common.accounts import Standing, Standings
from common.clock import Clock
from common.graph_accounts import GraphAway, GraphRefused, LastingToken
from common.merchants import Account, Merchant
from common.mongo import MERCHANTS, Database
from common.sealing import NotOpenable, Sealer

log = structlog.get_logger("renewal")

BEFORE_THE_END = timedelta(days=10)
YOUNGEST = timedelta(hours=24)
OF_THE_TOKEN = frozenset({"app_removed", "password_changed", "token_expired", "token_refused", "permission_missing"})
"""Refusals that say that this token will not work again."""

CERTAIN = frozenset({"app_removed", "password_changed", "token_expired"})
"""Those that say it of a token of which nobody knows how old it is: the others may mean that it is not a day old."""


class Platform(Protocol):
    """Renews tokens."""

    async def renewed(self, token: str) -> LastingToken:
        """Return a token of 60 more days. Raises GraphRefused, GraphAway."""
        ...


@dataclass
class Renewed:
    """How many accounts were dealt with, and how."""

    renewed: int = 0
    refused: int = 0
    failed: int = 0
    end_unknown: int = 0
    """Tokens that could not be renewed yet and whose end nobody knows."""


def is_due(account: Account, now: datetime) -> bool:
    """Tell whether an account's token should be renewed now: it ends soon, or nobody knows when it ends."""
    if account.access_token is None:
        return False
    old_enough = account.token_issued_at is None or now - account.token_issued_at >= YOUNGEST
    ends = account.token_expires_at
    return old_enough and (ends is None or ends - now < BEFORE_THE_END)


class Renewal:
    """Renews what is due."""

    def __init__(self, db: Database, standings: Standings, platform: Platform, *, sealer: Sealer, clock: Clock) -> None:
        self._merchants = db[MERCHANTS]
        self._standings = standings
        self._platform = platform
        self._sealer = sealer
        self._clock = clock

    async def renew(self) -> Renewed:
        """Renew every token that is due, one after another. Raises PyMongoError."""
        done = Renewed()
        documents = await self._merchants.find({}).to_list()
        for merchant in self._readable(documents, done):
            for account in merchant.accounts:
                if is_due(account, self._clock.now()):
                    await self._renew(merchant, account, done)
        return done

    def _readable(self, documents: list[dict[str, object]], done: Renewed) -> Iterator[Merchant]:
        for document in documents:
            try:
                yield Merchant.from_document(document)
            except ValidationError:
                done.failed += 1  # its tokens end unseen otherwise, while the job says that all is well
                log.error("merchant.not_readable", merchant=str(document["_id"]))

    async def _renew(self, merchant: Merchant, account: Account, done: Renewed) -> None:
        who = {"merchant": merchant.id, "account": account.account_id}
        if (await self._standings.of(account.account_id)).state in {"disconnected", "needs_reconnection"}:
            return
        try:
            new = await self._platform.renewed(account.opened("access_token", self._sealer) or "")
        except NotOpenable:
            done.failed += 1
            log.error("renewal.key_not_openable", **who, fix="put the ENCRYPTION_KEY that sealed it behind the new one")
        except GraphAway as away:
            done.failed += 1
            log.warning("renewal.platform_away", **who, error=str(away))
        except GraphRefused as refusal:
            if account.token_expires_at is None and refusal.reason not in CERTAIN:
                done.end_unknown += 1
                log.warning("renewal.not_yet", **who, reason=refusal.reason, fix="nothing: it is tried again tomorrow")
                return
            await self._refused(merchant, account, refusal, done)
            log.error("renewal.refused", **who, reason=refusal.reason)
        else:
            await self._store(merchant, account, new)
            done.renewed += 1
            log.info("renewal.done", **who)

    async def _refused(self, merchant: Merchant, account: Account, refusal: GraphRefused, done: Renewed) -> None:
        if refusal.reason not in OF_THE_TOKEN:
            done.failed += 1
            return
        detail = f"{refusal}; then `jawab merchants connect {merchant.id} --account {account.account_id}`"
        since = self._clock.now()
        await self._standings.note(
            Standing(account.account_id, "needs_reconnection", refusal.reason, detail, since=since)
        )
        done.refused += 1

    async def _store(self, merchant: Merchant, account: Account, new: LastingToken) -> None:
        """Keep the new token in place of the old one, unless somebody has put another there meanwhile."""
        now = self._clock.now()
        fields = {
            "access_token": self._sealer.seal(new.token, account.account_id, "access_token"),
            "token_issued_at": now.isoformat(),
            "token_expires_at": (now + timedelta(seconds=new.expires_in)).isoformat(),
        }
        here = {"account_id": account.account_id, "access_token": account.access_token}
        if account.account_id == merchant.account_id:
            await self._merchants.update_one({"_id": merchant.id, **here}, {"$set": fields})
            return
        await self._merchants.update_one(
            {"_id": merchant.id, "other_accounts": {"$elemMatch": here}},
            {"$set": {f"other_accounts.$.{name}": value for name, value in fields.items()}},
        )
