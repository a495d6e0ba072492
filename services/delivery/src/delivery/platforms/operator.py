"""Tells the merchant's people that one of them is needed: always in the log, and to their own address if they have one.

A notification may come twice and must not block a customer's replies: it is tried a few times at once and then counted
as failed, which an alert watches.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from common.errors import ProcessingError, Retryable, Throttled
from common.merchants import Merchant
from delivery.metrics import DeliveryMetrics
from delivery.platforms.calls import Answer, NoAnswer, OutsideApi
from delivery.platforms.sending import Refused, Sent

log = structlog.get_logger("operator")

TRIES = 2

TOO_MANY_REQUESTS = 429
REQUEST_TIMEOUT = 408
SERVER_ERRORS = range(500, 600)


def meaning(answer: Answer | NoAnswer) -> ProcessingError | None:
    """Say what the answer of a merchant's address means; None where it took the notice.

    Nothing is ever unknown here: a person who is told twice is no harm.
    """
    if isinstance(answer, NoAnswer):
        return Retryable(f"operator_webhook: {answer.evidence}")
    if answer.succeeded:
        return None
    said = f"the merchant's operator_webhook answered {answer.status}"
    if answer.status == TOO_MANY_REQUESTS:
        return Throttled(said, after=answer.retry_after)
    if answer.status in SERVER_ERRORS or answer.status == REQUEST_TIMEOUT:
        return Retryable(said, after=answer.retry_after)
    return Refused("operator_unreachable", f"{said}: correct operator_webhook")


@dataclass(frozen=True)
class Notice:
    """What a person has to know. `text` may quote the customer: it goes to the merchant's address, never to a log."""

    reason: str
    text: str
    conversation_id: str
    account_id: str
    contact_id: str | None
    reply_id: str
    at: datetime


class About(Protocol):
    """What a notice is about: a reply as it was asked for, or the ledger's row of one."""

    @property
    def conversation_id(self) -> str: ...
    @property
    def account_id(self) -> str: ...
    @property
    def contact_id(self) -> str | None: ...
    @property
    def reply_id(self) -> str: ...


def notice_of(about: About, reason: str, text: str, at: datetime) -> Notice:
    """Return what the merchant's people are told about a reply."""
    return Notice(
        reason=reason,
        text=text,
        conversation_id=about.conversation_id,
        account_id=about.account_id,
        contact_id=about.contact_id,
        reply_id=about.reply_id,
        at=at,
    )


class Operator:
    """Posts notices to a merchant's `operator_webhook`."""

    def __init__(self, api: OutsideApi, *, metrics: DeliveryMetrics) -> None:
        self._api = api
        self._metrics = metrics

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        """Tell the merchant's people. Raises Refused when their address does not take it; the log has it anyway."""
        log.warning("operator.needed", merchant=merchant.id, reason=notice.reason, conversation=notice.conversation_id)
        if merchant.operator_webhook is None:
            self._metrics.notifications.labels("logged").inc()
            return Sent()
        body = {
            "merchant_id": merchant.id,
            "account_id": notice.account_id,
            "contact_id": notice.contact_id,
            "conversation_id": notice.conversation_id,
            "reply_id": notice.reply_id,
            "reason": notice.reason,
            "text": notice.text,
            "at": notice.at.isoformat(),
        }
        for _ in range(TRIES):
            error = meaning(await self._api.call("POST", merchant.operator_webhook, name="notify", body=body))
            if error is None:
                self._metrics.notifications.labels("posted").inc()
                return Sent()
            if isinstance(error, Refused):
                break
        self._metrics.notifications.labels("unreachable").inc()
        if isinstance(error, Refused):
            raise error
        raise Refused("operator_unreachable", "the merchant's operator_webhook did not take the notification")
