"""Which limit a call counts against, and how high it is."""

import pytest

from common.events.replies import (
    Buttons,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    OperatorNotification,
    PrivateReply,
    SharedPost,
    SubscriberChange,
    Typing,
)
from delivery.pace.rate_limits import DEFAULTS, NAMES, Limit, Meter, meters_of, page_of, parse_limits

BUTTON = {"title": "Go", "url": "https://shop.example"}


@pytest.mark.parametrize(
    ("action", "name"),
    [
        (DirectMessage(text="Hello"), "message"),
        (Heart(), "message"),
        (SharedPost(media_id="1"), "message"),
        (Cards.model_validate({"cards": [{"title": "Dress"}]}), "message"),
        (Buttons.model_validate({"text": "Look", "buttons": [BUTTON]}), "message"),
        (MessageReaction(mid="m"), "message"),
        (MarkSeen(), "message"),
        (Typing(), "message"),
        (MediaMessage(media="audio", urls=("https://x/a",)), "media"),
        (MediaMessage(media="video", urls=("https://x/a",)), "media"),
        (MediaMessage(media="image", urls=("https://x/a",)), "media"),
        (PrivateReply(comment_id="1", text="Hello"), "private_reply"),
        (PrivateReply(comment_id="1", text="Hello", live=True), "live_private_reply"),
        (CommentReply(comment_id="1", text="Hello"), "comment"),
        (MentionReply(media_id="1", text="Hello"), "comment"),
        (HideComment(comment_id="1"), "comment"),
        (DeleteComment(comment_id="1"), "comment"),
    ],
)
def test_what_goes_over_the_graph_api_counts_for_the_account(action, name):
    assert meters_of(action, "graph", account="9", page="3", subscriber=7) == (Meter(name, "9"),)


@pytest.mark.parametrize(
    ("action", "meters"),
    [
        (DirectMessage(text="Hello"), (Meter("manychat_content", "3"),)),
        (MediaMessage(media="image", urls=("https://x/a",)), (Meter("manychat_content", "3"),)),
        (SubscriberChange(change="add_tag", name="vip"), (Meter("manychat_other", "3"),)),
        (Flow(flow_ns="f"), (Meter("manychat_flow_subscriber", "3:7"), Meter("manychat_flow", "3"))),
    ],
)
def test_what_goes_over_manychat_counts_for_the_page(action, meters):
    assert meters_of(action, "manychat", account="9", page="3", subscriber=7) == meters


def test_notices_to_the_merchants_people_have_no_limit():
    assert meters_of(OperatorNotification(reason="x", text="y"), "operator", account="9") == ()


def test_the_page_is_named_in_its_key():
    assert page_of("1784:secret") == "1784"


def test_limits_are_read_over_the_defaults():
    read = parse_limits(" message=300/second, private_reply=10 per 2 hours ,")
    assert read["message"] == Limit(300, 1)
    assert read["private_reply"] == Limit(10, 7200)
    assert {name: read[name] for name in NAMES if name not in {"message", "private_reply"}} == {
        name: DEFAULTS[name] for name in NAMES if name not in {"message", "private_reply"}
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("messages=3/second", "the name one of message, media"),
        ("message", "expected <name>=<calls>/<time>"),
        ("message=fast", "expected e.g. message=100/second"),
        ("message=0/second", "at least one call"),
    ],
)
def test_a_limit_that_is_none_is_named_with_what_it_should_be(text, says):
    with pytest.raises(ValueError, match=says):
        parse_limits(text)


@pytest.mark.parametrize(
    ("limit", "replicas", "share"),
    [
        (Limit(100, 1), 1, Limit(100, 1)),
        (Limit(100, 1), 3, Limit(33, 1)),
        (Limit(2, 1), 2, Limit(1, 1)),
        (Limit(2, 1), 3, Limit(1, 1.5)),
    ],
)
def test_the_shares_of_all_replicas_are_no_more_than_the_limit_on_the_average(limit, replicas, share):
    assert limit.shared_by(replicas) == share
    assert replicas * share.calls / share.seconds <= limit.calls / limit.seconds
