"""Changes become comments, mentions, figures; messaging items wrapped in one are what they are inside."""

from datetime import UTC, datetime, timedelta

import pytest

from common.events import ANY_EVENT
from ingest.notifications import normalise

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
SHOP, AMINA = "17841466000000001", "729300000000031"


def events_of(field, value, *, flat=False):
    change = {"field": field, "value": value}
    entry = {"id": SHOP, "time": SECONDS - 3}
    entry |= change if flat else {"changes": [change]}
    events = normalise({"object": "instagram", "entry": [entry]}, received_at=NOW)
    assert [ANY_EVENT.validate_json(event.to_json()) for event in events] == events
    return events


def event_of(field, value, **how):
    [event] = events_of(field, value, **how)
    return event


def kind(event):
    return event.type.removeprefix("com.jawab.")


COMMENT = {
    "id": "18050000000000077",
    "from": {"id": AMINA, "username": "amina.kh"},
    "media": {"id": "17970000000000005", "media_product_type": "FEED"},
    "text": "شگد السعر؟",
}


def test_a_comment_tells_who_where_and_what():
    event = event_of("comments", COMMENT | {"parent_id": "180"})
    assert (kind(event), event.id) == ("comment.received.v1", f"{SHOP}:cm:18050000000000077")
    assert event.subject == f"{SHOP}:{AMINA}"
    assert event.time == NOW - timedelta(seconds=3)
    data = event.data
    assert (data.comment_id, data.text, data.username) == ("18050000000000077", "شگد السعر؟", "amina.kh")
    assert (data.media_id, data.media_product_type, data.parent_id) == ("17970000000000005", "FEED", "180")
    assert (data.envelope, data.from_account) == ("changes", False)
    assert data.original == {"field": "comments", "value": COMMENT | {"parent_id": "180"}}


def test_the_documented_name_of_the_id_works_as_well():
    value = {name: part for name, part in COMMENT.items() if name != "id"} | {"comment_id": 18050000000000078}
    assert event_of("comments", value).data.comment_id == "18050000000000078"


def test_a_comment_under_an_advertisement_names_it():
    media = {"id": "1", "media_product_type": "AD", "ad_id": 120210000000000123, "original_media_id": "2"}
    assert event_of("comments", COMMENT | {"media": media}).data.ad_id == "120210000000000123"


@pytest.mark.parametrize("author", [{"id": SHOP}, {"id": int(SHOP)}, {"id": "9", "self_ig_scoped_id": "9"}])
def test_the_accounts_own_comment_is_marked_and_belongs_to_nobody(author):
    event = event_of("comments", COMMENT | {"from": author})
    assert (event.data.from_account, event.data.contact_id) == (True, None)


def test_a_comment_without_author_is_a_comment():
    """The dashboard's test sends no more than an id and a text."""
    event = event_of("comments", {"id": "1", "text": "example"})
    assert (kind(event), event.data.contact_id, event.data.from_account) == ("comment.received.v1", None, False)


def test_a_live_comment_is_its_own_kind():
    assert kind(event_of("live_comments", COMMENT)) == "livecomment.received.v1"


def test_the_flat_form_is_the_same_comment():
    flat, listed = event_of("comments", COMMENT, flat=True), event_of("comments", COMMENT)
    assert (flat.id, flat.data.text, flat.data.envelope) == (listed.id, listed.data.text, "flat")


def test_one_change_without_any_entry_is_read():
    [event] = normalise({"field": "live_comments", "value": COMMENT}, received_at=NOW)
    assert (kind(event), event.data.account_id) == ("livecomment.received.v1", "0")


def test_mentions_in_a_caption_and_in_a_comment_differ():
    caption = event_of("mentions", {"media_id": "17"})
    comment = event_of("mentions", {"media_id": "17", "comment_id": "18"})
    assert (kind(caption), caption.id) == ("mention.received.v1", f"{SHOP}:mn:17:")
    assert (comment.id, comment.data.comment_id) == (f"{SHOP}:mn:17:18", "18")


def test_story_figures_are_numbers_and_hidden_ones_are_minus_one():
    event = event_of("story_insights", {"media_id": "17", "reach": 44, "replies": -1, "exits": "3", "x": [1]})
    assert (kind(event), event.id) == ("storyinsights.received.v1", f"{SHOP}:si:17")
    assert event.data.figures == {"reach": 44, "replies": -1, "exits": 3}


