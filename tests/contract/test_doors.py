"""What any door lets in, every place behind it can store: a value at a time, at every place of every body.

The doors' own functions are asked, not the servers: a door that reads a field anew is tried here without being named,
because the places come from the catalogue's bodies and from the models themselves.
"""

import copy
import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import bson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from litestar import Response

from common.events import ANY_EVENT, Event
from common.events.interactions import InteractionEvent, MessageReceived
from common.events.outcomes import Route
from common.events.replies import InThread, Reply, ReplyRequested
from delivery.api.answers import read
from delivery.api.conversation_requests import ControlBody, ReplyBody
from delivery.api.utility_messages import SendRequest
from delivery.platforms.content_limits import breach
from delivery.subscribers import named_by
from ingest import external_request, signed_request
from ingest.body import BadBody, json_object
from ingest.notifications import normalise

NOW = datetime(2026, 10, 5, 9, 30, tzinfo=UTC)
SHOP = "17841470000112358"
SECRET = "app-secret-of-the-tests"
CATALOGUE = Path(__file__).parents[2] / "services" / "ingest" / "tests" / "catalogue.json"
ROWS = json.loads(CATALOGUE.read_text(encoding="utf-8"))
SIGNED = [row["body"] for row in ROWS if row.get("via") != "manychat"]
MANYCHAT = [row["body"] for row in ROWS if row.get("via") == "manychat"]

MAX_ACCEPTED_TEXT = 10_000
SENDING_ROUTES: tuple[Route, ...] = ("manychat", "graph")
MAX_KEY_BYTES = 8 * 1024
"""Of a Kafka key here: two ids of at most 512 characters, each at most four bytes, and some room."""


def deep(levels: int) -> Any:
    """A list inside a list inside …"""
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: list[Any] = [
    *(10**power for power in (17, 18, 19, 30, 38, 39, 40, 41, 299, 300, 301, 4200)),
    *(2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 1.8e308 / 10, 5e-324, -0.0, 1e19),
    *("9" * digits for digits in (18, 19, 20, 30, 32, 33, 40, 512, 513, 5000)),
    *("0", "000", " 7 ", "-1", "1e400", "NaN", "٤٢", "²", "9" * 18 + ".5", "99999999999999999"),
    *("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2026-W01-1", "9" * 17 + ".9"),
    *("\0", "a\0b", "\ud800", "\udc00 half", "a" * 100_000, "👜" * 600, "$where", "a.b", "{{ig_id}}"),
    *({"\0": "\0"}, {"$set": {"a.b": 1}}, {"\ud83d": 2**80}, {"id": 10**25}, [2**80], deep(90)),
    *(None, True, False, [], {}),
]  # fmt: skip
hostile = st.sampled_from(HOSTILE) | st.integers() | st.text(st.characters(), max_size=40) | st.floats(allow_nan=False)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def texts(value: Any) -> Iterator[str]:
    """Every text inside a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts(part)


def changed(body: Any, path: tuple[Any, ...], value: Any, *, key: bool) -> Any:
    """The body with `value` at a place, or (`key`) named by `value` there."""
    body = copy.deepcopy(body)
    inside = body
    for part in path[:-1]:
        inside = inside[part]
    if key and isinstance(inside, dict) and isinstance(value, str):
        inside[value] = inside.pop(path[-1])
    else:
        inside[path[-1]] = value
    return body


def storable(event: Event) -> None:
    """Assert that consumers can read the event, Kafka take its key, and MongoDB store each of its fields."""
    again = ANY_EVENT.validate_json(event.to_json())
    assert again.id == event.id
    assert len(event.partitionkey.encode()) <= MAX_KEY_BYTES
    fields = event.model_dump()
    fields["data"].pop("original", None)  # carried in the record, stored nowhere
    bson.encode(fields)
    if isinstance(event, MessageReceived):
        bson.encode({"subscriber_id": named_by(event)})


def through_the_signed_door(raw: bytes) -> list[InteractionEvent]:
    """The events of a webhook whose signature fits; none where it is refused."""
    try:
        return normalise(json_object(raw), received_at=NOW)
    except BadBody:
        return []


def through_manychats_door(raw: bytes) -> list[InteractionEvent]:
    """The event of an External Request whose secret fits; none where it is refused."""
    try:
        event, refusal = of_contact(json_object(raw))
    except BadBody:
        return []
    assert event is not None or (refusal and "\n" not in refusal)
    return [event] if event is not None else []


def of_contact(contact: dict[str, Any]) -> tuple[MessageReceived | None, str]:
    """The event of a contact's data, or the refusal's one line."""
    try:
        return external_request.message_of(contact, default_account=SHOP, received_at=NOW, traceparent=None), ""
    except external_request.InvalidContactData as refused:
        return None, str(refused)


def through_the_callbacks_door(payload: bytes) -> list[Event]:
    """The event of a signed_request; none where it is refused."""
    encoded = urlsafe_b64encode(payload).decode()
    signature = urlsafe_b64encode(hmac.digest(SECRET.encode(), encoded.encode(), hashlib.sha256)).decode()
    try:
        opened = signed_request.opened(f"{signature}.{encoded}", [SECRET])
    except signed_request.Malformed:
        return []
    return [
        opened.event("data-deletion", received_at=NOW, traceparent=None),
        opened.event("deauthorize", received_at=NOW, traceparent=None),
    ]


def dumped(value: Any) -> bytes:
    """JSON as a sender writes it, half characters and all."""
    return json.dumps(value).encode()


@lru_cache
def distinct_places() -> list[tuple[int, tuple[Any, ...]]]:
    """The places of all signed bodies, each with its body's number; of places with the same names only the first."""
    first: dict[tuple[Any, ...], tuple[int, tuple[Any, ...]]] = {}
    for number, body in enumerate(SIGNED):
        for path in places(body):
            names = tuple("[]" if isinstance(part, int) else part for part in path)
            inside = body["entry"] if path[0] == "entry" else body
            field = json.dumps([entry.get("field") for entry in inside]) if isinstance(inside, list) else ""
            first.setdefault((field, *names), (number, path))
    return list(first.values())


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
def test_a_webhook_that_is_taken_in_can_be_stored_whatever_stands_at_any_place(value):
    for number, path in distinct_places():
        for event in through_the_signed_door(dumped(changed(SIGNED[number], path, value, key=False))):
            storable(event)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_values_at_any_two_places_of_a_webhook(data):
    number = data.draw(st.integers(0, len(SIGNED) - 1))
    body = SIGNED[number]
    for _ in range(2):
        path = data.draw(st.sampled_from(list(places(body))))
        body = changed(body, path, data.draw(hostile), key=data.draw(st.booleans()))
    for event in through_the_signed_door(dumped(body)):
        storable(event)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
