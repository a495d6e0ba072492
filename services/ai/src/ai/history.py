"""What was said in a conversation so far, as the service keeps it: bounded, oldest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from common.events.control import LogPosition
from common.merchants import Channel

Role = Literal["customer", "assistant", "human"]

LONGEST_LINE = 1000
"""Characters of one line that are kept beside the conversation; the whole text is in `messages`."""
CLOCKS_DIFFER = timedelta(minutes=5)
"""By how much a clock of ours may be behind the platform's; a message that is dated further ahead is dated wrongly."""

LOG_REPLACED_AFTER = timedelta(hours=1)
"""No clock of a running service is so far off: what came in so much later than a release came in after it, also where
the offsets say otherwise, because the topic was made anew or the cluster changed."""

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
    position: LogPosition | None = None

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
        if self.position is not None:
            document["position"] = self.position.model_dump()
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
            position=position_of(document),
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
    position: LogPosition | None = None

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
            **({"position": self.position.model_dump()} if self.position else {}),
        }

    @property
    def came_in(self) -> datetime:
        """When it came in, by the clocks of those who took it in."""
        return came_in(self.stored_at, self.received_at_ms, self.at)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Unanswered":
        """Read a stored one."""
        fields = {name: document[name] for name in cls.__dataclass_fields__ if name in document}
        return cls(**{**fields, "position": position_of(document)})


def position_of(document: Mapping[str, Any]) -> LogPosition | None:
    """Return where the record of a stored message lies in the log; None for what an earlier version stored."""
    stored = document.get("position")
    return LogPosition.model_validate(stored) if stored else None


def came_in(stored_at: datetime, received_at_ms: int, at: datetime) -> datetime:
    """Return when a message came in: before it was stored, if a backlog or a later copy of it lies between.

    It did not come in before it was written (`at`, by the platform's clock): a clock of ours that says so is behind.
    """
    if not received_at_ms:
        return stored_at
    taken_in = min(stored_at, datetime.fromtimestamp(received_at_ms / 1000, UTC))
    return at if taken_in < at <= taken_in + CLOCKS_DIFFER else taken_in


@dataclass(frozen=True)
class Conversation:
    """What deciding needs to know about a conversation."""

    id: str
    recent: Sequence[Line] = ()
    unanswered: tuple[Unanswered, ...] = ()
    language: str | None = None
    human_until: datetime | None = None
    answers_from: datetime | None = None
    answers_from_offsets: Mapping[str, int] = field(default_factory=dict)
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

    def human_owned(self, at: datetime, position: LogPosition | None = None) -> bool:
        """Tell whether a message that came in at `at` is an agent's to answer; `position` is where its record lies.

        Until the quiet time after a person's own message or takeover is over, and for what came in before it was given
        back: a redelivery must not have Jawab answer what a person was responsible for.
        """
        return (self.human_until is not None and at < self.human_until) or self._was_given_back_after(at, position)

    def _was_given_back_after(self, at: datetime, position: LogPosition | None) -> bool:
        """Tell it by the log, where the message and the release have their places in the same partition of it."""
        given_back = self.answers_from_offsets.get(str(position.partition)) if position is not None else None
        if position is not None and given_back is not None:
            return position.offset < given_back and not self._is_of_another_log(at)
        return self.answers_from is not None and at < self.answers_from

    def _is_of_another_log(self, at: datetime) -> bool:
        """Tell whether a message came in so long after the release that its lower offset is one of another log."""
        return self.answers_from is not None and at >= self.answers_from + LOG_REPLACED_AFTER