@pytest.mark.parametrize(("verb", "age"), [("add", 60), ("edited", 3), ("remove", 3), ("hide", 3)])
def test_a_page_feed_change_tells_what_was_done_and_when(verb, age):
    """`created_time` is the comment's own: whatever is done to it later happens when the entry is sent."""
    value = {"item": "comment", "verb": verb, "comment_id": "1_2", "post_id": "3_1", "from": {"id": AMINA}}
    event = event_of("feed", value | {"message": "حلو", "created_time": SECONDS - 60})
    assert (kind(event), event.data.item, event.data.verb) == ("feed.changed.v1", "comment", verb)
    assert (event.data.comment_id, event.data.text, event.data.contact_id) == ("1_2", "حلو", AMINA)
    assert event.time == NOW - timedelta(seconds=age)
    own = event_of("feed", value | {"from": {"id": SHOP}}).data
    assert (own.contact_id, own.from_account) == (None, True)


@pytest.mark.parametrize(
    ("written", "verb"), [("edit", "edited"), ("EDITED", "edited"), ("delete", "remove"), ("Follow", "follow")]
)
def test_the_feeds_verbs_are_spelled_in_one_way(written, verb):
    assert event_of("feed", {"item": "comment", "verb": written}).data.verb == verb


def test_hiding_a_comment_again_is_not_the_first_hiding():
    value = {"item": "comment", "verb": "hide", "comment_id": "1_2", "created_time": SECONDS - 600}
    bodies = [
        {"entry": [{"id": SHOP, "time": SECONDS - age, "changes": [{"field": "feed", "value": value}]}]}
        for age in (90, 90, 30)
    ]
    first, again, later = (normalise(body, received_at=NOW)[0].id for body in bodies)
    assert first == again != later


def test_the_older_feeds_names_of_the_person_are_read():
    data = event_of("feed", {"item": "like", "verb": "add", "sender_id": int(AMINA), "sender_name": "Amina"}).data
    assert (data.contact_id, data.username) == (AMINA, "Amina")


@pytest.mark.parametrize(
    ("text", "mentioned"),
    [
        ("@boutique.nour شگد؟", ("boutique.nour",)),
        ("look @A_b and @a_B, (@c.d.) @e", ("a_b", "c.d", "e")),
        ("mail me at amina@example.org or @@ or @ x", ()),
        ("@" + "x" * 31, ()),
        (None, ()),
    ],
)
def test_who_is_mentioned_in_a_comment(text, mentioned):
    """With Instagram Login a mention comes as a comment: its text is all that tells."""
    assert event_of("comments", COMMENT | {"text": text}).data.mentioned == mentioned


def test_a_mention_may_say_what_was_written_and_by_whom():
    value = {"media": {"id": "17", "media_product_type": "FEED"}, "comment_id": "18", "text": "@shop"}
    data = event_of("mentions", value | {"from": {"id": AMINA, "username": "amina.kh"}}).data
    assert (data.media_id, data.media_product_type, data.text) == ("17", "FEED", "@shop")
    assert (data.contact_id, data.username, data.from_account) == (AMINA, "amina.kh", False)
    assert event_of("mentions", value | {"from": {"id": SHOP}}).data.from_account


@pytest.mark.parametrize("change", [{"verb": "granted"}, {"value": {"verb": "GRANTED", "target_ids": [7, None]}}])
def test_a_permission_that_was_given_tells_which_and_by_whom(change):
    def given(seconds):
        entry = {"id": "0", "uid": 5, "time": seconds, "changes": [{"field": "connected", **change}]}
        return normalise({"object": "permissions", "entry": [entry]}, received_at=NOW)[0]

    event = given(SECONDS - 9)
    assert (kind(event), event.data.permission, event.data.verb) == ("permission.changed.v1", "connected", "granted")
    assert (event.data.user_id, event.data.targets) == ("5", ("7",) if "value" in change else ())
    assert event.id == given(SECONDS - 9).id != given(SECONDS - 3).id


