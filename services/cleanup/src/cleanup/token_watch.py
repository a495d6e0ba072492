"""Counts the tokens of accounts by what is known of their end: needs no key, so every replica does it everywhere.

A token that is not renewed stops its account without a word when it ends. Renewal begins ten days before.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Literal, get_args

import structlog
from pymongo.errors import PyMongoError

from cleanup.metrics import CleanupMetrics
from cleanup.stored_accounts import accounts_in
from common.clock import Clock
from common.mongo import MERCHANTS, Database

log = structlog.get_logger("tokens")

EVERY_SECONDS = 300.0
SOON = timedelta(days=5)

End = Literal["known", "unknown", "soon"]


def end_of(account: dict[str, Any], now: datetime) -> End:
    """Return what is known of the end of a stored account's token; what cannot be read is not known."""
    try:
        ends = datetime.fromisoformat(str(account.get("token_expires_at")))
        return "soon" if ends - now < SOON else "known"
    except (ValueError, TypeError):
        return "unknown"


def count_ends(documents: Iterable[dict[str, Any]], now: datetime) -> Counter[End]:
    """Count the tokens in stored merchants by their end."""
    accounts = (account for document in documents for account in accounts_in(document))
    return Counter(end_of(account, now) for account in accounts if account.get("access_token"))


async def watch_tokens(db: Database, metrics: CleanupMetrics, clock: Clock, *, every: float = EVERY_SECONDS) -> None:
    """Show the counts every `every` seconds until it is cancelled."""
    fields = {
        f"{place}{name}": 1
        for place in ("", "other_accounts.")
        for name in ("account_id", "access_token", "token_expires_at")
    }
    while True:
        try:
            ends = count_ends(await db[MERCHANTS].find({}, fields).to_list(), clock.now())
        except PyMongoError as error:
            log.warning("tokens.not_counted", error=type(error).__name__)
        else:
            for end in get_args(End):
                metrics.tokens.labels(end).set(ends[end])
        await asyncio.sleep(every)
