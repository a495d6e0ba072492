"""`replies.generated.v1`: what is to be sent, decided by the AI service, by a rule, or asked for over HTTP."""

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, Field

from common.events.envelope import Contract, Event
from common.events.ids import conversation_id

REPLIES = "replies.generated.v1"

Origin = Literal["rule", "model", "apology", "api", "human"]


class DirectMessage(Contract):
    """A message into the person's thread. Text longer than 1,000 UTF-8 bytes is split by delivery."""

    kind: Literal["direct_message"] = "direct_message"
    text: str = Field(min_length=1, repr=False)
    message_tag: str | None = Field(default=None, description="A ManyChat message tag, for sends outside the window.")


class PrivateReply(Contract):
    """A direct message that answers a comment: one per comment, within 7 days of it."""

    kind: Literal["private_reply"] = "private_reply"
    comment_id: str
    text: str = Field(min_length=1, repr=False)


class CommentReply(Contract):
    """A public answer under a comment."""

    kind: Literal["comment_reply"] = "comment_reply"
    comment_id: str
    text: str = Field(min_length=1, repr=False)


class HideComment(Contract):
    """Hides a comment from the public, or shows it again."""

    kind: Literal["hide_comment"] = "hide_comment"
    comment_id: str
    hidden: bool = True


class Typing(Contract):
    """Shows or ends the typing indicator."""

    kind: Literal["typing"] = "typing"
    on: bool = True


class OperatorNotification(Contract):
    """Tells the merchant's people that one of them is needed."""

    kind: Literal["operator_notification"] = "operator_notification"
    reason: str = Field(description="A short, stable code, e.g. negative_comment, model_unavailable, escalated.")
    text: str = Field(repr=False)


Action = Annotated[
    DirectMessage | PrivateReply | CommentReply | HideComment | Typing | OperatorNotification,
    Field(discriminator="kind"),
]


class Reply(Contract):
    """One thing to send."""

    reply_id: str
    decision_id: str | None = Field(default=None, description="None when a person or a program asked for it.")
    merchant_id: str
    account_id: str
    contact_id: str | None = None
    origin: Origin
    action: Action
    in_reply_to: str | None = Field(default=None, description="The id of the interaction that is answered.")
    customer_acted_at: AwareDatetime | None = Field(
        default=None,
        description="When the customer did what is answered; opens the 24 h window if it does at all.",
    )
    received_at_ms: int = Field(default=0, description="When ingest received that, ms since the epoch: for latency.")

    @property
    def conversation_id(self) -> str:
        """The conversation this belongs to."""
        return conversation_id(self.account_id, self.contact_id)


class ReplyGenerated(Event):
    """A reply was decided and is to be delivered."""

    topic: ClassVar[str] = REPLIES
    type: Literal["com.jawab.reply.generated.v1"] = "com.jawab.reply.generated.v1"
    data: Reply
