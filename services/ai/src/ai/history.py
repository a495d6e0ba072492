"""What was said in a conversation so far, as the service keeps it: bounded, oldest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from common.merchants import Channel

Role = Literal["customer", "assistant", "human"]

LONGEST_LINE = 1000
"""Characters of one line that are kept beside the conversation; the whole text is in `messages`."""
MOST_IMAGES = 4
"""Links of one line that are kept beside it."""


@dataclass(frozen=True)
class Line:
    """One thing said. `id` is the event's or the reply's id, `human` a person of the shop.

    The first `placeholder` characters of a customer's text stand for what cannot be seen: "[image] ". `images` are
    links to what was sent along, `reply_to` is the platform's id of the message it answers, `mids` are its own.
    """

    id: str
    role: Role
    text: str = field(repr=False)
    at: datetime
    channel: Channel = "direct_message"
    mid: str | None = None
    placeholder: int = 0
    reply_to: str | None = None
    images: tuple[str, ...] = field(default=(), repr=False)
    mids: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """What the writer typed."""
        return self.text[self.placeholder :].strip()

    def to_document(self) -> dict[str, Any]:
        """Return what is stored in `conversations.recent`."""
        document: dict[str, Any] = {
            "id": self.id,
            "role": self.role,
            "text": self.text[:LONGEST_LINE],
            "at": self.at,
            "channel": self.channel,
        }
        if self.mid is not None:
            document["mids"] = [self.mid]
        optional = {"placeholder": self.placeholder, "reply_to": self.reply_to, "images": list(self.images)}
        document |= {name: value for name, value in optional.items() if value}
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Line":
        """Read a stored line."""
        return cls(
            id=document["id"],
            role=document["role"],
            text=document.get("text") or "",
            at=document["at"],
            channel=document.get("channel", "direct_message"),
            placeholder=document.get("placeholder", 0),
            reply_to=document.get("reply_to"),
            images=tuple(document.get("images", ())),
            mids=tuple(document.get("mids", ())),
        )


@dataclass(frozen=True)
class Unanswered:
    """A customer's message that no decision covers yet.

    `closes` says that its turn ends with it and is being answered: whoever comes upon it later answers the same turn.
    `again` says that its answer could not be sent because the account was stopped: the next message's answer covers it.
    """

    id: str
    at: datetime
    stored_at: datetime
    received_at_ms: int = 0
    channel: Channel = "direct_message"
    closes: bool = False
    again: bool = False

    def to_document(self) -> dict[str, Any]:
        """Return what is stored in `conversations.unanswered`."""
        return {
            "id": self.id,
            "at": self.at,
            "stored_at": self.stored_at,
            "received_at_ms": self.received_at_ms,
            "channel": self.channel,
            "closes": self.closes,
            **({"again": True} if self.again else {}),
        }

    @property
    def came_in(self) -> datetime:
        """When ingest received it; when it was stored here, where that is not known."""
        return came_in(self.stored_at, self.received_at_ms)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Unanswered":
        """Read a stored one."""
        return cls(**{name: document[name] for name in cls.__dataclass_fields__ if name in document})


def came_in(stored_at: datetime, received_at_ms: int) -> datetime:
    """Return when a message came in: before it was stored, if a backlog or a later copy of it lies between."""
    if not received_at_ms:
        return stored_at
    return min(stored_at, datetime.fromtimestamp(received_at_ms / 1000, UTC))


@dataclass(frozen=True)
class Conversation:
    """What deciding needs to know about a conversation."""

    id: str
    recent: Sequence[Line] = ()
    unanswered: tuple[Unanswered, ...] = ()
    language: str | None = None
    human_until: datetime | None = None
    answers_from: datetime | None = None
    attention: str | None = None

    def awaits(self, message_id: str) -> bool:
        """Tell whether a message still waits for its decision."""
        return any(message.id == message_id for message in self.unanswered)

    def waits_again(self, message_id: str) -> bool:
        """Tell whether a message was decided about and waits for the answer to a later one all the same."""
        return any(message.id == message_id and message.again for message in self.unanswered)

    def without(self, covered: Sequence[str]) -> "Conversation":
        """Return the conversation as it is when a decision covers these messages."""
        return replace(self, unanswered=tuple(one for one in self.unanswered if one.id not in covered))

    def human_owned(self, at: datetime) -> bool:
        """Tell whether a message that came in at `at` is a person's to answer.

        Until the quiet time after a person's own message or takeover is over, and for what came in before it was given
        back: a redelivery must not have Jawab answer what a person was responsible for.
        """
        return (self.human_until is not None and at < self.human_until) or (
            self.answers_from is not None and at < self.answers_from
        )
