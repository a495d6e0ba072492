"""`conversations.controlled.v1`: who answers a conversation, a person or Jawab."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from common.bounds import Int64
from common.events.envelope import Contract, Event
from common.events.ids import conversation_id

CONTROL = "conversations.controlled.v1"


class LogPosition(Contract):
    """A place in the log: what lies before it came before, whatever any clock says."""

    partition: Int64
    offset: Int64


class Control(Contract):
    """A change of who answers."""

    merchant_id: str
    account_id: str
    contact_id: str
    by: str = Field(description="Who decided: a person's id from the token, or `jawab`.")
    reason: str = ""
    log: LogPosition | None = Field(
        default=None,
        description="How far the conversation's partition of interactions reached when this was decided.",
    )

    @property
    def conversation_id(self) -> str:
        """The conversation this belongs to."""
        return conversation_id(self.account_id, self.contact_id)


class _ControlEvent(Event):
    topic: ClassVar[str] = CONTROL
    data: Control


class ConversationTakenOver(_ControlEvent):
    """A person answers from here on."""

    type: Literal["com.jawab.conversation.takenover.v1"] = "com.jawab.conversation.takenover.v1"


class ConversationReleased(_ControlEvent):
    """Jawab answers again."""

    type: Literal["com.jawab.conversation.released.v1"] = "com.jawab.conversation.released.v1"


class ConversationResolved(_ControlEvent):
    """The matter is closed: what was said before is no longer context."""

    type: Literal["com.jawab.conversation.resolved.v1"] = "com.jawab.conversation.resolved.v1"


ControlEvent = Annotated[
    ConversationTakenOver | ConversationReleased | ConversationResolved, Field(discriminator="type")
]
