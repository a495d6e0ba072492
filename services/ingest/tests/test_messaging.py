"""Each messaging item becomes the event it is: who wrote to whom, what it says, and an id a redelivery repeats."""

from datetime import UTC, datetime, timedelta

import pytest

from common.events import ANY_EVENT
from ingest.notifications import normalise

NOW = datetime(2026, 11, 21, 18, 0, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
SHOP, LEILA = "17841466000000001", "729300000000021"


def event_of(content, *, section="messaging", sender=LEILA, recipient=SHOP, **more):
    item = {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": MS - 5000, **content, **more}
    [event] = normalise({"entry": [{"id": SHOP, "time": MS, section: [item]}]}, received_at=NOW)
    assert ANY_EVENT.validate_json(event.to_json()) == event
    assert event.data.original == item
    return event


def kind(event):
    return event.type.removeprefix("com.jawab.")


def said(**content):
    return event_of({"message": {"mid": "m-7", **content}})


def test_a_text_is_a_message_of_its_sender():
    event = said(text="السلام عليكم")
    assert kind(event) == "message.received.v1"
    assert event.id == f"{SHOP}:msg:m-7"
    assert event.subject == f"{SHOP}:{LEILA}"
    assert event.time == NOW - timedelta(seconds=5)
    assert (event.data.text, event.data.mid, event.data.envelope) == ("السلام عليكم", "m-7", "messaging")
    assert not any((event.data.standby, event.data.is_self, event.data.is_unsupported))


def test_a_quick_reply_may_come_without_text():
    event = said(quick_reply={"payload": "SIZE_M"})
    assert (event.data.quick_reply, event.data.text) == ("SIZE_M", None)


def test_a_story_reply_tells_which_story():
    story = {"id": "178", "url": "https://cdn.example.net/story"}
    assert said(text="روعة", reply_to={"story": story}).data.reply_to.story_id == "178"
    assert said(text="روعة", reply_to={"story": story}).data.reply_to.story_url == story["url"]


def test_a_quoting_reply_tells_which_message():
    assert said(text="هذا", reply_to={"mid": "m-1"}).data.reply_to.mid == "m-1"
    assert said(text="هذا", reply_to={}).data.reply_to is None


def test_an_advertisement_or_a_product_is_the_referral():
    ad = {"ad_id": 120210000000000123, "source": "ADS", "type": "OPEN_THREAD", "ref": "r"}
    told = said(text="hi", referral=ad | {"ads_context_data": {"ad_title": "تخفيضات"}}).data.referral
    assert (told.ad_id, told.source, told.ref, told.ad_title) == ("120210000000000123", "ADS", "r", "تخفيضات")
    assert said(text="hi", referral={"product": {"id": "55"}}).data.referral.product_id == "55"


def test_a_referral_beside_the_message_counts_too():
    event = event_of({"message": {"mid": "m", "text": "hi"}, "referral": {"ref": "winter"}})
    assert (kind(event), event.data.referral.ref) == ("message.received.v1", "winter")


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ({"type": "image", "payload": {"url": "https://a/1"}}, ("image", "https://a/1", None, None)),
        ({"type": "like_heart"}, ("like_heart", None, None, None)),
        ({"type": "ephemeral", "payload": None}, ("ephemeral", None, None, None)),
        (
            {"type": "ig_reel", "payload": {"url": "u", "title": "t", "reel_video_id": 18087782618022081}},
            ("ig_reel", "u", "t", "18087782618022081"),
        ),
        (
            {"type": "ig_story", "payload": {"story_media_id": "5", "story_media_url": "https://s"}},
            ("ig_story", "https://s", None, "5"),
        ),
        (
            {"type": "fallback", "title": "Link", "url": "https://x", "payload": "?"},
            ("fallback", "https://x", "Link", None),
        ),
        ({"type": "hologram", "payload": {"url": "u"}}, ("hologram", "u", None, None)),
        ({"payload": {"url": "u"}}, ("unknown", "u", None, None)),
    ],
)
def test_each_attachment_keeps_its_kind_link_title_and_media(sent, expected):
    [found] = said(attachments=[sent]).data.attachments
    assert (found.type, found.url, found.title, found.media_id) == expected


