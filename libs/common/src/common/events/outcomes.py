"""`replies.delivered.v1`: what became of a reply, and what a person wrote from the account without us."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from common.bounds import Int64
from common.events.envelope import Contract, Event
from common.events.ids import conversation_id
from common.events.replies import Origin

OUTCOMES = "replies.delivered.v1"

ACCOUNT_STOPPED = (
    "Nothing was sent, because the account has no way to send until the merchant or Meta mends it: what the customer "
    "wrote waits for that."
)

Route = Literal["manychat", "graph", "operator", "none"]


class Outcome(Contract):
    """What all outcomes say."""

    merchant_id: str
    account_id: str
    contact_id: str | None = None

    @property
    def conversation_id(self) -> str:
        """The conversation this belongs to."""
        return conversation_id(self.account_id, self.contact_id)


class ReplyOutcome(Outcome):
    """What all outcomes of one of our replies say."""

    reply_id: str
    decision_id: str | None = None
    kind: str = Field(description="The kind of action: direct_message, comment_reply, ...")
    origin: Origin | None = Field(default=None, description="Who wanted it, where that is known.")


class Delivered(ReplyOutcome):
    """It was accepted by the platform."""

    route: Route
    message_ids: tuple[str, ...] = Field(default=(), description="The platform's ids of the parts, in order.")
    milliseconds: Int64 | None = Field(default=None, description="From the webhook's arrival to here.")


class Failed(ReplyOutcome):
    """It was refused for good."""

    route: Route
    reason: str = Field(description="A stable code, e.g. window_closed, token_expired, person_unavailable.")
    detail: str = Field(default="", description="What the provider said, and what to do about it.")
    account_stopped: bool = Field(default=False, description=ACCOUNT_STOPPED)


class Suppressed(ReplyOutcome):
    """We did not send it, on purpose."""

    reason: str = Field(description="A stable code, e.g. window_closed, human_owns, unknown_merchant.")
    detail: str = ""
    account_stopped: bool = Field(default=False, description=ACCOUNT_STOPPED)


class OutcomeUnknown(ReplyOutcome):
    """The request left and nothing says what became of it; it is not repeated blindly."""

    route: Route
    evidence: str


class HumanReply(Outcome):
    """A person answered from the account: an echo that nobody here sent."""

    mid: str
    text: str | None = Field(default=None, repr=False)


class _OutcomeEvent(Event):
    topic: ClassVar[str] = OUTCOMES


class ReplyDelivered(_OutcomeEvent):
    """A reply reached the platform."""

    type: Literal["com.jawab.reply.delivered.v1"] = "com.jawab.reply.delivered.v1"
    data: Delivered


class ReplyFailed(_OutcomeEvent):
    """A reply was refused for good."""

    type: Literal["com.jawab.reply.failed.v1"] = "com.jawab.reply.failed.v1"
    data: Failed


class ReplySuppressed(_OutcomeEvent):
    """A reply was withheld, with a reason."""

    type: Literal["com.jawab.reply.suppressed.v1"] = "com.jawab.reply.suppressed.v1"
    data: Suppressed


class ReplyOutcomeUnknown(_OutcomeEvent):
    """Nobody knows yet whether a reply arrived."""

    type: Literal["com.jawab.reply.outcomeunknown.v1"] = "com.jawab.reply.outcomeunknown.v1"
    data: OutcomeUnknown


class HumanReplied(_OutcomeEvent):
    """A person answered the customer from the account."""

    type: Literal["com.jawab.human.replied.v1"] = "com.jawab.human.replied.v1"
    data: HumanReply


OutcomeEvent = Annotated[
    ReplyDelivered | ReplyFailed | ReplySuppressed | ReplyOutcomeUnknown | HumanReplied,
    Field(discriminator="type"),
]
