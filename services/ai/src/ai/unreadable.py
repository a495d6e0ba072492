"""What a customer did and nobody here can read or answer: an agent is called, so that it does not end in silence.

    message_unreadable    a message that the platform announced without its words and would not show
    event_unknown         an item of a kind that did not exist when this was written, or that lacks what it is about
    author_unknown        a comment whose author cannot be told from the account itself: an answer could answer itself

Each is a decision of its own, stored before anything is published, and covers nothing else: what the customer writes
beside it is answered as ever. While an agent is called to the conversation for the same reason, or answers it, the
decision is stored without another call.
"""

from datetime import datetime
from typing import Final, Literal, Protocol

import structlog

from ai.announcing import Announcer
from ai.history import Conversation, came_in
from ai.incoming import Incoming, announced, incoming, is_username
from ai.language import language_of
from ai.notices import mention
from ai.ruling import Rulings
from common.clock import Clock
from common.events import AnyEvent
from common.events.ids import USERNAME_CONTACT
from common.events.interactions import (
    CommentReceived,
    InteractionEvent,
    LiveCommentReceived,
    MentionReceived,
    MessageEdited,
    MessageReceived,
    PostbackReceived,
    UnknownReceived,
)
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchant

log = structlog.get_logger("ai")

Reason = Literal["message_unreadable", "event_unknown", "author_unknown"]

UTTERANCES: Final = frozenset(
    {"message", "messages", "message_edit", "message_edits", "postback", "comments", "live_comments", "mentions"}
)
"""Keys and fields of items in which a customer says something, also where the item does not name the customer."""


class Conversations(Protocol):
    """Keeps conversations."""

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None."""
        ...

    async def request_agent(self, said: Incoming, *, merchant_id: str, reason: str, now: datetime) -> None:
        """Call an agent to a conversation, which begins here if it has not."""
        ...


class Unreadable:
    """Calls agents to what cannot be read."""

    def __init__(self, *, conversations: Conversations, rulings: Rulings, announcer: Announcer, clock: Clock) -> None:
        self._conversations = conversations
        self._rulings = rulings
        self._announcer = announcer
        self._clock = clock

    async def hand_over(
        self, merchant: Merchant, said: Incoming, reason: Reason
    ) -> Literal["handed_over", "republished", "observed"]:
        """Call an agent to `said`, once. Raises PyMongoError, KafkaError, Retryable: to be repeated then."""
        if (known := await self._announcer.covering(said.id)) is not None:
            await self._announcer.say(known)
            return "republished"
        now = self._clock.now()
        conversation = await self._conversations.find(said.conversation_id)
        if conversation is not None and conversation.human_owned(
            came_in(now, said.received_at_ms, said.at), said.position
        ):
            return "observed"
        called = conversation is not None and conversation.attention == reason
        decision = self._rulings.told(reason, merchant, said, language_of(said.text, None), repeated=called)
        decision = await self._announcer.store(decision)
        await self._announcer.say(decision)
        refuse_if_lost()
        await self._conversations.request_agent(said, merchant_id=merchant.id, reason=reason, now=now)
        log.warning("customer.not_readable", conversation=said.conversation_id, reason=reason)
        return "handed_over"


def reason_to_hand_over(event: InteractionEvent, merchant: Merchant) -> Reason | None:
    """Return why an agent has to look at an interaction instead of Jawab, None where Jawab can deal with it."""
    if event.data.standby or event.data.is_self:
        return None
    match event:
        case MessageReceived(data=message) if message.unreadable:
            return "message_unreadable"
        case UnknownReceived(data=unknown) if not unknown.from_account:
            keys = set((unknown.field or "").split(","))
            says_something = unknown.field is None or not UTTERANCES.isdisjoint(keys)
            return "event_unknown" if unknown.contact_id is not None or says_something else None
        case CommentReceived(data=comment) | LiveCommentReceived(data=comment) if not comment.from_account:
            if comment.contact_id is None:
                return "author_unknown"
            by_username = comment.contact_id.startswith(USERNAME_CONTACT)
            # The account's own answers stand below a comment: with a username that has changed they look like others'.
            return "author_unknown" if by_username and comment.parent_id and not is_own(event, merchant) else None
        case MessageReceived(data=data) | PostbackReceived(data=data) if data.contact_id is None:
            return "event_unknown"
        case MessageEdited(data=edit) if edit.contact_id is None and not edit.from_account:
            return "event_unknown"
        case _:
            return None


def is_own(event: InteractionEvent, merchant: Merchant) -> bool:
    """Tell whether a comment that names its author by username alone is the account's own."""
    return (
        isinstance(event, CommentReceived | LiveCommentReceived)
        and (event.data.contact_id or USERNAME_CONTACT).startswith(USERNAME_CONTACT)
        and is_username(event.data.username, merchant.username)
    )


def not_read(event: InteractionEvent) -> Incoming:
    """Return what is known of what cannot be read."""
    data = event.data
    comment = event.data if isinstance(event, CommentReceived | LiveCommentReceived) else None
    text = (comment.text or "").strip() if comment is not None else ""
    return Incoming(
        id=event.id,
        account_id=data.account_id,
        contact_id=data.contact_id,
        conversation_id=data.conversation_id,
        channel="comment" if comment is not None else "direct_message",
        at=event.time,
        text=text,
        shown=text or "[something that could not be read]",
        received_at_ms=data.received_at_ms,
        comment_id=comment.comment_id if comment is not None else None,
        traceparent=event.traceparent,
    )


def utterance(event: AnyEvent) -> Incoming | None:
    """Return what a customer said with an event, as far as it can be told; None where it is no customer's words.

    This is who is left without an answer if the event can never be handled.
    """
    match event:
        case MessageReceived() | PostbackReceived():
            return incoming(event) if event.data.contact_id is not None else not_read(event)
        case CommentReceived(data=data) | LiveCommentReceived(data=data) | MessageEdited(data=data) if (
            data.from_account
        ):
            return None
        case CommentReceived() | LiveCommentReceived():
            return incoming(event) if event.data.contact_id is not None else not_read(event)
        case MessageEdited():
            return incoming(announced(event)) if event.data.contact_id is not None else not_read(event)
        case MentionReceived():
            return mention(event)
        case UnknownReceived(data=unknown):
            return None if unknown.from_account or unknown.is_self else not_read(event)
        case _:
            return None
