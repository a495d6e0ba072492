"""Whatever JSON object comes, each of its items becomes one event, and never an error."""

import copy
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.events import ANY_EVENT
from ingest.notifications import MAX_ITEMS, normalise

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
SHOP = "17841466000000001"


def read(body):
    return normalise(body, received_at=NOW, traceparent=None)


def types(events):
    return [event.type.removeprefix("com.jawab.").removesuffix(".v1") for event in events]


def text(mid, sender="5"):
    return {"sender": {"id": sender}, "recipient": {"id": SHOP}, "timestamp": MS, "message": {"mid": mid, "text": mid}}


COMMENT = {"field": "comments", "value": {"id": "c-1", "from": {"id": "6"}, "text": "super"}}

VALID = {
    "object": "instagram",
    "entry": [
        {"id": SHOP, "time": MS, "messaging": [text("m-1"), text("m-2", "7")], "standby": [text("m-3")]},
        {"id": "0", "time": MS // 1000, "changes": [COMMENT, {"field": "mentions", "value": {"media_id": "9"}}]},
        {"id": SHOP, "time": MS // 1000, **COMMENT},
        {
            "id": SHOP,
            "changes": [
                {"field": "messages", "value": {"messages": [{"id": "g", "from": {"id": "8"}, "text": "Bonjour"}]}},
                {"field": "story_insights", "value": {"media_id": "9", "reach": 5}},
                {"field": "feed", "value": {"item": "comment", "verb": "add"}},
            ],
        },
        {
            "id": SHOP,
            "messaging": [
                {"sender": {"id": "5"}, "recipient": {"id": SHOP}, "timestamp": MS, key: content}
                for key, content in {
                    "postback": {"title": "t", "payload": "p"},
                    "reaction": {"mid": "m", "action": "react", "emoji": "❤"},
                    "read": {"watermark": MS},
                    "message_edit": {"mid": "m", "text": "t", "num_edit": "1"},
                    "referral": {"ref": "r", "ads_context_data": {"ad_title": "a"}},
                    "optin": {"type": "notification_messages"},
                    "take_thread_control": {"new_owner_app_id": 1},
                    "app_roles": {"1": ["x"]},
                    "message": {
                        "mid": "m-9",
                        "attachments": [{"type": "share", "payload": {"url": "u"}}],
                        "reply_to": {"story": {"id": "s"}},
                        "quick_reply": {"payload": "q"},
                        "is_echo": False,
                    },
                }.items()
            ],
        },
    ],
}


def test_every_item_of_every_entry_is_read_in_order():
    assert types(read(VALID)) == [
        "message.received",
        "message.received",
        "message.received",
        "comment.received",
        "mention.received",
        "comment.received",
        "message.received",
        "storyinsights.received",
        "feed.changed",
        "postback.received",
        "reaction.received",
        "message.read",
        "message.edited",
        "referral.received",
        "optin.received",
        "handover.received",
        "handover.received",
        "message.received",
    ]


@pytest.mark.parametrize("name", ["instagram", "page", "hologram", None, 7])
def test_the_objects_name_does_not_matter(name):
    assert types(read({"object": name, "entry": VALID["entry"][:2]})) == types(read({"entry": VALID["entry"][:2]}))


def test_one_entry_may_hold_items_of_every_shape():
    entry = {"id": SHOP, "messaging": [text("a")], "standby": [text("b")], "changes": [COMMENT], **COMMENT}
    events = read({"entry": [entry]})
    assert [event.data.envelope for event in events] == ["messaging", "standby", "changes", "flat"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"object": "instagram"},
        {"entry": []},
        {"entry": None},
        {"entry": "x"},
        {"entry": 3},
        {"entry": [7]},
        {"entry": [{}]},
        {"entry": [{"id": "5"}]},
        {"entry": [{"messaging": []}]},
        {"entry": [{"messaging": None, "changes": []}]},
        {"entry": {}},
    ],
)
def test_a_body_or_entry_without_items_is_kept_as_one_unknown(body):
    assert types(read(body)) == ["unknown.received"]


def test_a_single_item_where_a_list_belongs_is_read():
    entry = {"id": SHOP, "messaging": text("m"), "changes": COMMENT}
    assert types(read({"entry": entry})) == ["message.received", "comment.received"]


@pytest.mark.parametrize("rubbish", [7, "x", True, [], [[1]]])
def test_rubbish_among_items_is_kept_beside_them(rubbish):
    entry = {"id": SHOP, "messaging": [text("a"), rubbish, text("b")], "changes": [rubbish]}
    assert types(read({"entry": [entry]})) == [
        "message.received",
        "unknown.received",
        "message.received",
        "unknown.received",
    ]


