"""One thing a customer said, whichever way it came: a message, a tapped button, a comment. Pure."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from ai.history import Line, Unanswered
from common.events.interactions import (
    Attachment,
    CommentReceived,
    LiveCommentReceived,
    MessageReceived,
    PostbackReceived,
)
from common.merchants import Channel

NOT_REMEMBERED = "[message]"

Answerable = MessageReceived | PostbackReceived | CommentReceived | LiveCommentReceived


@dataclass(frozen=True)
class Incoming:
    """What a customer said. `text` is what rules look at; `shown` what the model and the history get."""

    id: str
    account_id: str
    contact_id: str
    conversation_id: str
    channel: Channel
    at: datetime
    text: str = field(repr=False)
    shown: str = field(repr=False)
    received_at_ms: int = 0
    standby: bool = False
    mid: str | None = None
    comment_id: str | None = None
    live: bool = False
    attachments: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    ad_id: str | None = None
    traceparent: str | None = None
    prefix: str = ""

    def reworded(self, text: str) -> "Incoming":
        """Return the same with another text: its writer changed it before it was handled."""
        return replace(self, text=text, shown=_joined(self.prefix, text))

    @property
    def in_thread(self) -> bool:
        """Whether it is answered in the thread: a comment is answered by itself, what another app owns not at all."""
        return self.channel == "direct_message" and not self.standby

    def line(self) -> Line:
        """Return it as a line of the conversation."""
        placeholder = len(self.shown) - len(self.text) if self.shown.endswith(self.text) else 0
        return Line(
            id=self.id, role="customer", text=self.shown, at=self.at, channel=self.channel, placeholder=placeholder
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
            text = (tapped.title or "").strip()
            ad = tapped.referral.ad_id if tapped.referral else None
            return Incoming(
                **about, channel="direct_message", text=text, shown=text or "[button]", mid=tapped.mid, ad_id=ad
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
                live=isinstance(event, LiveCommentReceived) or comment.media_product_type == "LIVE",
                ad_id=comment.ad_id,
            )


def _message(event: MessageReceived, about: dict[str, Any]) -> Incoming:
    message = event.data
    text = (message.text or message.quick_reply or "").strip()
    prefix = placeholders(
        message.attachments,
        story_reply=message.reply_to is not None and bool(message.reply_to.story_id or message.reply_to.story_url),
        unsupported=message.is_unsupported,
    )
    return Incoming(
        **about,
        channel="direct_message",
        text=text,
        shown=_joined(prefix, text) or "[empty message]",
        prefix=prefix,
        mid=message.mid,
        attachments=tuple(attachment.model_dump(exclude_none=True) for attachment in message.attachments),
        ad_id=message.referral.ad_id if message.referral else None,
    )


def placeholders(attachments: tuple[Attachment, ...], *, story_reply: bool, unsupported: bool) -> str:
    """Return words in brackets for what a model cannot see, each kind once: "[story reply] [image]"."""
    kinds = ["story reply"] if story_reply else []
    kinds += [attachment.type.replace("_", " ")[:40] for attachment in attachments]
    if unsupported and not kinds:
        kinds = ["unsupported message"]
    return " ".join(f"[{kind}]" for kind in dict.fromkeys(kinds))


def _joined(prefix: str, text: str) -> str:
    return f"{prefix} {text}".strip()
