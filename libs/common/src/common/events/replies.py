"""What is to be sent: `replies.generated.v1` carries what customers wait for, decided by the AI service or by a rule,
`replies.requested.v1` what a merchant's programs ask for over HTTP, which may be a broadcast."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from common.bounds import Int64
from common.events.envelope import Contract, Event
from common.events.ids import conversation_id

REPLIES = "replies.generated.v1"
REQUESTED = "replies.requested.v1"

Origin = Literal["rule", "model", "apology", "api", "human"]


class QuickReply(Contract):
    """A tappable answer under a message; tapping it sends `payload` back.

    A payload `flow:<flow_ns>` starts a ManyChat flow instead, and goes over ManyChat only.
    """

    title: str = Field(repr=False)
    payload: str


class Button(Contract):
    """A button of a card or a text: it opens `url`, or sends `payload` back. Exactly one of the two is given.

    A payload `flow:<flow_ns>` starts a ManyChat flow instead, and goes over ManyChat only.
    """

    title: str = Field(repr=False)
    url: str | None = None
    payload: str | None = None

    @model_validator(mode="after")
    def _does_one_thing(self) -> Self:
        if (self.url is None) == (self.payload is None):
            raise ValueError("a button needs either url or payload")
        return self


class Card(Contract):
    """One card of a row that can be swiped: the platform's generic template calls it an element."""

    title: str = Field(repr=False)
    subtitle: str | None = Field(default=None, repr=False)
    image_url: str | None = None
    url: str | None = Field(default=None, description="What tapping the card opens.")
    buttons: tuple[Button, ...] = ()


class DirectMessage(Contract):
    """A message into the person's thread. Text longer than 1,000 UTF-8 bytes is split by delivery."""

    kind: Literal["direct_message"] = "direct_message"
    text: str = Field(min_length=1, repr=False)
    quick_replies: tuple[QuickReply, ...] = Field(default=(), description="Shown under the last part.")
    message_tag: str | None = Field(default=None, description="A ManyChat message tag, for sends outside the window.")


class MediaMessage(Contract):
    """Images, or one video, voice message or file, by their public links; the platform fetches them."""

    kind: Literal["media_message"] = "media_message"
    media: Literal["image", "video", "audio", "file"]
    urls: tuple[str, ...] = Field(min_length=1, repr=False)


class Heart(Contract):
    """The heart sticker."""

    kind: Literal["heart"] = "heart"


class SharedPost(Contract):
    """One of the account's own posts."""

    kind: Literal["shared_post"] = "shared_post"
    media_id: str


class Cards(Contract):
    """Cards to swipe through: Meta's generic template, ManyChat's cards."""

    kind: Literal["cards"] = "cards"
    cards: tuple[Card, ...] = Field(min_length=1)


class Buttons(Contract):
    """A text with buttons: Meta's button template."""

    kind: Literal["buttons"] = "buttons"
    text: str = Field(min_length=1, repr=False)
    buttons: tuple[Button, ...] = Field(min_length=1)


class MessageReaction(Contract):
    """A reaction to a message of the person, or, without `reaction`, its removal."""

    kind: Literal["reaction"] = "reaction"
    mid: str
    reaction: str | None = "love"


class MarkSeen(Contract):
    """Tells the person that their messages were seen."""

    kind: Literal["mark_seen"] = "mark_seen"


class Flow(Contract):
    """Starts one of the merchant's ManyChat flows for the person."""

    kind: Literal["flow"] = "flow"
    flow_ns: str = Field(min_length=1)


class SubscriberChange(Contract):
    """Changes what ManyChat knows of the person: one tag, or one custom field."""

    kind: Literal["subscriber_change"] = "subscriber_change"
    change: Literal["add_tag", "remove_tag", "set_field_value", "unset_field_value"]
    name: str = Field(min_length=1, description="The tag's or the custom field's name in ManyChat.")
    value: str | Int64 | float | bool | None = Field(default=None, repr=False, description="For set_field_value.")


class PrivateReply(Contract):
    """A direct message that answers a comment: one per comment, within 7 days of it."""

    kind: Literal["private_reply"] = "private_reply"
    comment_id: str
    text: str = Field(min_length=1, repr=False)
    live: bool = Field(default=False, description="Under a live broadcast: possible only while it is live.")


class CommentReply(Contract):
    """A public answer under a comment."""

    kind: Literal["comment_reply"] = "comment_reply"
    comment_id: str
    text: str = Field(min_length=1, repr=False)
    parent_id: str | None = Field(default=None, description="The top-level comment, where `comment_id` answers one.")
    live: bool = Field(default=False, description="Under a live broadcast, where no public answer is possible.")

    @property
    def under(self) -> str:
        """The comment under which the platform puts the answer: always a top-level one."""
        return self.parent_id or self.comment_id


class MentionReply(Contract):
    """A public comment under the media, or the comment, that mentions the account; it cannot be deleted later."""

    kind: Literal["mention_reply"] = "mention_reply"
    media_id: str
    comment_id: str | None = None
    text: str = Field(min_length=1, repr=False)


class HideComment(Contract):
    """Hides a comment from the public, or shows it again."""

    kind: Literal["hide_comment"] = "hide_comment"
    comment_id: str
    hidden: bool = True


class DeleteComment(Contract):
    """Deletes a comment under the account's own media."""

    kind: Literal["delete_comment"] = "delete_comment"
    comment_id: str


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
    DirectMessage
    | MediaMessage
    | Heart
    | SharedPost
    | Cards
    | Buttons
    | MessageReaction
    | MarkSeen
    | Flow
    | SubscriberChange
    | PrivateReply
    | CommentReply
    | MentionReply
    | HideComment
    | DeleteComment
    | Typing
    | OperatorNotification,
    Field(discriminator="kind"),
]

InThread = DirectMessage | MediaMessage | Heart | SharedPost | Cards | Buttons | Flow
"""What speaks in the person's thread and therefore needs an open messaging window; a private reply has its own rule."""

IN_THREAD_ACTIONS = (DirectMessage, MediaMessage, Heart, SharedPost, Cards, Buttons, Flow)
"""The same, for `isinstance`."""


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
    received_at_ms: Int64 = Field(default=0, description="When ingest received that, ms since the epoch: for latency.")

    @property
    def conversation_id(self) -> str:
        """The conversation this belongs to."""
        return conversation_id(self.account_id, self.contact_id)


class ReplyGenerated(Event):
    """A reply was decided and is to be delivered."""

    topic: ClassVar[str] = REPLIES
    type: Literal["com.jawab.reply.generated.v1"] = "com.jawab.reply.generated.v1"
    data: Reply


class ReplyRequested(ReplyGenerated):
    """A merchant's own systems ask for something to be sent: handled like any reply, but in a topic of its own.

    A broadcast may fill that topic's partitions; the answers that customers wait for are read all the same.
    """

    topic: ClassVar[str] = REQUESTED
    type: Literal["com.jawab.reply.requested.v1"] = "com.jawab.reply.requested.v1"  # type: ignore[assignment]  # its own name
