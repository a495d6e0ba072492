"""Whether a reply may be sent at all, decided before anything is: the platform's rules and the precedence of people.

Pure. The rules themselves and their sources stand in `window`, `comment_rules` and `opt_ins`; `docs/rules.md` tells
them to the merchant. Here is their order, and what each action is bound by:

    into the person's thread   24 hours; then HUMAN_AGENT for what a person writes, a message tag over ManyChat, an
                               opt-in token; else withheld
    a reaction                 24 hours
    a private reply            7 days of its comment, live only while it is live
    a public reply             7 days of its comment, unless an agent writes it; not under a live broadcast, not under
                               what was hidden
    all of these, typing, seen not by the bot while a person answers, never to the account itself

A reaction, a flow and what is told to ManyChat can carry neither tag nor token.
"""

import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from common.events.replies import (
    IN_THREAD_ACTIONS,
    CommentReply,
    DirectMessage,
    Flow,
    MarkSeen,
    MentionReply,
    MessageReaction,
    PrivateReply,
    Reply,
    Typing,
)
from delivery.contacts import Contact
from delivery.rules import comment_rules, reasons, window
from delivery.rules.opt_ins import serving

HUMAN_AGENT = "HUMAN_AGENT"
WINDOW_CLOSED = "window_closed"
INVISIBLE = frozenset({"Cc", "Cf", "Mn", "Me"})
"""Unicode's categories of characters that show nothing by themselves."""

BLANK_LETTERS = frozenset("\u115f\u1160\u2800")
"""Characters of other categories that show nothing, as NFKC leaves them."""

BOT_ORIGINS = frozenset({"rule", "model", "apology"})
TYPING_LASTS = timedelta(seconds=20)
OPENING_KINDS = frozenset({"msg", "pb"})
"""The kinds of interactions, as their ids name them, that open the window: messages and postbacks."""

PUBLIC = (CommentReply, MentionReply)

SPEAKING = (*IN_THREAD_ACTIONS, PrivateReply, *PUBLIC)
"""What says something, to the person or in public."""

SHOWN = (*SPEAKING, MessageReaction, MarkSeen, Typing)
"""What the person notices. The rest is moderation, notes and alerts, which nobody's turn to speak holds up."""


@dataclass(frozen=True)
class Withhold:
    """The reply is not sent, on purpose. `detail` is a sentence for the merchant: why, and what to do."""

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Allow:
    """The reply may be sent, and how.

    only_tagged: only over ManyChat, with the message tag it has
    only_graph: only over the Graph API, because ManyChat takes neither HUMAN_AGENT from us nor a token
    human_agent: over the Graph API with the tag HUMAN_AGENT
    opt_in_token: over the Graph API to this token instead of the person's id, as one message
    """

    only_tagged: bool = False
    only_graph: bool = False
    human_agent: bool = False
    opt_in_token: str | None = field(default=None, repr=False)


def judge(
    reply: Reply,
    *,
    decided_at: datetime,
    contact: Contact | None,
    now: datetime,
    margin: timedelta,
    human_agent: bool = False,
) -> Allow | Withhold:
    """Decide whether a reply may be sent. `human_agent` tells whether Meta gave the account that feature."""
    action, bot = reply.action, reply.origin in BOT_ORIGINS
    myself = contact is not None and contact.is_self
    if isinstance(action, SHOWN) and (reply.contact_id == reply.account_id or (bot and myself)):
        return Withhold("own_account", reasons.OWN_ACCOUNT)
    if isinstance(action, DirectMessage) and is_human_agent(action.message_tag) and reply.origin != "human":
        return Withhold("human_agent_tag", reasons.HUMAN_AGENT_TAG)
    if isinstance(action, SHOWN) and bot and contact is not None and contact.is_with_a_person(decided_at, now):
        return Withhold("human_owns", reasons.human_owns(contact.owner_until))
    if isinstance(action, Typing) and now - decided_at > TYPING_LASTS:
        return Withhold("too_late", "the typing indicator would have ended by now")
    commented_at = min(reply.customer_acted_at, decided_at) if reply.customer_acted_at else None
    if isinstance(action, PrivateReply) and not comment_rules.private_reply_is_open(action, commented_at, now, margin):
        return Withhold("comment_too_old", reasons.comment_too_old(comment_rules.private_reply_window(action)))
    automatic = isinstance(action, PUBLIC) and reply.origin != "human"
    if automatic and not comment_rules.public_reply_is_open(commented_at, now, margin):
        return Withhold("comment_too_old", reasons.comment_too_old_for_the_public(comment_rules.PUBLIC_REPLY_WINDOW))
    if isinstance(action, CommentReply) and action.live:
        return Withhold("comment_live", reasons.COMMENT_LIVE)
    hidden = contact.hidden_comments if contact is not None else frozenset()
    if isinstance(action, CommentReply) and comment_rules.is_under_hidden(action, hidden):
        return Withhold("comment_hidden", reasons.COMMENT_HIDDEN)
    if isinstance(action, (*IN_THREAD_ACTIONS, MessageReaction)) and not myself:
        return _in_thread(reply, decided_at, contact, now, margin, human_agent=human_agent)
    return Allow()


def _in_thread(
    reply: Reply, decided_at: datetime, contact: Contact | None, now: datetime, margin: timedelta, *, human_agent: bool
) -> Allow | Withhold:
    """Decide about what goes into the person's thread."""
    action = reply.action
    last = last_opened(contact, reply, decided_at)
    if window.is_open(last, now, margin):
        return Allow()
    if not isinstance(action, Flow | MessageReaction):
        by_person = reply.origin == "human" and human_agent and window.is_open_for_people(last, now, margin)
        tag = action.message_tag if isinstance(action, DirectMessage) else None
        tagged = bool(tag) and (by_person or not is_human_agent(tag))
        if by_person or tagged:
            return Allow(only_tagged=not by_person, only_graph=not tagged, human_agent=by_person)
        token = serving(contact.opt_ins, reply.reply_id, now, margin) if contact is not None else None
        if token is not None:
            return Allow(only_graph=True, opt_in_token=token.token)
    return Withhold(
        WINDOW_CLOSED,
        reasons.window_closed(last, now, margin, by_person=reply.origin == "human", human_agent=human_agent),
    )


def last_opened(contact: Contact | None, reply: Reply, decided_at: datetime) -> datetime | None:
    """Return when the customer last opened the window, as far as the contact or the reply itself tells.

    What is answered may not have been observed yet. It was done before the reply was decided, whatever date a webhook
    gave it.
    """
    answered = acted_at(reply)
    return window.latest(contact.last_customer_at if contact else None, min(answered, decided_at) if answered else None)


def acted_at(reply: Reply) -> datetime | None:
    """Return when the customer did what the reply answers, if that opens the window: a comment does not."""
    if reply.in_reply_to is None:
        return None
    kind = reply.in_reply_to.removeprefix(f"{reply.account_id}:").partition(":")[0]
    return reply.customer_acted_at if kind in OPENING_KINDS else None


def is_human_agent(tag: str | None) -> bool:
    """Tell whether a message tag is the one that only a person's message may have, however it is written.

    Full-width letters, other cases, white space and characters that nobody sees are no way round it.
    """
    if tag is None:
        return False
    seen = "".join(
        c
        for c in unicodedata.normalize("NFKC", tag)
        if not (c.isspace() or c in BLANK_LETTERS or unicodedata.category(c) in INVISIBLE)
    )
    return seen.casefold() == HUMAN_AGENT.casefold()
