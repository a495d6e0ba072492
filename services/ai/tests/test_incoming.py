"""From an event to what a customer said, and from a decision to what is sent."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.actions import answering, events, filled, in_language, notification, of_rule
from ai.incoming import incoming
from common.events.interactions import (
    Attachment,
    Comment,
    CommentReceived,
    LiveCommentReceived,
    Message,
    MessageReceived,
    Postback,
    PostbackReceived,
    Referral,
    ReplyTo,
)
from common.events.replies import CommentReply, DirectMessage, HideComment, OperatorNotification, PrivateReply
from common.merchants import Merchant, Then

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
ACCOUNT, CONTACT = "17841400000000001", "555"
SHOP = Merchant(id="dar", name="Dar", account_id=ACCOUNT, price_link="https://shop.example/p")
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


def event(kind, data, id_="e1"):
    return kind(
        id=id_,
        source="/ingest/instagram",
        subject=f"{ACCOUNT}:{CONTACT}",
        time=AT,
        partitionkey=f"{ACCOUNT}:{CONTACT}",
        traceparent=TRACE,
        data=data,
    )


def message(**data):
    return event(MessageReceived, Message(**{"account_id": ACCOUNT, "contact_id": CONTACT, "mid": "m1", **data}))


def comment(kind=CommentReceived, **data):
    fields = {"account_id": ACCOUNT, "contact_id": CONTACT, "comment_id": "c1", "text": "super", **data}
    return event(kind, Comment(**fields))


@pytest.mark.parametrize(
    ("data", "text", "shown"),
    [
        ({"text": " hi "}, "hi", "hi"),
        ({"attachments": (Attachment(type="image"),)}, "", "[image]"),
        (
            {"attachments": (Attachment(type="image"), Attachment(type="image")), "text": "bikam?"},
            "bikam?",
            "[image] bikam?",
        ),
        ({"attachments": (Attachment(type="story_mention"),)}, "", "[story mention]"),
        ({"attachments": (Attachment(type="like_heart"),)}, "", "[like heart]"),
        ({"attachments": (Attachment(type="ephemeral"),)}, "", "[disappearing photo or video]"),
        ({"attachments": (Attachment(type="audio", url="https://a"),), "text": "so"}, "so", "[voice message] so"),
        ({"attachments": (Attachment(type="image", sticker_id="1"),)}, "", "[sticker]"),
        ({"attachments": (Attachment(type="video"), Attachment(type="file"))}, "", "[video] [file]"),
        ({"attachments": (Attachment(type="ig_post", title="Red  [dress]\nnew"),)}, "", "[shared post: Red dress new]"),
        ({"attachments": (Attachment(type="share", title="t" * 200),)}, "", f"[shared post: {'t' * 100}]"),
        ({"attachments": (Attachment(type="ig_reel", title="Abaya"),)}, "", "[shared reel: Abaya]"),
        ({"attachments": (Attachment(type="ig_story", url="https://a"),)}, "", "[shared story]"),
        (
            {"attachments": (Attachment(type="template", title="Shoes", subtitle="25,000 IQD"),)},
            "",
            "[card: Shoes, 25,000 IQD]",
        ),
        ({"attachments": (Attachment(type="fallback", title="A page"),)}, "", "[link: A page]"),
        ({"attachments": (Attachment(type="unsupported_type"),), "is_unsupported": True}, "", "[unsupported message]"),
        ({"attachments": (Attachment(type="new_kind"),)}, "", "[new kind]"),
        ({"referral": Referral(ad_id="1", ad_title="Eid offer"), "text": "hi"}, "hi", "[from an ad: Eid offer] hi"),
        ({"referral": Referral(product_id="77"), "text": "hi"}, "hi", "[about product: 77] hi"),
        ({"referral": Referral(ref="bio"), "text": "hi"}, "hi", "[came by the link: bio] hi"),
        ({"reply_to": ReplyTo(story_id="s"), "text": "wow"}, "wow", "[story reply] wow"),
        ({"reply_to": ReplyTo(mid="m0"), "text": "wow"}, "wow", "wow"),
        ({"is_unsupported": True}, "", "[unsupported message]"),
        ({"quick_reply": "SIZES"}, "SIZES", "SIZES"),
        ({"quick_reply": "SIZES", "text": "Sizes"}, "Sizes", "[quick reply: SIZES] Sizes"),
        ({}, "", "[empty message]"),
    ],
)
def test_rules_see_the_words_and_the_model_also_what_it_cannot_see(data, text, shown):
    said = incoming(message(**data))
    assert (said.text, said.shown) == (text, shown)


def test_placeholders_of_unknown_kinds_are_short():
    said = incoming(message(attachments=(Attachment(type="x" * 100),), is_unsupported=True))
    assert said.shown == f"[{'x' * 40}]"


@given(st.text(max_size=300), st.text(max_size=60))
def test_a_strangers_title_can_neither_leave_its_brackets_nor_pose_as_the_customers_words(title, kind):
    said = incoming(message(attachments=(Attachment(type=kind, title=title),)))
    assert said.shown[0] + said.shown[-1] == "[]"
    assert not set(said.shown[1:-1]) & set("[]\n\r")
    assert said.text == ""


def test_what_was_sent_along_is_kept_as_links():
    said = incoming(
        message(
            attachments=(
                Attachment(type="image", url="https://i/1"),
                Attachment(type="image"),
                Attachment(type="audio", url="https://a/1"),
                Attachment(type="video", url="https://v/1"),
            ),
            reply_to=ReplyTo(story_id="s", story_url="https://s/1"),
        )
    )
    assert (said.images, said.recordings) == (("https://i/1",), ("https://a/1",))
    assert said.attachments[-1] == {"type": "story_reply", "url": "https://s/1", "media_id": "s"}
    assert said.line().images == ("https://i/1",)


def test_a_heard_recording_is_what_its_sender_said():
    voice = incoming(message(attachments=(Attachment(type="audio", url="https://a/1"),)))
    heard = voice.heard("bikam?")
    assert (heard.text, heard.shown, heard.line().words) == ("bikam?", "[voice message] bikam?", "bikam?")
    unheard = voice.heard("")
    assert (unheard.text, unheard.shown) == ("", "[voice message that could not be heard]")
    both = incoming(message(attachments=(Attachment(type="audio", url="https://a/1"),), text="so")).heard("bikam?")
    assert (both.text, both.shown) == ("so\nbikam?", "[voice message] so\nbikam?")


def test_a_tapped_button_counts_as_a_message_with_its_title():
    tapped = Postback(account_id=ACCOUNT, contact_id=CONTACT, title="Prices", payload="P", referral=Referral(ad_id="7"))
    said = incoming(event(PostbackReceived, tapped))
    assert (said.text, said.channel, said.ad_id) == ("Prices", "direct_message", "7")
    assert said.shown == "[from an ad] [button: P] Prices"
    bare = Postback(account_id=ACCOUNT, contact_id=CONTACT, payload="ICE_1")
    assert incoming(event(PostbackReceived, bare)).text == "ICE_1"
    assert incoming(event(PostbackReceived, Postback(account_id=ACCOUNT, contact_id=CONTACT))).shown == "[button]"


@pytest.mark.parametrize(
    "one",
    [
        message(text="x", is_self=True),
        message(text="x", contact_id=ACCOUNT),
        message(text="x", contact_id=None),
        comment(from_account=True),
        comment(contact_id=ACCOUNT),
    ],
)
def test_the_account_itself_is_never_answered(one):
    assert incoming(one) is None


@pytest.mark.parametrize(
    ("one", "live"),
    [(comment(), False), (comment(LiveCommentReceived), True), (comment(media_product_type="LIVE"), True)],
)
def test_a_comment_is_in_the_conversation_of_its_writer(one, live):
    said = incoming(one)
    assert (said.channel, said.comment_id, said.live) == ("comment", "c1", live)
    assert said.conversation_id == f"{ACCOUNT}:{CONTACT}"


def test_a_message_that_was_changed_before_it_was_handled_keeps_what_it_came_with():
    said = incoming(message(text="old", attachments=(Attachment(type="image"),))).reworded("new")
    assert (said.text, said.shown) == ("new", "[image] new")


def test_an_answer_goes_where_the_customer_wrote():
    assert answering("x", incoming(message(text="a"))) == DirectMessage(text="x")
    assert answering("x", incoming(comment())) == CommentReply(comment_id="c1", text="x")
    assert answering("x", incoming(comment(parent_id="c0"))) == CommentReply(comment_id="c1", parent_id="c0", text="x")
    live = incoming(comment(LiveCommentReceived))
    assert answering("x", live) == PrivateReply(comment_id="c1", text="x", live=True)


def test_a_rule_may_answer_in_public_and_in_private_hide_and_call_a_person():
    then = Then(reply={"en": "thanks"}, private_reply={"en": "{price_link}"}, hide_comment=True, alert="spam")
    actions = of_rule(then, incoming(comment()), SHOP, "en")
    assert [type(action) for action in actions] == [CommentReply, PrivateReply, HideComment, OperatorNotification]
    assert actions[1].text == "https://shop.example/p"
    assert actions[3].reason == "spam"


def test_a_live_comment_gets_one_private_reply_at_most():
    then = Then(reply={"en": "public"}, private_reply={"en": "private"})
    assert of_rule(then, incoming(comment(LiveCommentReceived)), SHOP, "en") == [
        PrivateReply(comment_id="c1", text="private", live=True)
    ]


def test_a_direct_message_is_neither_hidden_nor_answered_twice():
    then = Then(reply={"en": "a"}, private_reply={"en": "b"}, hide_comment=True)
    assert of_rule(then, incoming(message(text="x")), SHOP, "en") == [DirectMessage(text="a")]


def test_a_rules_text_in_another_language_is_better_than_none():
    assert in_language({"fr": "f", "en": "e"}, "fr") == "f"
    assert in_language({"fr": "f", "en": "e"}, "ar") == "e"
    assert in_language({}, "ar") is None


def test_only_the_known_placeholders_are_filled():
    assert filled("{shop}: {price_link} {0} {x!r} {", SHOP) == "Dar: https://shop.example/p {0} {x!r} {"


def test_a_notification_names_the_place_and_quotes_nobody():
    text = notification("negative_comment", incoming(comment(text="secret words")), SHOP).text
    assert "c1" in text
    assert f"{ACCOUNT}:{CONTACT}" in text
    assert "secret" not in text


def test_events_carry_where_they_come_from_and_have_derived_ids():
    said = incoming(message(text="x", received_at_ms=42))
    made = events(
        [DirectMessage(text="a"), DirectMessage(text="b")],
        decision="dec_1",
        said=said,
        merchant=SHOP,
        origin="rule",
        now=AT,
    )
    again = events(
        [DirectMessage(text="a"), DirectMessage(text="b")],
        decision="dec_1",
        said=said,
        merchant=SHOP,
        origin="rule",
        now=AT,
    )
    assert [e.id for e in made] == [e.id for e in again]
    assert len({e.id for e in made}) == 2
    first = made[0]
    assert (first.causationid, first.partitionkey, first.id) == ("e1", f"{ACCOUNT}:{CONTACT}", first.data.reply_id)
    assert first.traceparent[:36] == TRACE[:36]
    assert first.traceparent != TRACE
    assert (first.data.in_reply_to, first.data.customer_acted_at, first.data.received_at_ms) == ("e1", AT, 42)
    assert (first.data.merchant_id, first.data.origin, first.data.decision_id) == ("dar", "rule", "dec_1")