def test_a_messaging_item_without_any_event_keeps_its_person():
    event = event_of("messages", {"sender": {"id": AMINA}, "recipient": {"id": SHOP}, "timestamp": SECONDS})
    assert (kind(event), event.data.field, event.data.contact_id) == ("unknown.received.v1", "messages", AMINA)


@pytest.mark.parametrize(
    ("field", "content", "expected"),
    [
        ("messages", {"message": {"mid": "m", "text": "hi"}}, "message.received.v1"),
        ("message_echoes", {"message": {"mid": "m", "is_echo": True}}, "echo.received.v1"),
        ("messaging_postbacks", {"postback": {"mid": "m", "payload": "P"}}, "postback.received.v1"),
        ("messaging_seen", {"read": {"mid": "m"}}, "message.read.v1"),
        ("message_reactions", {"reaction": {"mid": "m", "action": "react"}}, "reaction.received.v1"),
        ("message_edit", {"message_edit": {"mid": "m", "text": "t", "num_edit": 1}}, "message.edited.v1"),
        ("messaging_referral", {"referral": {"ref": "r"}}, "referral.received.v1"),
        ("messaging_handover", {"pass_thread_control": {"new_owner_app_id": "1"}}, "handover.received.v1"),
        ("a name that does not exist yet", {"message": {"mid": "m", "text": "hi"}}, "message.received.v1"),
    ],
)
def test_a_messaging_item_in_a_change_is_what_it_holds(field, content, expected):
    item = {"sender": {"id": AMINA}, "recipient": {"id": SHOP}, "timestamp": str(SECONDS - 9), **content}
    event = event_of(field, item)
    assert (kind(event), event.data.contact_id, event.data.envelope) == (expected, AMINA, "changes")
    assert event.time == NOW - timedelta(seconds=9)


PARTIES = {"sender": {"id": AMINA}, "recipient": {"id": SHOP}}


@pytest.mark.parametrize(
    "item",
    [
        PARTIES | {"message": {"text": "no id, no time"}},
        PARTIES | {"message_edit": {"mid": "m.7", "text": "without a count"}},
        PARTIES | {"postback": {"payload": "PRICES"}},
        PARTIES | {"reaction": {"mid": "m.7", "action": "react"}},
        PARTIES | {"referral": {"ref": "bio"}},
    ],
)
def test_a_messaging_item_has_the_same_id_inside_a_change_also_where_its_content_makes_the_id(item):
    body = {"entry": [{"id": SHOP, "messaging": [item], "standby": [item]}]}
    assert {event.id for event in normalise(body, received_at=NOW)} == {event_of("messages", item).id}


@pytest.mark.parametrize("name", ["messages", "comments", "mentions"])
def test_a_messaging_item_is_read_whatever_lists_stand_beside_what_happened(name):
    value = PARTIES | {"timestamp": SECONDS, "message": {"mid": "m.8", "text": "hello"}, name: [{"id": "9"}]}
    event = event_of("messages", value)
    assert (kind(event), event.data.text) == ("message.received.v1", "hello")


def test_a_standby_change_keeps_the_flag():
    item = {"sender": {"id": AMINA}, "recipient": {"id": SHOP}, "message": {"mid": "m", "text": "hi"}}
    assert event_of("standby", item).data.standby


def test_the_guides_messages_are_messages():
    listed = [
        {"id": "msg_1", "from": {"id": "user_1"}, "timestamp": str(SECONDS - 5), "text": "Bonjour, le prix ?"},
        {"id": "msg_2", "from": {"id": "user_2"}, "timestamp": SECONDS - 4, "text": "Salut"},
    ]
    first, second = events_of("messages", {"messages": listed})
    assert kind(first) == kind(second) == "message.received.v1"
    assert (first.id, first.data.text, first.data.contact_id) == (f"{SHOP}:msg:msg_1", "Bonjour, le prix ?", "user_1")
    assert (first.data.envelope, first.data.original) == ("lists", listed[0])
    assert first.time == NOW - timedelta(seconds=5)
    assert second.data.contact_id == "user_2"


def test_the_guides_comments_are_comments():
    listed = [{"id": "c_1", "from": {"id": "u"}, "media": {"id": "p"}, "text": "Génial", "timestamp": str(SECONDS - 5)}]
    event = event_of("comments", {"comments": listed})
    assert (kind(event), event.data.comment_id, event.data.media_id) == ("comment.received.v1", "c_1", "p")
    assert (event.data.envelope, event.time) == ("lists", NOW - timedelta(seconds=5))