def test_several_attachments_keep_their_order_and_rubbish_among_them_is_left_out():
    found = said(attachments=[{"type": "image"}, 7, None, {"type": "video"}]).data.attachments
    assert [part.type for part in found] == ["image", "video"]
    assert [part.type for part in said(attachments={"type": "audio"}).data.attachments] == ["audio"]
    assert said(attachments="none").data.attachments == ()


def test_one_post_under_both_its_names_is_one_attachment():
    post = {"ig_post_media_id": "9", "url": "https://p"}
    both = [{"type": "share", "payload": post}, {"type": "ig_post", "payload": post}]
    assert [part.type for part in said(attachments=both).data.attachments] == ["ig_post"]
    assert [part.type for part in said(attachments=both[::-1]).data.attachments] == ["ig_post"]


def test_two_posts_and_a_share_alone_stay():
    first, other = {"ig_post_media_id": "9", "url": "https://p"}, {"ig_post_media_id": "10", "url": "https://q"}
    two = [{"type": "share", "payload": first}, {"type": "ig_post", "payload": other}]
    assert [part.media_id for part in said(attachments=two).data.attachments] == ["9", "10"]
    assert [part.type for part in said(attachments=two[:1]).data.attachments] == ["share"]


@pytest.mark.parametrize(
    ("share", "post", "kept"),
    [
        ({"url": "https://p"}, {"url": "https://p", "ig_post_media_id": "9"}, ["ig_post"]),
        ({"title": "Foulard"}, {"title": "Foulard", "ig_post_media_id": "9"}, ["ig_post"]),
        ({"url": "u", "title": "t", "ig_post_media_id": "8"}, {"title": "t", "ig_post_media_id": "9"}, None),
        ({"url": "https://p"}, {"url": "https://q"}, None),
        ({}, {}, None),
    ],
)
def test_without_both_ids_a_link_or_a_caption_tells_that_it_is_one_post(share, post, kept):
    both = [{"type": "share", "payload": share}, {"type": "ig_post", "payload": post}]
    assert [part.type for part in said(attachments=both).data.attachments] == (kept or ["share", "ig_post"])


def test_unsupported_content_is_a_message_all_the_same():
    assert said(is_unsupported=True).data.is_unsupported


def test_a_message_without_id_is_recognised_by_its_content():
    first, again = event_of({"message": {"text": "hi"}}), event_of({"message": {"text": "hi"}})
    other = event_of({"message": {"text": "ho"}})
    assert first.id == again.id != other.id
    assert first.data.mid == again.data.mid != other.data.mid


def test_a_message_that_says_nothing_and_has_no_id_is_unknown():
    assert kind(event_of({"message": {}})) == "unknown.received.v1"


@pytest.mark.parametrize("echo", [True, "true", 1])
def test_an_echo_belongs_to_the_conversation_of_its_recipient(echo):
    event = event_of(
        {"message": {"mid": "m-7", "text": "أهلاً", "is_echo": echo, "app_id": 1517776481860111, "metadata": "rep_1"}},
        sender=SHOP,
        recipient=LEILA,
    )
    assert kind(event) == "echo.received.v1"
    assert event.id == f"{SHOP}:msg:m-7"
    assert event.subject == f"{SHOP}:{LEILA}"
    assert (event.data.app_id, event.data.metadata, event.data.text) == ("1517776481860111", "rep_1", "أهلاً")


def test_an_echo_whose_parties_were_not_swapped_still_finds_the_customer():
    event = event_of({"message": {"mid": "m", "is_echo": True}})
    assert (kind(event), event.data.contact_id) == ("echo.received.v1", LEILA)


def test_what_the_account_sent_to_nobody_known_is_not_taken_for_a_customers_message():
    """Otherwise the bot would talk to itself."""
    event = event_of({"message": {"mid": "m", "text": "تم"}}, sender=SHOP, recipient=None)
    assert (kind(event), event.data.contact_id) == ("unknown.received.v1", None)