def test_a_redelivery_has_the_same_ids_however_it_is_batched():
    first = [event.id for event in read(VALID)]
    later = normalise(VALID, received_at=NOW.replace(hour=23), traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    apart = [event.id for entry in VALID["entry"] for event in read({"entry": [entry]})]
    assert [event.id for event in later] == first == apart


@pytest.mark.parametrize(
    ("entry", "recipient", "account"),
    [
        ("102938475610293", SHOP, SHOP),  # the linked Page
        (102938475610293, SHOP, SHOP),
        (SHOP, SHOP, SHOP),
        (SHOP, "9001", SHOP),  # an account's second id: the entry is written like an account, the item's is not
        ("0", SHOP, "0"),  # the dashboard's test
        (None, SHOP, SHOP),
        ("102938475610293", None, "102938475610293"),
        ("5", SHOP, "5"),  # the entry's is a party: the account wrote
    ],
)
def test_the_account_in_the_item_wins_where_the_entry_names_neither_party(entry, recipient, account):
    """Such messages were dropped: nobody knew the account."""
    [event] = read({"entry": [{"id": entry, "messaging": [text("m") | {"recipient": {"id": recipient}}]}]})
    assert event.data.account_id == account
    assert event.id.startswith(f"{account}:")
    assert event.data.entry_id == (str(entry) if entry is not None and str(entry) != account else None)


def test_with_the_page_as_entry_every_kind_of_item_in_a_thread_is_what_it_is_with_the_account():
    def entries(id_):
        items = [
            text("m"),
            {**text("e"), "sender": {"id": SHOP}, "recipient": {"id": "5"}, "message": {"mid": "e", "is_echo": True}},
            {**text("r"), "message": None, "reaction": {"mid": "m", "action": "react", "emoji": "❤"}},
            {**text("s"), "message": None, "read": {"mid": "m"}},
            {**text("p"), "message": None, "postback": {"mid": "p", "payload": "X"}},
            {**text("d"), "message": None, "message_edit": {"mid": "m", "num_edit": 1, "text": "n"}},
            {**text("u"), "message": None, "hologram": {"a": 1}},
        ]
        wrapped = [{"field": "messages", "value": item} for item in items]
        return {"entry": [{"id": id_, "time": MS, "messaging": items, "standby": items, "changes": wrapped}]}

    def told(events):
        return [(event.id, event.type, event.subject, event.data.contact_id) for event in events]

    assert told(read(entries("102938475610293"))) == told(read(entries(SHOP)))


def test_ids_begin_with_the_account_because_a_mid_may_not_be_unique_across_accounts():
    bodies = [
        {"entry": [{"id": account, "messaging": [text("m") | {"recipient": {"id": account}}]}]}
        for account in ("1", "2")
    ]
    assert [read(body)[0].id for body in bodies] == ["1:msg:m", "2:msg:m"]


def test_a_thousand_updates_are_taken_apart_and_countless_ones_kept_whole():
    assert len(read({"entry": [{"id": SHOP, "messaging": [text(str(n)) for n in range(1000)]}]})) == 1000
    assert len(read({"entry": [[]] * MAX_ITEMS})) == MAX_ITEMS
    assert types(read({"entry": [[]] * (MAX_ITEMS + 1)})) == ["unknown.received"]


# Properties: no JSON object raises, loses an item, or makes an event that cannot be written and read again.

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.sampled_from(["", "0", SHOP, MS, str(MS), MS // 1000, -1, 1e300, 10**30, True, "true", "١٢"])
)
NAMES = re.findall(
    r"\w+",
    """
    entry id time object messaging standby changes field value sender recipient timestamp message mid text is_echo
    is_self is_deleted is_unsupported attachments type payload url title reply_to story quick_reply referral product
    postback ads_context_data reaction action read watermark message_edit num_edit optin pass_thread_control app_roles
    comments new_owner_app_id live_comments mentions messages story_insights feed from media media_id comment_id verb
    item to self_ig_scoped_id created_time
    """,
)
keys = st.sampled_from(NAMES) | st.text(max_size=6)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6), max_leaves=12
)
objects = st.dictionaries(keys, values, max_size=6)


def check(body):
    before = copy.deepcopy(body)
    events = read(body)
    assert body == before
    assert events
    assert events == read(body)
    for event in events:
        again = ANY_EVENT.validate_json(event.to_json())
        assert (again.id, again.type, again.subject) == (event.id, event.type, event.subject)
        assert event.subject == event.partitionkey == event.data.conversation_id
        assert event.id.startswith(f"{event.data.account_id}:")
        assert event.time <= NOW
        assert len(event.id) < 2000
    return events


@settings(deadline=None)
@given(objects)
def test_any_json_object_becomes_events(body):
    check(body)


@settings(max_examples=50, deadline=None)
@given(st.lists(objects, max_size=2), st.lists(objects, max_size=2), st.lists(objects, max_size=2))
def test_any_items_become_one_event_each(messaging, standby, changes):
    events = check({"entry": [{"id": "1", "messaging": messaging, "standby": standby, "changes": changes}]})
    listed = sum(
        sum(len(value[name]) for name in ("messages", "comments", "mentions") if isinstance(value.get(name), list)) or 1
        for change in changes
        for value in [change.get("value") if isinstance(change.get("value"), dict) else {}]
    )
    assert len(events) == max(len(messaging) + len(standby) + listed, 1)


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


PLACES = [path for path in places(VALID) if path]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), values), min_size=1, max_size=4))
def test_a_valid_body_with_anything_in_any_place_becomes_events(mutations):
    body = copy.deepcopy(VALID)
    for path, replacement in mutations:
        part = body
        for key in path[:-1]:
            inside = isinstance(part, dict) or (isinstance(part, list) and isinstance(key, int) and key < len(part))
            if not inside or (isinstance(part, dict) and key not in part):
                break
            part = part[key]
        else:
            last = path[-1]
            if isinstance(part, dict) or (isinstance(part, list) and isinstance(last, int) and last < len(part)):
                part[last] = replacement
    check(json.loads(json.dumps(body)))
