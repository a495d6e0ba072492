"""Which route an action takes: what can, in the merchant's order."""

from itertools import permutations

import pytest

from common.events.replies import (
    Button,
    Buttons,
    Card,
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
from delivery.platforms.routing import ADDRESSED_TO_A_PERSON, able, ordered

URL = "https://shop.example/a"
TABLE = [
    (DirectMessage(text="x"), "graph manychat"),
    (MediaMessage(media="image", urls=(URL,)), "graph manychat"),
    (MediaMessage(media="image", urls=(URL, URL)), "graph"),
    (MediaMessage(media="video", urls=(URL,)), "graph"),
    (MediaMessage(media="audio", urls=(URL,)), "graph"),
    (MediaMessage(media="file", urls=(URL,)), "graph"),
    (Cards(cards=(Card(title="t"),)), "graph manychat"),
    (Buttons(text="x", buttons=(Button(title="t", url=URL),)), "graph manychat"),
    (Heart(), "graph"),
    (SharedPost(media_id="1"), "graph"),
    (MessageReaction(mid="m"), "graph"),
    (MarkSeen(), "graph"),
    (Typing(), "graph"),
    (PrivateReply(comment_id="c", text="x"), "graph"),
    (CommentReply(comment_id="c", text="x"), "graph"),
    (MentionReply(media_id="1", text="x"), "graph"),
    (HideComment(comment_id="c"), "graph"),
    (DeleteComment(comment_id="c"), "graph"),
    (Flow(flow_ns="f"), "manychat"),
    (SubscriberChange(change="add_tag", name="t"), "manychat"),
    (OperatorNotification(reason="r", text="t"), ""),
]
ORDERS = [("graph",), ("manychat",), *permutations(("graph", "manychat"))]


@pytest.mark.parametrize(("action", "routes"), TABLE)
def test_what_each_route_can_do(action, routes):
    assert able(action) == set(routes.split())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("action", "routes"), TABLE)
def test_the_merchants_order_is_kept_and_what_only_one_route_can_do_takes_that_one(action, routes, order):
    possible = routes.split()
    expected = tuple(route for route in order if route in possible) or tuple(possible)
    assert ordered(action, order) == expected


def test_a_route_that_is_named_twice_is_tried_once():
    assert ordered(DirectMessage(text="x"), ("graph", "graph")) == ("graph",)


def test_comments_need_no_person_and_everything_else_does():
    without = {action.kind for action, _ in TABLE} - ADDRESSED_TO_A_PERSON
    assert without == {
        "private_reply",
        "comment_reply",
        "mention_reply",
        "hide_comment",
        "delete_comment",
        "operator_notification",
    }
