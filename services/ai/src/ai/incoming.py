"""One thing a customer said, whichever way it came: a message, a tapped button, a comment. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ai import described
from ai.history import MOST_IMAGES, Line, Unanswered
from common.events import AnyEvent
from common.events.control import LogPosition
from common.events.ids import interaction_id, same_username
from common.events.interactions import (
    Attachment,
    CommentReceived,
    LiveCommentReceived,
    Message,
    MessageEdited,
    MessageReceived,
    PostbackReceived,
)
from common.merchants import Channel

NOT_REMEMBERED = "[message]"

IMAGES = frozenset({"image"})
RECORDINGS = frozenset({"audio"})
"""The types of attachments that a model may look at, and that are transcribed."""

Answerable = MessageReceived | PostbackReceived | CommentReceived | LiveCommentReceived


@dataclass(frozen=True)
class Incoming:
    """What a customer said. `text` is what rules look at; `shown` what the model and the history get.

    `images` and `recordings` are the platform's links to what was sent along; `reply_to` is the mid it answers;
    `position` is where its record lies in the log;
    `announced`: it is known from an edit alone.
    """

    id: str
    account_id: str
    contact_id: str | None
    conversation_id: str
    channel: Channel
    at: datetime
    text: str = field(repr=False)
    shown: str = field(repr=False)
    received_at_ms: int = 0
    standby: bool = False
    mid: str | None = None
    reply_to: str | None = None
    comment_id: str | None = None
    media_id: str | None = None
    parent_id: str | None = None
    live: bool = False
    attachments: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    images: tuple[str, ...] = field(default=(), repr=False)
    recordings: tuple[str, ...] = field(default=(), repr=False)
    ad_id: str | None = None
    announced: bool = False
    traceparent: str | None = None
    prefix: str = ""
    position: LogPosition | None = None

    def reworded(self, text: str) -> "Incoming":
        """Return the same with another text: its writer changed it before it was handled."""
        return replace(self, text=text, shown=_joined(self.prefix, text))

    def heard(self, transcript: str) -> "Incoming":
        """Return the same with its recordings in words; an empty transcript: they could not be heard."""
        if not transcript:
            prefix = self.prefix.replace(f"[{described.VOICE}", f"[{described.UNHEARD}")
            return replace(self, prefix=prefix, shown=_joined(prefix, self.text))
        return self.reworded("\n".join(filter(None, (self.text, transcript))))

    @property
    def in_thread(self) -> bool:
        """Whether it is answered in the thread: a comment is answered by itself, what another app owns not at all."""
        return self.channel == "direct_message" and not self.standby

    def line(self) -> Line:
        """Return it as a line of the conversation."""
        placeholder = len(self.shown) - len(self.text) if self.shown.endswith(self.text) else 0
        return Line(
            id=self.id,
            role="customer",
            text=self.shown,
            at=self.at,
            channel=self.channel,
            mid=self.mid,
            placeholder=placeholder,
            reply_to=self.reply_to,
            images=self.images[:MOST_IMAGES],
            position=self.position,
        )

    def unanswered(self, *, stored_at: datetime, closes: bool) -> Unanswered:
        """Return it as a message that waits for its decision."""
        return Unanswered(
            id=self.id,
            at=self.at,
            stored_at=stored_at,
            received_at_ms=self.received_at_ms,
            channel=self.channel,
            closes=closes,
            position=self.position,
        )

    def recalled(self, message: Unanswered, line: Line | None) -> "Incoming":
        """Return an earlier message of the same thread, as far as the conversation remembers it."""
        return Incoming(
            id=message.id,
            account_id=self.account_id,
            contact_id=self.contact_id,
            conversation_id=self.conversation_id,
            channel=message.channel,
            at=message.at,
            text=line.words if line is not None else "",
            shown=line.text if line is not None else NOT_REMEMBERED,
            received_at_ms=message.received_at_ms,
            position=message.position,
            reply_to=line.reply_to if line is not None else None,
            images=line.images if line is not None else (),
            traceparent=self.traceparent,
        )


def incoming(event: Answerable) -> Incoming | None:
    """Return what a customer said, or None where nobody is to be answered: the account itself, or nobody named."""
    data = event.data
    if data.contact_id is None or data.contact_id == data.account_id or data.is_self:
        return None
    about: dict[str, Any] = {
        "id": event.id,
        "account_id": data.account_id,
        "contact_id": data.contact_id,
        "conversation_id": data.conversation_id,
        "at": event.time,
        "received_at_ms": data.received_at_ms,
        "standby": data.standby,
        "traceparent": event.traceparent,
    }
    match event:
        case MessageReceived():
            return _message(event, about)
        case PostbackReceived(data=tapped):
            text = (tapped.title or tapped.payload or "").strip()
            prefix = described.of_postback(tapped)
            return Incoming(
                **about,
                channel="direct_message",
                text=text,
                shown=_joined(prefix, text) or "[button]",
                prefix=prefix,
                mid=tapped.mid,
                ad_id=tapped.referral.ad_id if tapped.referral else None,
            )
        case CommentReceived(data=comment) | LiveCommentReceived(data=comment):
            if comment.from_account:
                return None
            text = (comment.text or "").strip()
            return Incoming(
                **about,
                channel="comment",
                text=text,
                shown=text or "[comment without text]",
                comment_id=comment.comment_id,
                parent_id=comment.parent_id,
                live=isinstance(event, LiveCommentReceived) or comment.media_product_type == "LIVE",
                ad_id=comment.ad_id,
            )


def announced(event: MessageEdited) -> MessageReceived:
    """Return the message that an edit announces, as far as the edit tells it."""
    edit = event.data
    return MessageReceived(
        id=interaction_id(edit.account_id, "msg", edit.mid),
        source=event.source,
        subject=event.subject,
        partitionkey=event.partitionkey,
        time=event.time,
        traceparent=event.traceparent,
        causationid=event.id,
        data=Message(
            account_id=edit.account_id,
            contact_id=edit.contact_id,
            envelope=edit.envelope,
            standby=edit.standby,
            is_self=edit.is_self,
            received_at_ms=edit.received_at_ms,
            mid=edit.mid,
            text=edit.text,
            known_from="edit",
        ),
    )


def brings(message_id: str) -> Callable[[AnyEvent], bool]:
    """Return what tells whether an event is that message itself."""

    def is_it(event: AnyEvent) -> bool:
        return isinstance(event, MessageReceived) and event.id == message_id and event.data.known_from == "message"

    return is_it


def is_username(one: str | None, other: str | None) -> bool:
    """Tell whether two usernames are known and the same."""
    return bool(one and other and same_username(one) == same_username(other))


def _message(event: MessageReceived, about: dict[str, Any]) -> Incoming:
    message = event.data
    text = (message.text or message.quick_reply or "").strip()
    prefix = described.of_message(message)
    return Incoming(
        **about,
        channel="direct_message",
        text=text,
        shown=_joined(prefix, text) or "[empty message]",
        prefix=prefix,
        mid=message.mid,
        reply_to=message.reply_to.mid if message.reply_to is not None else None,
        images=_links(message.attachments, IMAGES),
        recordings=_links(message.attachments, RECORDINGS),
        attachments=_kept(message),
        ad_id=message.referral.ad_id if message.referral else None,
        announced=message.known_from == "edit",
    )


def _links(attachments: tuple[Attachment, ...], kinds: frozenset[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.url for one in attachments if one.type in kinds and one.url))


def _kept(message: Message) -> tuple[dict[str, Any], ...]:
    """Return what is stored of a message's media: links and names, the story it answers among them, never media."""
    kept = [attachment.model_dump(exclude_none=True) for attachment in message.attachments]
    to = message.reply_to
    if to is not None and (to.story_id or to.story_url):
        story = {"type": "story_reply", "url": to.story_url, "media_id": to.story_id}
        kept.append({name: value for name, value in story.items() if value is not None})
    return tuple(kept)


def _joined(prefix: str, text: str) -> str:
    return f"{prefix} {text}".strip()