@pytest.mark.parametrize(
    "content",
    [
        {"reaction": {"mid": "m", "action": "react", "emoji": "👍"}},
        {"read": {"mid": "m"}},
        {"read": {"watermark": MS}},
        {"message_edit": {"mid": "m", "text": "t", "num_edit": 1}},
        {"message": {"mid": "m", "is_deleted": True}},
    ],
)
def test_what_the_account_did_is_said_and_belongs_to_the_other_party(content):
    ours, theirs = event_of(content, sender=SHOP, recipient=LEILA), event_of(content)
    assert (ours.data.from_account, ours.data.contact_id) == (True, LEILA)
    assert (theirs.data.from_account, theirs.data.contact_id) == (False, LEILA)


def test_reading_two_conversations_at_once_is_two_events():
    read = {"read": {"watermark": MS - 9000}}
    ids = {event_of(read, sender=SHOP, recipient=person).id for person in (LEILA, "42")}
    assert len(ids) == 2


def test_what_the_account_sent_is_an_echo_even_when_nobody_says_so():
    event = event_of({"message": {"mid": "m", "text": "تم"}}, sender=SHOP, recipient=LEILA)
    assert (kind(event), event.data.contact_id) == ("echo.received.v1", LEILA)


def test_a_message_to_oneself_is_marked():
    assert said(text="note", is_self=True).data.is_self
    own = event_of({"message": {"mid": "m", "text": "note"}}, sender=SHOP, recipient=SHOP)
    assert (kind(own), own.data.is_self) == ("message.received.v1", True)
    echo = event_of({"message": {"mid": "m", "is_echo": True, "is_self": True}}, sender=SHOP, recipient="888")
    assert (kind(echo), echo.data.is_self, echo.data.contact_id) == ("echo.received.v1", True, "888")


def test_self_may_stand_beside_a_postback():
    event = event_of({"postback": {"mid": "m", "payload": "P"}}, is_self=True, sender=SHOP, recipient="888")
    assert (event.data.is_self, event.data.contact_id) == (True, "888")


def test_an_unsend_is_its_own_event_about_the_same_message():
    event = said(is_deleted=True)
    assert (kind(event), event.id, event.data.mid) == ("message.unsent.v1", f"{SHOP}:del:m-7", "m-7")
    assert not event.data.from_account
    own = event_of({"message": {"mid": "m", "is_deleted": True, "is_echo": True}}, sender=SHOP, recipient=LEILA)
    assert (own.data.from_account, own.data.contact_id) == (True, LEILA)


def test_an_edit_counts_and_the_count_may_be_text():
    event = event_of({"message_edit": {"mid": "m-7", "text": "أحمر", "num_edit": "2"}})
    assert (kind(event), event.id) == ("message.edited.v1", f"{SHOP}:edit:m-7:2")
    assert (event.data.text, event.data.num_edit) == ("أحمر", 2)
    assert event_of({"message_edits": {"mid": "m-7", "text": "أحمر", "num_edit": 2.0}}).id == event.id


def test_edits_without_a_usable_count_are_told_apart_by_content():
    ids = {event_of({"message_edit": {"mid": "m", "text": t, "num_edit": "<NUMBER>"}}).id for t in ("a", "b", "b")}
    assert len(ids) == 2


def test_a_postback_is_known_by_its_mid():
    event = event_of({"postback": {"mid": "m-9", "title": "الأسعار", "payload": "PRICES", "referral": {"ref": "ad"}}})
    assert (kind(event), event.id) == ("postback.received.v1", f"{SHOP}:pb:m-9")
    assert (event.data.title, event.data.payload, event.data.referral.ref) == ("الأسعار", "PRICES", "ad")


def test_a_postback_without_mid_is_known_by_who_what_and_when():
    first, again = (event_of({"postback": {"title": "T", "payload": "P"}}) for _ in range(2))
    other = event_of({"postback": {"title": "T", "payload": "Q"}})
    later = event_of({"postback": {"title": "T", "payload": "P"}}, timestamp=MS - 4000)
    assert first.id == again.id
    assert len({first.id, other.id, later.id}) == 3


