"""A merchant removed the app: nothing may be sent for that account any more, and what happened stays on record.

Meta names who connected the account by an app-scoped id (`jawab merchants connect` stores it beside the account), not
by the account's own id; some callbacks name that one all the same, so both are looked for.
"""

from typing import Any

import structlog

from cleanup.metrics import CleanupMetrics
from cleanup.stored_accounts import accounts_in
from common.accounts import Standing, Standings
from common.events.privacy import DeauthorizationReceived
from common.mongo import MERCHANTS, Database

log = structlog.get_logger("deauthorization")

REASON = "deauthorized"
DETAIL = "the app was removed from the account: log in with it again, then `jawab merchants connect`"
NAMING = ("account_id", "app_scoped_id")


class Disconnector:
    """Notes that accounts are disconnected."""

    def __init__(
        self, db: Database, standings: Standings, *, environment_account: str | None, metrics: CleanupMetrics
    ) -> None:
        self._merchants = db[MERCHANTS]
        self._standings = standings
        self._environment_account = environment_account
        self._metrics = metrics

    async def disconnect(self, event: DeauthorizationReceived) -> bool:
        """Note that the account is disconnected. False when nobody here has it. Raises PyMongoError, Retryable.

        An account that was connected again after the request was made stays connected.
        """
        named = {event.data.user_id, *([event.data.account_id] if event.data.account_id else [])}
        accounts = await self._accounts(named)
        if not accounts:
            self._metrics.requests.labels("unknown_account").inc()
            log.warning(
                "deauthorization.unknown_account",
                code=event.data.code,
                fix="find out which merchant removed the app (`jawab doctor` names tokens that are refused), then "
                "`jawab merchants disconnect`",
            )
            return False
        for account in sorted(accounts):
            standing = Standing(account, "disconnected", REASON, DETAIL, since=event.time)
            noted = await self._standings.note(standing)
            self._metrics.requests.labels("disconnected" if noted else "connected_since").inc()
            log.info("account.disconnected" if noted else "account.connected_since", account=account)
        return True

    async def _accounts(self, named: set[str]) -> set[str]:
        """Return the accounts that one of these ids belongs to, or belonged to who connected them."""
        wanted = {"$in": sorted(named)}
        either = [{f"{place}{name}": wanted} for name in NAMING for place in ("", "other_accounts.")]
        fields = {f"{place}{name}": 1 for name in NAMING for place in ("", "other_accounts.")}
        found = {account for account in (self._environment_account,) if account in named and account is not None}
        async for document in self._merchants.find({"$or": either}, fields):
            found |= {account["account_id"] for account in accounts_in(document) if named & _ids(account)}
        return found


def _ids(account: dict[str, Any]) -> set[str]:
    return {account[name] for name in NAMING if isinstance(account.get(name), str)}
