"""The shapes around the items: entries of several accounts, and six ways in which an entry holds its items.

    entry[].messaging[]   entry[].standby[]          direct messages; standby while another app owns the thread
    entry[].changes[] {field, value}                 comments, mentions, …, and the dashboard's test of any field
    entry[] {field, value}                           the flat form documented for Instagram Login
    value.messages[] / .comments[] / .mentions[]     the guide's lists
    {field, value}                                   one change without an entry, as the dashboard shows it

Which keys are there decides, never `object`: the same shapes come under `instagram` and `page`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any

from common.events.interactions import Envelope, InteractionEvent
from ingest.notifications.changes import from_change, guide_lists, is_an_item
from ingest.notifications.item import Item, Received
from ingest.notifications.messaging import from_messaging
from ingest.notifications.reading import identifier, listed, mapping
from ingest.notifications.times import moment

SOURCE = "/ingest/instagram"

MAX_ITEMS = 10_000
"""The platform batches up to 1,000 updates. A body of far more is kept whole as one event, not taken apart."""

SECTIONS = frozenset({"messaging", "standby", "changes", "field", "messages", "comments", "mentions"})


def normalise(
    body: dict[str, Any],
    *,
    received_at: datetime,
    traceparent: str | None = None,
    source: str = SOURCE,
    account: str | None = None,
) -> list[InteractionEvent]:
    """Return the events of a webhook body, in its order; at least one, and never an error.

    With `account` they are all that account's, whatever the body names. `received_at` is our clock's time of arrival,
    aware; no event is later. Text must be free of lone surrogates (`ingest.body` sees to it).
    """
    received = Received(received_at, source, traceparent, account)
    events = list(islice(_events(body, received), MAX_ITEMS + 1))
    if not events or len(events) > MAX_ITEMS:
        return [Item(body, None, "unknown", received).unknown()]
    return events


def _events(body: dict[str, Any], received: Received) -> Iterator[InteractionEvent]:
    if "entry" not in body:
        if SECTIONS & body.keys():
            yield from _entry(body, received)
        return
    entries = body["entry"]
    if isinstance(entries, dict | list):
        for entry in listed(entries):
            yield from _entry(entry, received)


def _entry(entry: Any, received: Received) -> Iterator[InteractionEvent]:
    whole = Item(entry, None, "unknown", received)
    if not isinstance(entry, dict):
        yield whole.unknown()
        return
    whole = replace(
        whole,
        account=received.account or identifier(entry.get("id")),
        entry_time=moment(entry.get("time")),
        user_id=identifier(entry.get("uid")) or identifier(entry.get("id")),
    )
    empty = True
    for event in _items(entry, whole):
        empty = False
        yield event
    if empty:
        yield whole.unknown()


def _items(entry: dict[str, Any], whole: Item) -> Iterator[InteractionEvent]:
    for raw in listed(entry.get("messaging")):
        yield from_messaging(replace(whole, original=raw, envelope="messaging"), raw)
    for raw in listed(entry.get("standby")):
        yield from_messaging(replace(whole, original=raw, envelope="standby", standby=True), raw)
    for change in listed(entry.get("changes")):
        yield from _change(change, replace(whole, original=change, envelope="changes"))
    if "field" in entry:
        flat = {name: entry[name] for name in ("field", "value") if name in entry}
        yield from _change(flat, replace(whole, original=flat, envelope="flat"))
    yield from _lists(entry, whole)


def _change(change: Any, item: Item) -> Iterator[InteractionEvent]:
    if not isinstance(change, dict):
        yield item.unknown()
        return
    field, value = change.get("field"), change.get("value")
    item = replace(item, standby=field == "standby")
    empty = True
    for event in _lists(None if is_an_item(value) else value, item):
        empty = False
        yield event
    if empty:
        yield from_change(item, field, value)


def _lists(value: Any, around: Item) -> Iterator[InteractionEvent]:
    lists: Envelope = "lists"
    for field, raw in guide_lists(mapping(value)):
        yield from_change(replace(around, original=raw, envelope=lists), field, raw)
