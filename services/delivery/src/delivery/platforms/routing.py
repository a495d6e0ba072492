"""Which routes can do what, and when a reply may take another one: two tables, pure.

A merchant orders the routes. An action goes over the first of them that can do it; what only one route can do goes
over that one, whether or not the merchant named it.

Another route is tried only where the first certainly sent nothing:

    refused, and another route may take it            the next route, at once (the error tables say which)
    refused for what is sent, or to whom              failed: the other route would say the same
    its circuit breaker is open                       the next route: it is known to be away
    no connection, or throttled, breaker closed       the same route, later: a moment is no reason to change
    unknown outcome                                   never another route, and never the same one blindly
"""

from collections.abc import Mapping

from common.events.replies import Action, MediaMessage
from common.merchants import RouteName

BOTH: frozenset[RouteName] = frozenset({"graph", "manychat"})
ONLY_GRAPH: frozenset[RouteName] = frozenset({"graph"})
ONLY_MANYCHAT: frozenset[RouteName] = frozenset({"manychat"})

CAN: Mapping[str, frozenset[RouteName]] = {
    "direct_message": BOTH,
    "media_message": BOTH,
    "cards": BOTH,
    "buttons": BOTH,
    "heart": ONLY_GRAPH,
    "shared_post": ONLY_GRAPH,
    "reaction": ONLY_GRAPH,
    "mark_seen": ONLY_GRAPH,
    "typing": ONLY_GRAPH,
    "private_reply": ONLY_GRAPH,
    "comment_reply": ONLY_GRAPH,
    "mention_reply": ONLY_GRAPH,
    "hide_comment": ONLY_GRAPH,
    "delete_comment": ONLY_GRAPH,
    "flow": ONLY_MANYCHAT,
    "subscriber_change": ONLY_MANYCHAT,
    "operator_notification": frozenset(),
}
"""Which routes can do an action of each kind; a notification goes to the merchant's own people instead."""

ADDRESSED_TO_A_PERSON = frozenset(
    kind
    for kind in CAN
    if kind not in {"private_reply", "comment_reply", "mention_reply", "hide_comment", "delete_comment"}
) - {"operator_notification"}
"""Kinds that need to know whom they go to."""


def able(action: Action) -> frozenset[RouteName]:
    """Return the routes that can do an action. ManyChat takes no video, voice or file on Instagram, and one image."""
    if isinstance(action, MediaMessage) and (action.media != "image" or len(action.urls) > 1):
        return ONLY_GRAPH
    return CAN[action.kind]


def ordered(action: Action, preferred: tuple[RouteName, ...]) -> tuple[RouteName, ...]:
    """Return the routes an action may take, in the merchant's order."""
    possible = able(action)
    chosen = tuple(route for route in dict.fromkeys(preferred) if route in possible)
    return chosen or tuple(sorted(possible))
