"""Which of the platforms' limits a call counts against, and how high each is.

Sources: Meta, "Instagram Platform: Rate Limiting" and "Messaging API" (calls a second of one account's Send API: text,
links, reactions and stickers 100, audio and video 10; private replies 750 an hour, under a live broadcast 100 a second;
Conversations API 2 a second); ManyChat's Swagger file (sendContent 25 and sendFlow 20 a second of one page, 100 flows
an hour to one subscriber, other methods 10 a second). Where the sources contradict each other, the lower figure is the
default; all of them are settings (`DELIVERY_LIMITS`), because a platform's limit changes without a release of ours.

Two of the defaults are ours. For comments nothing is published but a share of an account's impressions. And pictures
and files are named nowhere: they count as media, since the lower limit is the one that cannot be wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import limits

from common.events.outcomes import Route
from common.events.replies import (
    Action,
    CommentReply,
    DeleteComment,
    Flow,
    HideComment,
    MediaMessage,
    MentionReply,
    PrivateReply,
    SubscriberChange,
)

LimitName = Literal[
    "message",
    "media",
    "private_reply",
    "live_private_reply",
    "comment",
    "conversation",
    "manychat_content",
    "manychat_flow",
    "manychat_flow_subscriber",
    "manychat_other",
]
NAMES: tuple[LimitName, ...] = get_args(LimitName)


@dataclass(frozen=True)
class Limit:
    """At most `calls` within any `seconds`."""

    calls: int
    seconds: float

    @property
    def interval(self) -> float:
        """Seconds from one call to the next at the full pace."""
        return self.seconds / self.calls

    def shared_by(self, replicas: int) -> "Limit":
        """Return what each of so many replicas may do by itself.

        Where there are fewer calls than replicas, each gets one in a longer time: the pace is right on the average,
        but they may meet in one window. Only a shared count can do better.
        """
        if self.calls >= replicas:
            return Limit(self.calls // replicas, self.seconds)
        return Limit(1, self.seconds * replicas / self.calls)


@dataclass(frozen=True)
class Meter:
    """One limit as it applies to one account, ManyChat page, or subscriber of a page: each has a count of its own."""

    name: LimitName
    who: str


Limits = Mapping[LimitName, Limit]

DEFAULTS: Limits = {
    "message": Limit(100, 1),
    "media": Limit(10, 1),
    "private_reply": Limit(750, 3600),
    "live_private_reply": Limit(100, 1),
    "comment": Limit(10, 1),
    "conversation": Limit(2, 1),
    "manychat_content": Limit(25, 1),
    "manychat_flow": Limit(20, 1),
    "manychat_flow_subscriber": Limit(100, 3600),
    "manychat_other": Limit(10, 1),
}


def parse_limits(text: str) -> Limits:
    """Read `name=calls/time, …`, e.g. `message=300/second, private_reply=750/hour`, over the defaults.

    Raises ValueError with the entry that is wrong and what it should be.
    """
    found: dict[LimitName, Limit] = dict(DEFAULTS)
    for entry in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, amount = (part.strip() for part in entry.partition("="))
        known = next((one for one in NAMES if one == name), None)
        if known is None or not equals:
            raise ValueError(f"{entry!r}: expected <name>=<calls>/<time>, the name one of {', '.join(NAMES)}")
        try:
            item = limits.parse(amount)
        except ValueError:
            raise ValueError(
                f"{entry!r}: expected e.g. {name}=100/second, {name}=750/hour or {name}=1/5 seconds"
            ) from None
        if item.amount < 1:
            raise ValueError(f"{entry!r}: at least one call must be allowed")
        found[known] = Limit(item.amount, float(item.get_expiry()))
    return found


def page_of(key: str) -> str:
    """Return the ManyChat page of a key `<page id>:<secret>`: the page is what ManyChat counts by."""
    return key.partition(":")[0]


def meters_of(
    action: Action, route: Route, *, account: str, page: str = "", subscriber: int | None = None
) -> tuple[Meter, ...]:
    """Return the meters that one call counts on, the slowest first."""
    match route:
        case "graph":
            return (Meter(_graph_limit(action), account),)
        case "manychat":
            return _manychat_meters(action, page, subscriber)
        case _:
            return ()


def _graph_limit(action: Action) -> LimitName:
    match action:
        case MediaMessage():
            return "media"
        case PrivateReply(live=live):
            return "live_private_reply" if live else "private_reply"
        case CommentReply() | MentionReply() | HideComment() | DeleteComment():
            return "comment"
        case _:
            return "message"


def _manychat_meters(action: Action, page: str, subscriber: int | None) -> tuple[Meter, ...]:
    match action:
        case Flow():
            return (Meter("manychat_flow_subscriber", f"{page}:{subscriber}"), Meter("manychat_flow", page))
        case SubscriberChange():
            return (Meter("manychat_other", page),)
        case _:
            return (Meter("manychat_content", page),)
