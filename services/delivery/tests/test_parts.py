"""Which messages a reply becomes, and by what they are known again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Permanent
from common.events.replies import (
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MediaMessage,
    MentionReply,
    PrivateReply,
    QuickReply,
    SharedPost,
)
from delivery.fingerprints import attachments_key, is_weak, message_keys, text_key
from delivery.ledger import UNCUT, Part
from delivery.parts import cuts_of, keys_of, piece_to_send, pieces_of
from delivery.split import shortened, split

URL = "https://shop.example/a"
CHOICES = (QuickReply(title="Red", payload="r"),)


def test_quick_replies_stand_under_the_last_part_only():
    pieces = pieces_of(DirectMessage(text="word " * 500, quick_replies=CHOICES, message_tag="T"))
    assert len(pieces) == 3
    assert [piece.quick_replies for piece in pieces] == [(), (), CHOICES]
    assert {piece.message_tag for piece in pieces} == {"T"}


def test_a_short_text_with_quick_replies_is_one_message_as_it_was():
    action = DirectMessage(text=" Which? ", quick_replies=CHOICES)
    assert pieces_of(action) == (action,)


def test_a_private_reply_is_shortened_and_stays_under_its_comment():
    (piece,) = pieces_of(PrivateReply(comment_id="c", text="word " * 500, live=True))
    assert len(piece.text.encode()) <= 1000
    assert (piece.comment_id, piece.live) == ("c", True)


@pytest.mark.parametrize(
    "action",
    [
        DirectMessage(text=" \n"),
        PrivateReply(comment_id="c", text=" "),
        CommentReply(comment_id="c", text=" "),
        MentionReply(media_id="1", text="\t"),
        Buttons(text=" ", buttons=(Button(title="t", url=URL),)),
    ],
)
def test_a_blank_text_is_no_message(action):
    assert pieces_of(action) == ()


SHOWN = [
    (DirectMessage(text="Hello"), "Hello ", ()),
    (PrivateReply(comment_id="c", text="Hello"), "Hello", ()),
    (MediaMessage(media="image", urls=(URL,)), None, ("image",)),
    (MediaMessage(media="image", urls=(URL, URL)), "", ("image", "image")),
    (MediaMessage(media="video", urls=(URL,)), None, ("video",)),
    (MediaMessage(media="audio", urls=(URL,)), None, ("audio",)),
    (MediaMessage(media="file", urls=(URL,)), None, ("file",)),
    (Heart(), None, ("like_heart",)),
    (SharedPost(media_id="1"), None, ("MEDIA_SHARE",)),
    (SharedPost(media_id="1"), None, ("share", "ig_post")),
    (SharedPost(media_id="1"), None, ("ig_reel",)),
    (Cards(cards=(Card(title="t"), Card(title="u"))), None, ("template",)),
    (Buttons(text="x", buttons=(Button(title="t", url=URL),)), "x", ("template",)),
]


@pytest.mark.parametrize(("action", "text", "kinds"), SHOWN)
def test_what_is_sent_is_known_again_when_it_is_shown(action, text, kinds):
    (key,) = keys_of(pieces_of(action))
    assert key in message_keys(text, kinds)


@pytest.mark.parametrize("action", [Flow(flow_ns="f"), HideComment(comment_id="c")])
def test_what_no_thread_shows_as_a_message_of_ours_is_known_by_nothing(action):
    assert keys_of(pieces_of(action)) == ("",)


def test_a_message_with_nothing_in_it_is_known_by_nothing():
    assert message_keys(None, ()) == message_keys(" ", ()) == ()


def test_only_what_has_no_words_is_weak():
    assert [is_weak(key) for key in (text_key("~"), text_key("x"), attachments_key(["image"]))] == [False, False, True]


@given(st.lists(st.sampled_from(["image", "video", "share", "ig_post", "template", "unheard_of"]), min_size=1))
def test_the_order_of_attachments_says_nothing(kinds):
    assert attachments_key(kinds) == attachments_key(reversed(kinds)) == attachments_key([k.upper() for k in kinds])


def test_one_picture_is_not_two():
    assert attachments_key(["image"]) != attachments_key(["image", "image"])


TEXTS = st.text(st.sampled_from("aب .!\n😀é…"), min_size=1, max_size=400)


@given(text=TEXTS, limit=st.integers(40, 300), data=st.data())
def test_what_was_planned_is_what_is_sent_however_a_later_version_cuts(text, limit, data):
    action = DirectMessage(text=text, quick_replies=CHOICES)
    planned = tuple(action.model_copy(update={"text": part, "quick_replies": ()}) for part in split(text, limit))
    parts = [
        Part(key, start=cut[0], end=cut[1]) for key, cut in zip(keys_of(planned), cuts_of(action, planned), strict=True)
    ]
    sent = [piece_to_send(action, parts, index) for index in range(len(parts))]
    assert [piece.text for piece in sent] == [piece.text for piece in planned]
    assert keys_of(sent) == tuple(part.key for part in parts)
    assert [piece.quick_replies for piece in sent] == [*[()] * (len(sent) - 1), CHOICES][: len(sent)]


@given(text=TEXTS.filter(str.strip), limit=st.integers(40, 300))
def test_a_private_reply_is_sent_as_it_was_shortened(text, limit):
    action = PrivateReply(comment_id="c", text=text)
    planned = action.model_copy(update={"text": shortened(text.strip(), limit)})
    ((start, end),) = cuts_of(action, (planned,))
    (key,) = keys_of((planned,))
    assert piece_to_send(action, [Part(key, start=start, end=end)], 0).text == planned.text


def test_parts_without_cuts_are_sent_where_the_text_is_still_cut_so():
    action = DirectMessage(text="word " * 500)
    parts = [Part(key) for key in keys_of(pieces_of(action))]
    assert [piece_to_send(action, parts, index) for index in range(3)] == list(pieces_of(action))


@pytest.mark.parametrize("parts", [[Part("a"), Part("b")], [Part("a"), Part("b"), Part("c")], [Part("a")] * 4])
def test_parts_without_cuts_that_are_cut_otherwise_now_are_not_guessed(parts):
    with pytest.raises(Permanent, match="in other places"):
        piece_to_send(DirectMessage(text="word " * 500), parts, 1)


def test_what_is_no_text_has_no_cuts():
    action = CommentReply(comment_id="c", text="Thanks")
    assert cuts_of(action, pieces_of(action)) == (UNCUT,)
    assert piece_to_send(action, [Part(key) for key in keys_of(pieces_of(action))], 0) == action
