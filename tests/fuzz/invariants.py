"""What holds for every webhook body whatever is in it; the fuzz and the shaken catalogue both check exactly this.

Counting and comparing are done here without the parser's own functions, so that a mistake in it cannot hide itself.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bson

from common.events import ANY_EVENT
from common.events.interactions import (
    CommentReceived,
    EchoReceived,
    InteractionEvent,
    LiveCommentReceived,
    MentionReceived,
    MessageEdited,
    MessageRead,
    MessageReceived,
    MessageUnsent,
    PostbackReceived,
    ReactionReceived,
    StoryInsightsReceived,
    UnknownReceived,
)
from delivery.subscribers import named_by
from ingest import external_request
from ingest.notifications import MAX_ITEMS, NO_ACCOUNT, normalise

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
FIRST_MOMENT = datetime(2001, 9, 9, tzinfo=UTC)
CATALOGUE = Path(__file__).parents[2] / "services" / "ingest" / "tests" / "catalogue.json"

SHOP = "17841470000112358"
GUIDE_LISTS = ("messages", "comments", "mentions")
CIRCUMSTANCES = {"original", "received_at_ms", "envelope", "standby", "entry_id"}


def catalogue_bodies() -> list[dict[str, Any]]:
    """Return the bodies of all rows that come from Meta."""
    rows = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return [row["body"] for row in rows if row.get("via") != "manychat"]


def contact_bodies() -> list[dict[str, Any]]:
    """Return the bodies of all rows that come from ManyChat's External Request."""
    rows = json.loads(CATALOGUE.read_text(encoding="utf-8"))
    return [row["body"] for row in rows if row.get("via") == "manychat"]


def check(body: dict[str, Any]) -> list[InteractionEvent]:
    """Return the events of `body`. Raises AssertionError for whatever must not be, and what the parser raises."""
    before = copy.deepcopy(body)
    events = normalise(body, received_at=NOW)
    assert body == before, "the body was changed"
    expected = items_in(body)
    assert len(events) == (expected if 0 < expected <= MAX_ITEMS else 1), "not every item became one event"
    for event in events:
        sound(event)
    redelivered(body, events)
    unshared(events)
    return events


def sound(event: InteractionEvent) -> None:
    """Assert what holds for any single event."""
    again = ANY_EVENT.validate_json(event.to_json())
    assert (again.id, again.type, again.subject, again.time) == (event.id, event.type, event.subject, event.time)
    assert event.subject == event.partitionkey == event.data.conversation_id
    assert event.id.startswith(f"{event.data.account_id}:")
    assert len(event.id) < 2000
    assert FIRST_MOMENT < event.time <= NOW
    itself = event.data.contact_id == event.data.account_id != NO_ACCOUNT
    assert event.data.is_self or not itself, "the account would be its own customer"
    storable(event)


def storable(event: InteractionEvent) -> None:
    """Assert that MongoDB takes every field: what no store can hold dies in a consumer, and stops a partition."""
    fields = event.model_dump()
    fields["data"].pop("original")  # carried in the record, stored nowhere
    bson.encode(fields)
    if isinstance(event, MessageReceived):
        bson.encode({"subscriber_id": named_by(event)})


def check_contact(body: dict[str, Any]) -> list[InteractionEvent]:
    """Return the event of an External Request's body, none where it is refused, and assert that it can be stored."""
    try:
        event = external_request.message_of(body, default_account=SHOP, received_at=NOW, traceparent=None)
    except external_request.InvalidContactData:
        return []
    assert ANY_EVENT.validate_json(event.to_json()).id == event.id
    storable(event)
    return [event]


def redelivered(body: dict[str, Any], events: list[InteractionEvent]) -> None:
    """Assert that the same body at another time, its keys in another order, gives the same ids."""
    later = normalise(reordered(body), received_at=LATER, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    assert [event.id for event in later] == [event.id for event in events], "a redelivery has other ids"
    assert [event.subject for event in later] == [event.subject for event in events]


def unshared(events: list[InteractionEvent]) -> None:
    """Assert that two events of one id tell of the same occurrence."""
    seen: dict[str, str] = {}
    for event in events:
        told = occurrence(event)
        assert seen.setdefault(event.id, told) == told, "two occurrences share an id"


def occurrence(event: InteractionEvent) -> str:
    """Return what makes an occurrence the one it is, as text.

    Where the platform gives it an id, that; where not, everything it says.
    """
    data = event.data
    named = NAMED_BY[type(event)](data) if type(event) in NAMED_BY else None
    told = named or (event.type, data.model_dump_json(exclude=CIRCUMSTANCES))
    return repr((data.account_id, *told))


NAMED_BY: dict[type, Callable[[Any], tuple[Any, ...] | None]] = {
    MessageReceived: lambda data: ("said", data.mid),
    EchoReceived: lambda data: ("said", data.mid),
    MessageUnsent: lambda data: ("unsent", data.mid),
    MessageEdited: lambda data: ("edited", data.mid, data.num_edit or data.text),
    PostbackReceived: lambda data: ("tapped", data.mid) if data.mid else None,
    ReactionReceived: lambda data: ("reacted", data.mid, data.from_account, data.contact_id, data.action[:40]),
    MessageRead: lambda data: ("read", data.mid or data.watermark_ms, data.from_account, data.contact_id),
    CommentReceived: lambda data: ("commented", data.comment_id),
    LiveCommentReceived: lambda data: ("commented", data.comment_id),
    MentionReceived: lambda data: ("mentioned", data.media_id, data.comment_id),
    StoryInsightsReceived: lambda data: ("figures", data.media_id),
    UnknownReceived: lambda data: ("unknown", json.dumps(data.original, sort_keys=True)),
}


def items_in(body: dict[str, Any]) -> int:
    """Count a body's items by the shapes that docs/events.md describes."""
    if "entry" not in body:
        return sum(1 for _ in _items(body)) or int(_has_section(body))
    entries = body["entry"]
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list):
        return 0
    return sum((sum(1 for _ in _items(entry)) or 1) if isinstance(entry, dict) else 1 for entry in entries)


def _has_section(body: dict[str, Any]) -> bool:
    return any(name in body for name in ("messaging", "standby", "changes", "field", *GUIDE_LISTS))


def _items(entry: dict[str, Any]) -> Iterator[Any]:
    for section in ("messaging", "standby"):
        yield from _as_list(entry.get(section))
    for change in _as_list(entry.get("changes")):
        inner = _taken_apart(change.get("value")) if isinstance(change, dict) else []
        yield from inner or [change]
    if "field" in entry:
        yield from _taken_apart(entry.get("value")) or [entry]
    yield from _listed_in(entry)


def _taken_apart(value: Any) -> list[Any]:
    """Return the guide's items of a change's value; none where the value has an id and is an item itself."""
    if isinstance(value, dict) and any(_is_id(value.get(name)) for name in ("id", "comment_id", "media_id", "mid")):
        return []
    return list(_listed_in(value))


def _is_id(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip()) and len(value) <= 512
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 10**40


def _listed_in(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for name in GUIDE_LISTS:
            if isinstance(value.get(name), list):
                yield from value[name]


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def reordered(value: Any) -> Any:
    """Return the same JSON value, its objects' keys the other way round."""
    if isinstance(value, dict):
        return {name: reordered(value[name]) for name in reversed(value)}
    if isinstance(value, list):
        return [reordered(part) for part in value]
    return value
