"""No event is too large for a record, and the item itself is never what is left out."""

import base64
import json
import random
import zlib
from datetime import UTC, datetime

import pytest

from ingest.body import json_object
from ingest.notifications import normalise
from ingest.size import MAX_EVENT_BYTES, fitted

NOW = datetime(2026, 11, 21, tzinfo=UTC)
MIB = 1024 * 1024


def events_of(body):
    raw = json.dumps(body, ensure_ascii=False).encode()
    return fitted(normalise(json_object(raw), received_at=NOW), len(raw))


def message(**content):
    return {"entry": [{"id": "1", "messaging": [{"sender": {"id": "2"}, "message": {"mid": "m", **content}}]}]}


def test_usual_events_pass_untouched():
    events, reduced = events_of(message(text="مرحبا"))
    assert reduced == 0
    assert events[0].data.original["message"]["text"] == "مرحبا"


def test_a_large_event_that_fits_keeps_its_original():
    events, reduced = events_of(message(text="x" * 3 * MIB))
    assert reduced == 0
    assert len(events[0].data.original["message"]["text"]) == 3 * MIB


def test_an_original_that_is_too_much_is_compressed_and_can_be_had_back():
    body = message(text="سعر " * MIB)
    [event], reduced = events_of(body)
    assert reduced == 1
    assert event.data.text == "سعر " * MIB
    kept = event.data.original
    assert json.loads(zlib.decompress(base64.b64decode(kept["data"]))) == body["entry"][0]["messaging"][0]


def test_an_original_that_cannot_be_compressed_is_named_and_the_text_stays():
    alphabet = [chr(c) for c in range(0x4E00, 0x9FFF)]
    text = "".join(random.Random(7).choices(alphabet, k=8 * MIB // 3 - 100))
    [event], reduced = events_of(message(text=text))
    assert reduced == 1
    assert event.data.text == text
    assert event.data.original["reduced"] == "left out"
    assert event.data.original["bytes"] > 7 * MIB


@pytest.mark.parametrize(
    "body",
    [
        {"entry": [{"id": "1", "numbers": [1e9] * 1_400_000}]},
        {"entry": [{"id": "1", "messaging": [{"sender": {"id": "2"}, "message": {"attachments": [{}] * 900_000}}]}]},
        {"x": "y" * (8 * MIB - 100)},
    ],
    ids=["numbers that grow", "countless attachments", "a body nobody knows"],
)
def test_whatever_comes_fits_into_a_record(body):
    raw = json.dumps(body).replace("000000000.0", "e9").encode()
    events, _ = fitted(normalise(json_object(raw), received_at=NOW), len(raw))
    assert all(len(event.to_json()) <= MAX_EVENT_BYTES for event in events)


def test_a_body_of_countless_items_is_kept_as_one():
    raw = json.dumps({"entry": [[]] * 200_000}).encode()
    [event] = normalise(json_object(raw), received_at=NOW)
    assert event.type == "com.jawab.unknown.received.v1"
    assert len(event.data.original["entry"]) == 200_000
