"""The events that say what became of a reply, built from the ledger's row: a redelivery says the same again."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from common.events import Event
from common.events.ids import outcome_id
from common.events.interactions import EchoReceived
from common.events.outcomes import (
    Delivered,
    Failed,
    HumanReplied,
    HumanReply,
    OutcomeEvent,
    OutcomeUnknown,
    ReplyDelivered,
    ReplyFailed,
    ReplyOutcomeUnknown,
    ReplySuppressed,
    Route,
    Suppressed,
)
from common.events.replies import ReplyGenerated
from common.tracing import continued
from delivery.ledger import Row

SOURCE = "/delivery"

Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Appends events and returns when they are acknowledged. Raises KafkaError, OSError or TimeoutError."""


def outcome_of(event: ReplyGenerated, row: Row) -> OutcomeEvent:
    """Return the event of a finished row, or of one whose outcome is unknown."""
    reply = event.data
    subject: dict[str, Any] = {
        "merchant_id": reply.merchant_id,
        "account_id": reply.account_id,
        "contact_id": reply.contact_id,
        "reply_id": reply.reply_id,
        "decision_id": reply.decision_id,
        "kind": reply.action.kind,
    }
    at = row.finished_at or row.unknown_since or row.at
    if row.erased:
        suppressed = Suppressed(**subject, reason="erased", detail="the person asked to be forgotten")
        return ReplySuppressed(**_envelope(event, "suppressed", row.at), data=suppressed)
    match row.state:
        case "delivered":
            milliseconds = max(0, round(at.timestamp() * 1000) - reply.received_at_ms) if reply.received_at_ms else None
            delivered = Delivered(**subject, route=row.route, message_ids=row.message_ids, milliseconds=milliseconds)
            return ReplyDelivered(**_envelope(event, "delivered", at), data=delivered)
        case "failed" | "handed_to_human":
            failed = Failed(**subject, route=row.route, reason=row.reason, detail=row.detail)
            return ReplyFailed(**_envelope(event, "failed", at), data=failed)
        case "suppressed":
            withheld = Suppressed(**subject, reason=row.reason, detail=row.detail)
            return ReplySuppressed(**_envelope(event, "suppressed", at), data=withheld)
        case "unknown":
            unknown = OutcomeUnknown(**subject, route=row.route, evidence=row.evidence)
            return ReplyOutcomeUnknown(**_envelope(event, "unknown", at), data=unknown)
        case _:
            raise ValueError(f"a reply that is {row.state} has no outcome yet")


def outcome_without_row(event: ReplyGenerated, *, route: Route, reason: str, at: datetime) -> OutcomeEvent:
    """Return the outcome of what the ledger does not keep (the typing indicator): delivered where `reason` is empty."""
    reply = event.data
    subject: dict[str, Any] = {
        "merchant_id": reply.merchant_id,
        "account_id": reply.account_id,
        "contact_id": reply.contact_id,
        "reply_id": reply.reply_id,
        "decision_id": reply.decision_id,
        "kind": reply.action.kind,
    }
    if reason:
        suppressed = Suppressed(**subject, reason=reason)
        return ReplySuppressed(**_envelope(event, "suppressed", at), data=suppressed)
    return ReplyDelivered(**_envelope(event, "delivered", at), data=Delivered(**subject, route=route))


def human_replied(event: EchoReceived, merchant_id: str) -> HumanReplied:
    """Return the event that says that a person wrote from the account."""
    echo = event.data
    return HumanReplied(
        id=outcome_id(event.id, "human"),
        source=SOURCE,
        subject=echo.conversation_id,
        time=event.time,
        partitionkey=echo.conversation_id,
        traceparent=continued(event.traceparent),
        causationid=event.id,
        data=HumanReply(
            merchant_id=merchant_id,
            account_id=echo.account_id,
            contact_id=echo.contact_id,
            mid=echo.mid,
            text=echo.text,
        ),
    )


def _envelope(event: ReplyGenerated, outcome: str, at: datetime) -> dict[str, Any]:
    conversation = event.data.conversation_id
    return {
        "id": outcome_id(event.data.reply_id, outcome),
        "source": SOURCE,
        "subject": conversation,
        "time": at,
        "partitionkey": conversation,
        "traceparent": continued(event.traceparent),
        "causationid": event.id,
    }