def test_in_standby_a_postback_has_no_payload_and_the_flag_is_kept():
    event = event_of({"postback": {"mid": "m", "title": "T"}}, section="standby")
    assert (event.data.payload, event.data.standby, event.data.envelope) == (None, True, "standby")


def test_a_reaction_is_known_by_message_person_action_and_time():
    event = event_of({"reaction": {"mid": "m-7", "action": "react", "reaction": "love", "emoji": "❤️"}})
    assert (kind(event), event.id) == ("reaction.received.v1", f"{SHOP}:rx:m-7:{LEILA}:react:{MS - 5000}")
    assert (event.data.reaction, event.data.emoji) == ("love", "❤️")
    gone = event_of({"reaction": {"mid": "m-7", "action": "unreact"}})
    assert (gone.data.action, gone.data.emoji) == ("unreact", None)
    assert gone.id != event.id


def test_reading_is_told_by_message_or_by_moment():
    event = event_of({"read": {"mid": "m-7"}})
    assert (kind(event), event.id) == ("message.read.v1", f"{SHOP}:seen:m-7:{LEILA}")
    until = event_of({"read": {"watermark": MS - 9000, "seq": 3}})
    assert (until.data.mid, until.data.watermark_ms) == (None, MS - 9000)


def test_a_referral_into_a_thread():
    event = event_of({"referral": {"ref": "bio", "source": "IGME", "type": "OPEN_THREAD"}})
    assert kind(event) == "referral.received.v1"
    assert event.id.startswith(f"{SHOP}:referral:{LEILA}:{MS - 5000}:")
    assert event.data.referral.ref == "bio"
    assert event_of({"referral": {}}).data.referral.ref is None


def test_an_opt_in():
    event = event_of({"optin": {"type": "notification_messages", "payload": "WEEKLY"}})
    assert (kind(event), event.data.kind, event.data.payload) == (
        "optin.received.v1",
        "notification_messages",
        "WEEKLY",
    )
    assert event_of({"optin": {"ref": "PASS"}}).data.payload == "PASS"


