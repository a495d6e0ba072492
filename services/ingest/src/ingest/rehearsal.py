"""The guide's local test: example bodies with example ids and times of years ago, made to be answered here and now."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from common.events.interactions import InteractionEvent, UnknownReceived
from ingest.notifications import normalise

SOURCE = "/ingest/test"
STALE = timedelta(hours=1)

NOTE = (
    "Unsigned, for development. The account is this environment's INSTAGRAM_PAGE_ID. The same message id is answered "
    "only once: change it to get another answer."
)
NOTHING_KNOWN = (
    "Unsigned, for development. Nothing in this body is known, so nothing will be answered: send a whole webhook, as "
    "docs/api-examples.md shows one."
)


def note(events: Iterable[InteractionEvent]) -> str:
    """Return what to know about these events of a test, above all whether any of them was understood."""
    return NOTE if any(not isinstance(event, UnknownReceived) for event in events) else NOTHING_KNOWN


def rehearsed(
    body: dict[str, Any], *, account: str | None, received_at: datetime, traceparent: str | None
) -> list[InteractionEvent]:
    """Return the events of `body` as if it had happened now, to `account`; without one, to the account it names."""
    events = normalise(body, received_at=received_at, traceparent=traceparent, source=SOURCE, account=account)
    return [_today(event, received_at) for event in events]


def _today(event: InteractionEvent, received_at: datetime) -> InteractionEvent:
    data = event.data.model_copy(update={"envelope": "test"})
    time = received_at if event.time < received_at - STALE else event.time
    return event.model_copy(update={"data": data, "time": time})
