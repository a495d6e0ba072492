"""What was said in a conversation so far, as the service keeps it: bounded, oldest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from common.merchants import Channel

Role = Literal["customer", "assistant", "human"]

LONGEST_LINE = 1000
"""Characters of one line that are kept beside the conversation; the whole text is in `messages`."""


@dataclass(frozen=True)
class Line:
    """One thing said. `id` is the event's or the reply's id, `human` a person of the shop."""

    id: str
    role: Role
    text: str = field(repr=False)
    at: datetime
    channel: Channel = "direct_message"
    mid: str | None = None

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
        )


@dataclass(frozen=True)
class Conversation:
    """What deciding needs to know about a conversation."""

    id: str
    recent: Sequence[Line] = ()
    language: str | None = None
    owner: Literal["bot", "human"] = "bot"
    human_until: datetime | None = None
    answers_from: datetime | None = None

    def human_owned(self, at: datetime) -> bool:
        """Tell whether a message that was stored at `at` is a person's to answer.

        Until the pause after a person's own message is over, while a person has taken over, and for what came in before
        it was given back: a redelivery must not have Jawab answer what a person was responsible for.
        """
        return (
            self.owner == "human"
            or (self.human_until is not None and at < self.human_until)
            or (self.answers_from is not None and at < self.answers_from)
        )