def test_an_opt_in_tells_what_may_be_sent_with_it_and_until_when():
    told = {
        "type": "notification_messages",
        "notification_messages_token": "tok-" + "x" * 600,
        "notification_messages_frequency": "DAILY",
        "user_token_status": "REFRESHED",
        "topic": "عروض",
    }
    for expiry in (MS // 1000 + 60, MS + 60_000, str(MS + 60_000)):
        data = event_of({"optin": told | {"token_expiry_timestamp": expiry}}).data
        assert data.expires_at_ms == MS + 60_000
    assert (data.token, data.title, data.frequency) == ("tok-" + "x" * 600, "عروض", "DAILY")
    assert (data.token_status, data.stopped) == ("REFRESHED", False)
    assert "tok-" not in repr(data)


@pytest.mark.parametrize(
    ("status", "stopped"),
    [("STOP NOTIFICATIONS", True), ("stop_notifications", True), ("RESUME NOTIFICATIONS", False), (None, False)],
)
def test_who_stops_the_notifications_is_heard(status, stopped):
    assert event_of({"optin": {"notification_messages_status": status}}).data.stopped is stopped


def test_two_opt_ins_of_one_moment_are_two():
    """A person who ticks two topics at once: the platform's seconds do not tell them apart."""
    ids = {event_of({"optin": {"title": title}}).id for title in ("a", "b", "b")}
    assert len(ids) == 2


def test_a_delivery_receipt_names_messages_and_a_moment():
    event = event_of({"delivery": {"mids": ["a", 5, None], "watermark": MS - 9000, "seq": 1}}, timestamp=None)
    assert (kind(event), event.data.mids, event.data.watermark_ms) == ("receipt.received.v1", ("a", "5"), MS - 9000)
    assert event.id != event_of({"delivery": {"mids": ["b"], "watermark": MS - 9000}}).id


@pytest.mark.parametrize("name", ["policy-enforcement", "policy_enforcement"])
def test_a_restriction_by_the_platform_is_about_the_account(name):
    event = event_of({name: {"action": "block", "reason": "spam"}}, sender=None)
    assert (kind(event), event.data.contact_id) == ("policy.enforced.v1", None)
    assert (event.data.action, event.data.reason) == ("block", "spam")


def test_ids_with_colons_cannot_be_mistaken_for_one_another():
    first = event_of({"read": {"mid": "m:1"}}, sender="2")
    other = event_of({"read": {"mid": "m"}}, sender="1:2")
    assert first.id != other.id


@pytest.mark.parametrize(
    ("key", "content", "app", "previous"),
    [
        ("pass_thread_control", {"new_owner_app_id": "1", "previous_owner_app_id": 2, "metadata": "m"}, "1", "2"),
        ("take_thread_control", {"previous_owner_app_id": "2", "new_owner_app_id": 1, "metadata": "m"}, "1", "2"),
        ("request_thread_control", {"requested_owner_app_id": 123456789, "metadata": "m"}, "123456789", None),
        ("app_roles", {"123456789": ["primary_receiver"]}, None, None),
        ("request_thread_control", {"requested_owner_app_id": "9", "new_owner_app_id": None}, "9", None),
    ],
)
def test_control_moves_between_apps(key, content, app, previous):
    event = event_of({key: content})
    assert (kind(event), event.data.kind) == ("handover.received.v1", key)
    assert (event.data.app_id, event.data.previous_app_id) == (app, previous)


def test_app_roles_have_no_sender():
    event = event_of({"app_roles": {"1": ["primary_receiver"], "2": "x", "3": [4]}}, sender=None)
    assert event.data.roles == {"1": ("primary_receiver",), "2": ("x",), "3": ()}
    assert (kind(event), event.data.contact_id) == ("handover.received.v1", None)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"hologram": {"id": 1}}, "hologram"),
        ({"delivery": {"seq": 3}}, "delivery"),
        ({"policy-enforcement": {}}, "policy-enforcement"),
        ({}, None),
        ({"message": "text"}, "message"),
        ({"message": None, "b": 1}, "b,message"),
        ({"reaction": {"action": "react"}}, "reaction"),
        ({"read": {}}, "read"),
        ({"message_edit": {"text": "x"}}, "message_edit"),
        ({"message": {"is_deleted": True}}, "message"),
    ],
)
def test_what_is_not_understood_is_kept_in_its_conversation(content, field):
    event = event_of(content)
    assert (kind(event), event.data.field) == ("unknown.received.v1", field)
    assert event.data.contact_id == LEILA


@pytest.mark.parametrize(
    "content",
    [
        {"message": {"mid": "m", "text": "x"}},
        {"postback": {"mid": "m"}},
        {"reaction": {"mid": "m"}},
        {"read": {"mid": "m"}},
        {"referral": {"ref": "r"}},
    ],
)
@pytest.mark.parametrize("sender", [None, "", " ", 1.5, True, [], "x" * 513])
def test_an_item_of_nobody_is_kept_as_unknown(content, sender):
    event = event_of(content, sender=sender)
    assert (kind(event), event.data.contact_id) == ("unknown.received.v1", None)


def test_a_recipient_that_is_not_the_entrys_account_changes_nothing():
    event = event_of({"message": {"mid": "m", "text": "x"}}, recipient="99")
    assert (event.data.account_id, event.data.contact_id) == (SHOP, LEILA)


@pytest.mark.parametrize(
    ("item", "account", "contact"),
    [
        ({"sender": {"id": "5"}, "recipient": {"id": "6"}, "message": {"mid": "m"}}, "6", "5"),
        ({"sender": {"id": "5"}, "recipient": {"id": "6"}, "message": {"mid": "m", "is_echo": True}}, "5", "6"),
        ({"sender": "5", "message": {"mid": "m"}}, "0", "5"),
    ],
)
def test_an_entry_without_id_leaves_the_account_to_the_item(item, account, contact):
    [event] = normalise({"entry": [{"messaging": [item]}]}, received_at=NOW)
    assert (event.data.account_id, event.data.contact_id) == (account, contact)


