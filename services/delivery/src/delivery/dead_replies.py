"""What becomes of a reply whose record went to the dead letters: somebody is always told.

The customer was not answered, or nobody knows. The system is told by an outcome, the merchant's people by a notice. A
row in `attempting` or `unknown` stays as it is: only the sweeper may say what became of it, after looking.
"""

import structlog

from common.clock import Clock
from common.events.outcomes import OutcomeEvent
from common.events.replies import OperatorNotification, ReplyGenerated, Typing
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchants
from delivery import ledger as rows
from delivery import permissions
from delivery.contacts import Contacts
from delivery.ledger import Ledger
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import DEAD_LETTERED, dead_letter_of, outcome_of
from delivery.platforms.operator import Notice, notice_of
from delivery.reports import Reports
from delivery.row_writes import put_or_read

log = structlog.get_logger("dead_replies")


class DeadReplies:
    """Hands over to people what was given up."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        contacts: Contacts,
        merchants: Merchants,
        reports: Reports,
        clock: Clock,
        metrics: DeliveryMetrics,
    ) -> None:
        self._ledger = ledger
        self._contacts = contacts
        self._merchants = merchants
        self._reports = reports
        self._clock = clock
        self._metrics = metrics

    async def reply_died(self, event: ReplyGenerated, cause: str) -> None:
        """Tell what became of a reply that was given up. Doing it again says the same. Raises Retryable."""
        if isinstance(event.data.action, Typing):
            return
        outcome = await self._end(event, cause)
        if outcome is not None:
            await self._reports.publish(outcome)
        if outcome is not None and outcome.type != "com.jawab.reply.failed.v1":
            self._metrics.buried.labels("already_ended").inc()
            return
        said = event.data.action.text if isinstance(event.data.action, OperatorNotification) else cause
        notice = notice_of(event.data, DEAD_LETTERED, said, self._clock.now())
        await self._reports.tell(event.data.merchant_id, notice)
        self._metrics.buried.labels("handed_to_human").inc()

    async def _end(self, event: ReplyGenerated, cause: str) -> OutcomeEvent | None:
        """End the reply's row where nothing was sent, and return its outcome; None while that is not known."""
        now = self._clock.now()
        row = await self._ledger.find(event.data.reply_id)
        if row is None:
            return dead_letter_of(event, cause, now)
        if row.state == "claimed" and not row.erased:
            refuse_if_lost()
            row = await put_or_read(self._ledger, rows.given_up(row, DEAD_LETTERED, cause, now), over=row)
        await permissions.give_back_opt_in(self._contacts, row)
        return outcome_of(event, row) if row.finished else None

    async def record_died(self, key: str, cause: str) -> None:
        """Call an agent because a reply could not even be read; `key` is its conversation, or empty."""
        account, _, contact = key.partition(":")
        merchant = await self._merchants.of_account(account)
        if merchant is None:
            log.error("dead_reply.of_nobody", key=key)
            return
        notice = Notice(
            reason=DEAD_LETTERED,
            text=cause,
            conversation_id=key,
            account_id=account,
            contact_id=contact or None,
            reply_id="",
            at=self._clock.now(),
        )
        await self._reports.tell(merchant.id, notice)
        self._metrics.buried.labels("handed_to_human").inc()