def test_an_external_request_that_is_taken_in_can_be_stored(value):
    for body in MANYCHAT:
        named = {**body, "account_id": SHOP, "subscriber_id": "5", "contact": {"id": "6"}}
        for path in places(named):
            for event in through_manychats_door(dumped(changed(named, path, value, key=False))):
                storable(event)
                assert event.data.account_id.isdigit()
                assert event.data.contact_id is not None
                assert event.data.contact_id.isdigit()
                assert len(event.data.contact_id) <= 32
                if isinstance(event, MessageReceived) and event.data.subscriber_id is not None:
                    assert named_by(event) == int(event.data.subscriber_id)


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
def test_a_signed_request_that_is_taken_in_can_be_stored(value):
    payload = {"algorithm": "HMAC-SHA256", "user_id": "218471", "issued_at": 1_790_000_000}
    for path in places(payload):
        for event in through_the_callbacks_door(dumped(changed(payload, path, value, key=False))):
            storable(event)


def reply_event(action: Any) -> ReplyRequested:
    """The event that the HTTP API makes of an action."""
    data = Reply(
        reply_id="r", merchant_id="m", account_id="1", contact_id="2", origin="api", action=action, received_at_ms=1
    )
    return ReplyRequested(id="r", source="/t", subject="1:2", time=NOW, partitionkey="1:2", data=data)


WHOLE_ACTIONS: list[dict[str, Any]] = [
    {"kind": "direct_message", "text": "hi", "quick_replies": [{"title": "t", "payload": "p"}], "message_tag": "X"},
    {"kind": "media_message", "media": "image", "urls": ["https://a.example/b.png"]},
    {"kind": "heart"},
    {"kind": "shared_post", "media_id": "17"},
    {
        "kind": "cards",
        "cards": [
            {
                "title": "t",
                "subtitle": "s",
                "image_url": "https://a.example/b.png",
                "url": "https://a.example",
                "buttons": [{"title": "b", "url": "https://a.example"}, {"title": "c", "payload": "p"}],
            }
        ],
    },
    {"kind": "buttons", "text": "hi", "buttons": [{"title": "b", "payload": "p"}]},
    {"kind": "flow", "flow_ns": "content1"},
]
BODIES: list[tuple[Any, dict[str, Any]]] = [
    (
        SendRequest,
        {"recipientId": "2", "message": "hi", "messageTag": "X", "accountId": "1", "idempotencyKey": "k"},
    ),
    (ControlBody, {"accountId": "1", "reason": "r"}),
    (ReplyBody, {"text": "hi", "accountId": "1", "takeover": True, "idempotencyKey": "k"}),
    *((ReplyBody, {"action": action, "accountId": "1", "takeover": False}) for action in WHOLE_ACTIONS),
]


def test_the_bodies_name_every_field_of_every_model():
    """So that a new field is tried, too."""
    for model in (SendRequest, ControlBody, ReplyBody):
        named = {name for one, body in BODIES if one is model for name in body}
        assert named == {field.alias or name for name, field in model.model_fields.items()}
    assert {action["kind"] for action in WHOLE_ACTIONS} == {
        get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(InThread)
    }
    for action in WHOLE_ACTIONS:
        whole = reply_event(action).data.action
        assert set(action) == set(type(whole).model_fields), action["kind"]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:24])
def test_a_request_to_the_http_api_that_is_taken_in_can_be_stored(value):
    for model, body in BODIES:
        for path in places(body):
            for key in (False, True):
                taken = read(dumped(changed(body, path, value, key=key)), model, example="{}")
                if isinstance(taken, Response):
                    continue
                bson.encode(taken.model_dump())
                if isinstance(taken, ReplyBody) and not all(breach(taken.said, route) for route in SENDING_ROUTES):
                    storable(reply_event(taken.said))
                    assert max(map(len, texts(taken.model_dump())), default=0) <= MAX_ACCEPTED_TEXT


@settings(deadline=None)
@given(st.integers(min_value=0), st.sampled_from(["id", "subscriber_id", "ig_id", "account_id"]))
@example(10**30, "id")
def test_a_number_beyond_the_store_is_refused_by_its_name_and_any_other_is_kept(number, name):
    event, refusal = of_contact({"ig_id": "5", "last_input_text": "hi", name: number})
    if event is None:
        assert name in refusal
        assert number == 0 or number > 2**63 - 1
    else:
        storable(event)