def test_seventeen_digit_numbers_are_ids_to_the_last_digit():
    event = event_of({"message": {"mid": 12345678901234567, "text": "x"}}, sender=98765432109876543)
    assert (event.data.mid, event.data.contact_id) == ("12345678901234567", "98765432109876543")


@pytest.mark.parametrize("stamp", [MS - 5000, str(MS - 5000), (MS - 5000) // 1000, str((MS - 5000) // 1000)])
def test_the_items_time_is_read_in_any_unit(stamp):
    assert event_of({"message": {"mid": "m"}}, timestamp=stamp).time == NOW - timedelta(seconds=5)


def test_a_missing_time_is_the_entrys_and_one_that_cannot_be_meant_is_the_arrivals():
    assert event_of({"message": {"mid": "m"}}, timestamp=None).time == NOW
    assert event_of({"message": {"mid": "m"}}, timestamp=MS + 4_000_000).time == NOW


@pytest.mark.parametrize("behind", [5, 60, 120])
def test_a_clock_of_ours_that_is_behind_moves_no_time_of_the_platforms(behind):
    """Delivery knows its own messages by the platform's times: moved, they looked like an agent's."""
    echo = {"message": {"mid": "m", "is_echo": True, "text": "Hello"}}
    assert event_of(echo, timestamp=MS + behind * 1000).time == NOW + timedelta(seconds=behind)
    entry = {"id": SHOP, "time": MS // 1000 - 30, "messaging": [{"sender": "5", "message": {"mid": "m"}}]}
    [event] = normalise({"entry": [entry]}, received_at=NOW)
    assert event.time == NOW - timedelta(seconds=30)


@pytest.mark.parametrize("number", [0, "0", 0.0, -1])
def test_version_0_of_a_message_is_the_message(number):
    event = event_of({"message_edit": {"mid": "m-7", "text": "بكم؟", "num_edit": number}})
    assert (kind(event), event.id) == ("message.received.v1", f"{SHOP}:msg:m-7")
    assert (event.data.text, event.data.known_from) == ("بكم؟", "edit")
    own = event_of({"message_edit": {"mid": "m-7", "text": "تم", "num_edit": number}}, sender=SHOP, recipient=LEILA)
    assert (kind(own), own.id, own.data.contact_id) == ("echo.received.v1", f"{SHOP}:msg:m-7", LEILA)


@pytest.mark.parametrize("words", [{}, {"text": None}, {"text": ""}, {"text": " \n"}, {"text": []}])
@pytest.mark.parametrize("count", [{"num_edit": 0}, {"num_edit": "0"}, {}, {"num_edit": None}, {"num_edit": -3}])
def test_an_edit_without_words_announces_its_message(words, count):
    event = event_of({"message_edit": {"mid": "m-7", **words, **count}})
    assert (kind(event), event.data.mid, event.data.num_edit) == ("message.edited.v1", "m-7", 0)
    assert not (event.data.text or "").strip()


@pytest.mark.parametrize("empty", [{}, {"mid": None}, {"mid": None, "text": None}])
def test_an_empty_message_does_not_hide_what_stands_beside_it(empty):
    edit = event_of({"message": empty, "message_edit": {"mid": "m-7", "text": "بكم؟", "num_edit": 0}})
    assert (kind(edit), edit.data.text) == ("message.received.v1", "بكم؟")
    postback = event_of({"message": empty, "postback": {"mid": "m-8", "title": "Prices", "payload": "PRICES"}})
    assert (kind(postback), postback.data.title) == ("postback.received.v1", "Prices")
    assert kind(event_of({"message": empty, "postback": {}})) == "unknown.received.v1"


def test_an_edit_of_no_message_is_unknown_and_names_its_customer():
    event = event_of({"message_edit": {"num_edit": 0}})
    assert (kind(event), event.data.field, event.data.contact_id) == ("unknown.received.v1", "message_edit", LEILA)
    own = event_of({"message_edit": {"num_edit": 0}}, sender=SHOP, recipient=LEILA)
    assert own.data.from_account