def test_the_guides_mentions_are_mentions():
    first, second = events_of("mentions", {"mentions": [{"id": n, "from": {"id": "u"}, "media_id": "p"} for n in "ab"]})
    assert kind(first) == kind(second) == "mention.received.v1"
    assert (first.data.media_id, first.data.contact_id) == ("p", "u")
    assert first.id != second.id


@pytest.mark.parametrize(
    "beside",
    [
        {"mentions": [{"id": "9", "username": "noor"}]},
        {"comments": [{"id": "c_2", "text": "answer"}]},
        {"messages": [{"id": "m"}]},
        {"message": {"text": "x"}},
        {"reaction": {"like": 1}},
    ],
)
def test_a_comment_is_a_comment_whatever_else_it_holds(beside):
    event = event_of("comments", {"id": "c_1", "from": {"id": "u"}, "text": "Génial", **beside})
    assert (kind(event), event.id, event.data.contact_id) == ("comment.received.v1", f"{SHOP}:cm:c_1", "u")


def test_a_comment_marked_as_the_accounts_own_is_its_own_also_without_an_authors_id():
    event = event_of("comments", {"id": "c_1", "from": {"username": "shop", "self_ig_scoped_id": "9"}, "text": "Merci"})
    assert (event.data.from_account, event.data.contact_id) == (True, None)


def test_a_guides_message_given_without_its_list_is_read():
    event = event_of("messages", {"id": "msg_1", "from": {"id": "user_1"}, "text": "Bonjour"})
    assert (kind(event), event.data.mid, event.data.text) == ("message.received.v1", "msg_1", "Bonjour")


def test_a_guides_message_of_the_account_is_an_echo():
    value = {"id": "m", "from": {"id": SHOP}, "to": {"id": AMINA}, "text": "Bonjour"}
    assert (kind(event_of("messages", value)), event_of("messages", value).data.contact_id) == (
        "echo.received.v1",
        AMINA,
    )


def test_a_list_whose_elements_are_messaging_items_is_read():
    item = {"sender": {"id": AMINA}, "recipient": {"id": SHOP}, "message": {"mid": "m", "text": "hi"}}
    assert kind(event_of("messages", {"messages": [item]})) == "message.received.v1"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("hologram", {"x": 1}, "hologram"),
        ("comments", {"text": "no id"}, "comments"),
        ("comments", None, "comments"),
        ("comments", [COMMENT], "comments"),
        ("mentions", {}, "mentions"),
        ("story_insights", {"reach": 5}, "story_insights"),
        ("feed", {"x": 1}, "feed"),
        ("messages", {"text": "of nobody"}, "messages"),
        ("messages", {"from": {"id": "5"}}, "messages"),
        ("messages", {"messages": []}, "messages"),
        ("messages", {"messages": [3]}, "messages"),
        (None, {"x": 1}, None),
        (["a"], {"x": 1}, None),
        (7, {"x": 1}, "7"),
    ],
)
def test_what_is_not_understood_is_kept_with_its_field(field, value, named):
    event = event_of(field, value)
    assert (kind(event), event.data.field) == ("unknown.received.v1", named)


def test_a_very_long_field_name_is_cut():
    assert len(event_of("x" * 5000, {}).data.field) == 200


def test_who_is_known_by_username_alone_is_one_contact_that_no_id_looks_like():
    def contact(**value):
        event = event_of("comments", {"id": "c1", "text": "price?", **value})
        return event.data.contact_id

    leila = contact(**{"from": {"username": "Leila.K"}})
    assert leila.startswith("un_")
    assert {contact(username="leila.k"), contact(**{"from": {"username": " @leila.k"}})} == {leila}
    assert contact(**{"from": {"username": "12345"}}) != "12345"
    assert contact(**{"from": {"username": "other"}}) != leila
    assert contact(**{"from": {"id": "55", "username": "leila.k"}}) == "55"
    assert contact(**{"from": {"self_ig_scoped_id": "9", "username": "shop"}}) is None
    assert contact() is contact(username=" ") is contact(username="@") is None
