"""Every row of the catalogue (docs/events.md) has a body of its own here, and becomes exactly the events it should.

`catalogue.json` holds, for each row, the body as it comes and all its events say: whatever a row does not list, the
event does not hold. The ids are written out: they must never change, or a redelivery after an upgrade looks new.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from common.events import ANY_EVENT
from ingest import external_request
from ingest.notifications import normalise

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
SHOP = "17841470000112358"
ROWS = json.loads((Path(__file__).parent / "catalogue.json").read_text(encoding="utf-8"))


def events_of(row, at=NOW):
    if row.get("via") == "manychat":
        about = {"default_account": SHOP, "received_at": at, "traceparent": None}
        return [external_request.message_of(row["body"], **about)]
    return normalise(row["body"], received_at=at)


def told(event):
    """What an event says, without what it repeats of the item."""
    data = event.data.model_dump(mode="json", exclude_defaults=True, exclude={"original", "received_at_ms"})
    time = event.time.isoformat().replace("+00:00", "Z")
    return {"type": event.type, "id": event.id, "time": time, "data": data}


@pytest.mark.parametrize("row", ROWS, ids=[row["row"] for row in ROWS])
def test_a_row_becomes_exactly_its_events(row):
    events = events_of(row)
    assert [told(event) for event in events] == row["events"]
    assert [ANY_EVENT.validate_json(event.to_json()) for event in events] == events
    assert [event.id for event in events_of(row, at=NOW + timedelta(hours=2))] == [event.id for event in events]


def test_no_row_has_the_name_of_another():
    assert len({row["row"] for row in ROWS}) == len(ROWS)


async def test_every_row_is_accepted_as_a_signed_webhook_and_published(world):
    for row in ROWS:
        if row.get("via") == "manychat":
            continue
        world.publisher.events.clear()
        answer = await world.send(row["body"])
        assert (answer.status_code, answer.json()["events"]) == (200, len(row["events"])), row["row"]
        assert [event.id for event in world.publisher.events] == [event["id"] for event in row["events"]]
