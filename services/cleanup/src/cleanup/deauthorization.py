"""A merchant removed the app: nothing may be sent for that account any more, and what happened stays on record."""

import structlog

from cleanup.metrics import CleanupMetrics
from common.events.privacy import DeauthorizationReceived
from common.mongo import MERCHANTS, Database

log = structlog.get_logger("deauthorization")


class Disconnector:
    """Marks merchants as disconnected."""

    def __init__(self, db: Database, *, metrics: CleanupMetrics) -> None:
        self._merchants = db[MERCHANTS]
        self._metrics = metrics

    async def disconnect(self, event: DeauthorizationReceived) -> bool:
        """Mark the account's merchant as disconnected. False when no stored merchant has it. Raises PyMongoError.

        The platform names an app-scoped id, which need not be an account's; and a merchant who is configured by
        environment alone has no document. Both are said in the log, for a person to act on.
        """
        named = [event.data.user_id, *([event.data.account_id] if event.data.account_id else [])]
        result = await self._merchants.update_many({"account_id": {"$in": named}}, {"$set": {"connected": False}})
        known = result.matched_count > 0
        self._metrics.requests.labels("disconnected" if known else "unknown_account").inc()
        if known:
            log.info("merchant.disconnected", code=event.data.code)
        else:
            log.warning(
                "deauthorization.unknown_account",
                code=event.data.code,
                fix="find out which merchant removed the app, and set connected to false in its document",
            )
        return known
