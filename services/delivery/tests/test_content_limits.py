"""What the platforms take: each limit at its edge, with a code and a sentence of its own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events.replies import (
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Flow,
    HideComment,
    MediaMessage,
    MentionReply,
    MessageReaction,
    PrivateReply,
    QuickReply,
    SharedPost,
    SubscriberChange,
)
from delivery.parts import pieces_of
from delivery.platforms.content_limits import ENDINGS, MEDIA_ENDINGS, breach
from delivery.split import MAX_BYTES, split

HTTPS = "https://shop.example/a"
LINK = Button(title="Shop", url=HTTPS)


def choices(count, title="Red", payload="p"):
    return DirectMessage(text="x", quick_replies=(QuickReply(title=title, payload=payload),) * count)


def buttons(*given, text="x"):
    return Buttons(text=text, buttons=given)


def card(**changes):
    return Cards(cards=(Card(**{"title": "Lamp", "subtitle": "Red", **changes}),))


def media(kind, *urls):
    return MediaMessage(media=kind, urls=urls)


AT_THE_EDGE = [
    ("graph", DirectMessage(text="ا" * 5000), DirectMessage(text="ا" * 5001), "text_too_long", "10000", "10002"),
    ("graph", choices(13), choices(14), "too_many_quick_replies", "13", "14"),
    ("manychat", choices(11, payload="flow:f"), choices(12, payload="flow:f"), "too_many_quick_replies", "11", "12"),
    ("graph", choices(1, "t" * 20), choices(1, "t" * 21), "quick_reply_title_too_long", "20", "21"),
    ("graph", choices(1, "t"), choices(1, " "), "quick_reply_title_empty", "quick_replies[0].title", "empty"),
    ("graph", choices(1, payload="p" * 1000), choices(1, payload="p" * 1001), "payload_too_long", "1000", "1001"),
    ("graph", choices(1, payload="p"), choices(1, payload=""), "payload_empty", "quick_replies[0].payload", "empty"),
    ("manychat", choices(1, payload="flow:f"), choices(1), "payload_not_a_flow", "quick_replies[0].payload", "flow:"),
    ("graph", choices(1), choices(1, payload="flow:f"), "flow_needs_manychat", "quick_replies[0].payload", "ManyChat"),
    ("graph", media("image", *[HTTPS] * 10), media("image", *[HTTPS] * 11), "too_many_media", "10", "11"),
    ("graph", media("video", HTTPS), media("video", HTTPS, HTTPS), "too_many_media", "1", "2"),
    ("graph", media("image", HTTPS), media("image", "http://shop.example/a"), "link_not_https", "urls[0]", "https://"),
    ("graph", media("image", HTTPS), media("image", HTTPS, "https://"), "link_not_https", "urls[1]", "https://"),
    ("graph", media("file", HTTPS), media("file", "https://[bad/x.pdf"), "link_not_https", "urls[0]", "https://"),
    (
        "graph",
        media("image", HTTPS + "a" * (2000 - len(HTTPS))),
        media("image", HTTPS + "a" * (2001 - len(HTTPS))),
        "link_too_long",
        "2000",
        "2001",
    ),
    ("graph", media("image", f"{HTTPS}.PNG"), media("image", f"{HTTPS}.mp4"), "media_format", "urls[0]", ".mp4"),
    ("graph", media("file", f"{HTTPS}.pdf?x=.zip"), media("file", f"{HTTPS}.zip"), "media_format", "pdf", ".zip"),
    ("graph", SharedPost(media_id="9" * 32), SharedPost(media_id="9" * 33), "id_not_a_number", "media_id", "32"),
    ("graph", SharedPost(media_id="17"), SharedPost(media_id="CxYz"), "id_not_a_number", "media_id", "digits"),
    ("graph", Cards(cards=card().cards * 10), Cards(cards=card().cards * 11), "too_many_cards", "10", "11"),
    ("graph", card(title="t" * 80), card(title="t" * 81), "card_title_too_long", "80", "81"),
    ("graph", card(), card(title=""), "card_title_empty", "cards[0].title", "empty"),
    ("graph", card(subtitle="t" * 80), card(subtitle="t" * 81), "card_subtitle_too_long", "80", "81"),
    ("graph", card(image_url=HTTPS), card(image_url="ftp://x/y"), "link_not_https", "cards[0].image_url", "https"),
    ("graph", card(url=HTTPS), card(url="shop.example"), "link_not_https", "cards[0].url", "https"),
    ("graph", card(subtitle=None, url=HTTPS), card(subtitle=None), "card_too_bare", "cards[0]", "subtitle"),
    ("graph", card(buttons=(LINK,) * 3), card(buttons=(LINK,) * 4), "too_many_buttons", "3", "4"),
    ("graph", buttons(*[LINK] * 3), buttons(*[LINK] * 4), "too_many_buttons", "buttons has 4", "3"),
    ("graph", buttons(LINK, text="x" * 640), buttons(LINK, text="x" * 641), "buttons_text_too_long", "640", "641"),
    (
        "graph",
        buttons(Button(title="t" * 20, url=HTTPS)),
        buttons(Button(title="t" * 21, url=HTTPS)),
        "button_title_too_long",
        "20",
        "21",
    ),
    ("graph", buttons(LINK), buttons(Button(title="", url=HTTPS)), "button_title_empty", "buttons[0].title", "empty"),
    ("graph", buttons(LINK), buttons(LINK, Button(title="t", url="x")), "link_not_https", "buttons[1].url", "https"),
    (
        "manychat",
        buttons(Button(title="t", payload="flow:f")),
        buttons(Button(title="t", payload="p")),
        "payload_not_a_flow",
        "buttons[0].payload",
        "flow:",
    ),
    (
        "graph",
        CommentReply(comment_id="c", text="x" * 2200),
        CommentReply(comment_id="c", text="x" * 2201),
        "comment_too_long",
        "2200",
        "2201",
    ),
    (
        "graph",
        MentionReply(media_id="1", text="x" * 2200),
        MentionReply(media_id="1", text="x" * 2201),
        "comment_too_long",
        "2200",
        "2201",
    ),
    ("graph", MessageReaction(mid="m"), MessageReaction(mid=""), "id_missing", "mid", "empty"),
    (
        "graph",
        MessageReaction(mid="m", reaction=None),
        MessageReaction(mid="m", reaction=""),
        "reaction_empty",
        "reaction",
        "empty",
    ),
    (
        "graph",
        PrivateReply(comment_id="c", text="x"),
        PrivateReply(comment_id="", text="x"),
        "id_missing",
        "comment_id",
        "empty",
    ),
    (
        "graph",
        MentionReply(media_id="1", text="x"),
        MentionReply(media_id="", text="x"),
        "id_missing",
        "media_id",
        "empty",
    ),
    ("manychat", Flow(flow_ns="content1"), Flow(flow_ns="my flow"), "flow_not_a_name", "flow_ns", "space"),
    ("manychat", Flow(flow_ns="c" * 255), Flow(flow_ns="c" * 256), "flow_too_long", "flow_ns", "255"),
    (
        "manychat",
        SubscriberChange(change="add_tag", name="t" * 255),
        SubscriberChange(change="add_tag", name="t" * 256),
        "field_name_too_long",
        "255",
        "256",
    ),
    (
        "manychat",
        SubscriberChange(change="set_field_value", name="size", value=False),
        SubscriberChange(change="set_field_value", name="size"),
        "value_missing",
        "value",
        "set_field_value",
    ),
]


@pytest.mark.parametrize("limit", AT_THE_EDGE, ids=lambda limit: limit[3])
def test_a_limit_is_kept_at_its_edge_and_named_beyond_it(limit):
    route, fits, breaks, reason, named, found = limit
    assert breach(fits, route) is None
    broken = breach(breaks, route)
    assert broken is not None
    assert broken.reason == reason
    assert named in broken.detail
    assert found in broken.detail


@pytest.mark.parametrize("kind", ["hide_comment", "delete_comment", "comment_reply"])
def test_no_call_is_made_about_a_comment_without_an_id(kind):
    action = {
        "hide_comment": HideComment(comment_id=""),
        "delete_comment": DeleteComment(comment_id=""),
        "comment_reply": CommentReply(comment_id="", text="x"),
    }[kind]
    assert breach(action, "graph").reason == "id_missing"


@pytest.mark.parametrize("ending", ["", ".", ".lamp", ".v2", "/", ".jpg/view"])
def test_a_link_without_a_known_ending_is_left_to_the_platform(ending):
    assert all(breach(media(kind, HTTPS + ending), "graph") is None for kind in ENDINGS)


def test_every_ending_that_a_kind_takes_is_known():
    assert all(endings <= MEDIA_ENDINGS for endings in ENDINGS.values())


@given(st.text(min_size=1, max_size=6000))
def test_what_is_taken_becomes_no_message_that_is_too_long(text):
    action = DirectMessage(text=text)
    if breach(action, "graph") is None:
        pieces = pieces_of(action)
        assert len(pieces) <= 20
        assert all(len(piece.text.encode(errors="replace")) <= MAX_BYTES for piece in pieces)


@given(st.text(max_size=40))
def test_no_link_is_a_crash(url):
    breach(media("image", url), "graph")


def test_a_text_that_is_cut_into_more_messages_than_ten_is_too_long_whatever_its_bytes():
    """Cuts fall behind sentences, so parts are rarely full."""
    text = ("s" * 598 + ". ") * 16
    assert len(text.encode()) < 10_000
    assert len(split(text)) == 16
    for route in ("graph", "manychat"):
        found = breach(DirectMessage(text=text), route)
        assert found is not None
        assert (found.reason, "16" in found.detail) == ("text_too_long", True)
