"""Whether a reply may be sent at all, decided before anything is: the platform's rules and the precedence of people."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from common.events.replies import CommentReply, DirectMessage, PrivateReply, Reply, Typing
from delivery import window
from delivery.contacts import Contact

HUMAN_AGENT = "HUMAN_AGENT"
BOT_ORIGINS = frozenset({"rule", "model", "apology"})
TYPING_LASTS = timedelta(seconds=20)
OPENING_KINDS = frozenset({"msg", "pb"})
"""The kinds of interactions, as their ids name them, that open the window: messages and postbacks."""


@dataclass(frozen=True)
class Withhold:
    """The reply is not sent, on purpose."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Allow:
    """The reply may be sent; outside the window only by a route that takes a message tag."""

    only_tagged: bool = False


def judge(
    reply: Reply, *, decided_at: datetime, contact: Contact | None, now: datetime, margin: timedelta
) -> Allow | Withhold:
    """Decide whether a reply may be sent."""
    action = reply.action
    speaks = isinstance(action, DirectMessage | PrivateReply | CommentReply | Typing)
    if isinstance(action, DirectMessage) and is_human_agent(action.message_tag) and reply.origin != "human":
        return Withhold("human_agent_tag", "the tag HUMAN_AGENT is only for messages that a person writes")
    if speaks and reply.origin in BOT_ORIGINS and contact is not None and contact.is_with_a_person(decided_at, now):
        return Withhold("human_owns", "a person answers this conversation")
    if isinstance(action, Typing) and now - decided_at > TYPING_LASTS:
        return Withhold("too_late", "the typing indicator would have ended by now")
    if isinstance(action, PrivateReply) and not window.private_reply_is_open(reply.customer_acted_at, now, margin):
        return Withhold("comment_too_old", "a comment can be answered privately for 7 days")
    if isinstance(action, DirectMessage):
        last = window.latest(contact.last_customer_at if contact else None, acted_at(reply))
        if not window.is_open(last, now, margin):
            if action.message_tag:
                return Allow(only_tagged=True)
            return Withhold("window_closed", "the customer's last message is more than 24 hours old, or unknown")
    return Allow()


def acted_at(reply: Reply) -> datetime | None:
    """Return when the customer did what the reply answers, if that opens the window: a comment does not."""
    if reply.in_reply_to is None:
        return None
    kind = reply.in_reply_to.removeprefix(f"{reply.account_id}:").partition(":")[0]
    return reply.customer_acted_at if kind in OPENING_KINDS else None


def is_human_agent(tag: str | None) -> bool:
    """Tell whether a message tag is the one that only a person's message may have."""
    return tag is not None and tag.strip().upper() == HUMAN_AGENT
