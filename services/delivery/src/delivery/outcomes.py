"""The events that say what became of a reply, built from the ledger's row: a redelivery says the same again."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
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
from delivery.ledger import Row, nothing_left
from delivery.stopping import WITHOUT_A_WAY

SOURCE = "/delivery"
DEAD_LETTERED = "dead_lettered"

Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Appends events and returns when they are acknowledged. Raises KafkaError, OSError or TimeoutError."""


def outcome_of(event: ReplyGenerated, row: Row) -> OutcomeEvent:
    """Return the event of a finished row, or of one whose outcome is unknown."""
    if row.erased:
        return outcome_of_erased(event, row.at)
    cause = _Cause(event.data.conversation_id, event.traceparent, event.id)
    return _outcome(row, _subject(event), cause, event.data.received_at_ms)


def outcome_of_erased(event: ReplyGenerated, at: datetime) -> OutcomeEvent:
    """Return the event that says that a reply was not sent because its customer was erased."""
    cause = _Cause(event.data.conversation_id, event.traceparent, event.id)
    suppressed = Suppressed(**_subject(event), reason="erased", detail="the person asked to be forgotten")
    return ReplySuppressed(**_envelope(event.data.reply_id, cause, "suppressed", at), data=suppressed)


def outcome_of_abandoned(row: Row) -> OutcomeEvent:
    """Return the event of a finished row whose reply is not at hand: all but the trace is in the row."""
    subject = {
        "merchant_id": row.merchant_id,
        "account_id": row.account_id,
        "contact_id": row.contact_id,
        "reply_id": row.reply_id,
        "decision_id": row.decision_id,
        "kind": row.kind,
        "origin": row.origin or None,
    }
    return _outcome(row, subject, _Cause(row.conversation_id), row.received_at_ms)


def dead_letter_of(event: ReplyGenerated, cause: str, at: datetime) -> OutcomeEvent:
    """Return the event that says that a reply was given up before the ledger knew it."""
    failed = Failed(**_subject(event), route="none", reason=DEAD_LETTERED, detail=cause)
    why = _Cause(event.data.conversation_id, event.traceparent, event.id)
    return ReplyFailed(**_envelope(event.data.reply_id, why, "failed", at), data=failed)


def _outcome(row: Row, subject: dict[str, Any], cause: "_Cause", received_at_ms: int) -> OutcomeEvent:
    at = row.finished_at or row.unknown_since or row.at
    match row.state:
        case "delivered":
            milliseconds = max(0, round(at.timestamp() * 1000) - received_at_ms) if received_at_ms else None
            delivered = Delivered(**subject, route=row.route, message_ids=row.message_ids, milliseconds=milliseconds)
            return ReplyDelivered(**_envelope(row.reply_id, cause, "delivered", at), data=delivered)
        case "failed" | "handed_to_human":
            stopped = row.state == "failed" and _has_no_way(row)
            failed = Failed(**subject, route=row.route, reason=row.reason, detail=row.detail, account_stopped=stopped)
            return ReplyFailed(**_envelope(row.reply_id, cause, "failed", at), data=failed)
        case "suppressed":
            withheld = Suppressed(**subject, reason=row.reason, detail=row.detail, account_stopped=_has_no_way(row))
            return ReplySuppressed(**_envelope(row.reply_id, cause, "suppressed", at), data=withheld)
        case "unknown":
            unknown = OutcomeUnknown(**subject, route=row.route, evidence=row.evidence)
            return ReplyOutcomeUnknown(**_envelope(row.reply_id, cause, "unknown", at), data=unknown)
        case _:
            raise ValueError(f"a reply that is {row.state} has no outcome yet")


def _has_no_way(row: Row) -> bool:
    """Tell whether nothing of a reply was sent because its account has no way to send."""
    return row.reason in WITHOUT_A_WAY and nothing_left(row)


def outcome_without_row(event: ReplyGenerated, *, route: Route, reason: str, at: datetime) -> OutcomeEvent:
    """Return the outcome of what the ledger does not keep (the typing indicator): delivered where `reason` is empty."""
    cause = _Cause(event.data.conversation_id, event.traceparent, event.id)
    if reason:
        suppressed = Suppressed(**_subject(event), reason=reason)
        return ReplySuppressed(**_envelope(event.data.reply_id, cause, "suppressed", at), data=suppressed)
    delivered = Delivered(**_subject(event), route=route)
    return ReplyDelivered(**_envelope(event.data.reply_id, cause, "delivered", at), data=delivered)


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


@dataclass(frozen=True)
class _Cause:
    """What led to an outcome, as far as it is known."""

    conversation_id: str
    traceparent: str | None = None
    event_id: str | None = None


def _subject(event: ReplyGenerated) -> dict[str, Any]:
    reply = event.data
    return {
        "merchant_id": reply.merchant_id,
        "account_id": reply.account_id,
        "contact_id": reply.contact_id,
        "reply_id": reply.reply_id,
        "decision_id": reply.decision_id,
        "kind": reply.action.kind,
        "origin": reply.origin,
    }


def _envelope(reply_id: str, cause: _Cause, outcome: str, at: datetime) -> dict[str, Any]:
    return {
        "id": outcome_id(reply_id, outcome),
        "source": SOURCE,
        "subject": cause.conversation_id,
        "time": at,
        "partitionkey": cause.conversation_id,
        "traceparent": continued(cause.traceparent),
        "causationid": cause.event_id,
    }
