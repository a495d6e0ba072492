"""Says what became of replies: to the rest of the system by events, to Prometheus, and to the merchant's people."""

from dataclasses import replace

import structlog

from common.events.outcomes import OutcomeEvent
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchants
from common.remedies import completed
from delivery.ledger import Row
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import Publish
from delivery.platforms.operator import Notice
from delivery.platforms.outside import Notifier
from delivery.platforms.sending import Refused

log = structlog.get_logger("reports")


class Reports:
    """Publishes outcomes, counts them once, and tells people."""

    def __init__(self, *, publish: Publish, merchants: Merchants, operator: Notifier, metrics: DeliveryMetrics) -> None:
        self._publish = publish
        self._merchants = merchants
        self._operator = operator
        self._metrics = metrics

    async def publish(self, outcome: OutcomeEvent) -> None:
        """Append an outcome. Raises OwnershipLost where another replica has the conversation, KafkaError, OSError."""
        refuse_if_lost()
        await self._publish([outcome])

    def count(self, row: Row) -> None:
        """Count and log a reply that has just come to its end."""
        self._metrics.replies.labels(row.state, row.route, row.kind).inc()
        if row.reason == "window_closed":
            self._metrics.window_closed.inc()
        if row.state == "delivered" and row.received_at_ms and row.finished_at is not None:
            waited = row.finished_at.timestamp() - row.received_at_ms / 1000
            self._metrics.webhook_to_delivered.observe(max(waited, 0.0))
        log.info(
            "reply.finished",
            state=row.state,
            reply=row.reply_id,
            conversation=row.conversation_id,
            kind=row.kind,
            route=row.route,
            reason=row.reason,
        )

    async def tell(self, merchant_id: str, notice: Notice) -> None:
        """Tell a merchant's people that one of them is needed; an address that takes nothing is counted and logged."""
        refuse_if_lost()
        merchant = await self._merchants.by_id(merchant_id)
        if merchant is None:
            return
        text = completed(notice.text, merchant_id=merchant.id, account_id=notice.account_id)
        try:
            await self._operator.notify(merchant, replace(notice, text=text))
        except Refused:
            log.warning("operator.unreachable", merchant=merchant.id)
