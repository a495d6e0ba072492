"""`interactions.received.v1`: what a customer, or the account itself, did on the platform.

One event for one webhook item. `data.original` keeps the item as it came, so that a mended parser can read the day
again; nothing but the parser and replay may look into it. What the events say is in `interaction_data`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from common.events.envelope import Event
from common.events.interaction_data import (
    Attachment,
    Comment,
    Echo,
    Edit,
    Envelope,
    FeedChange,
    Handover,
    Interaction,
    Mention,
    Message,
    OptIn,
    Permission,
    PolicyEnforcement,
    Postback,
    Reaction,
    Read,
    Receipt,
    Referral,
    ReferralOpened,
    ReplyTo,
    StoryInsights,
    Unknown,
    Unsend,
)

__all__ = [
    "INTERACTIONS",
    "Attachment",
    "Comment",
    "CommentReceived",
    "Echo",
    "EchoReceived",
    "Edit",
    "Envelope",
    "FeedChange",
    "FeedChanged",
    "Handover",
    "HandoverReceived",
    "Interaction",
    "InteractionEvent",
    "LiveCommentReceived",
    "Mention",
    "MentionReceived",
    "Message",
    "MessageEdited",
    "MessageRead",
    "MessageReceived",
    "MessageUnsent",
    "OptIn",
    "OptInReceived",
    "Permission",
    "PermissionChanged",
    "PolicyEnforced",
    "PolicyEnforcement",
    "Postback",
    "PostbackReceived",
    "Reaction",
    "ReactionReceived",
    "Read",
    "Receipt",
    "ReceiptReceived",
    "Referral",
    "ReferralOpened",
    "ReferralReceived",
    "ReplyTo",
    "StoryInsights",
    "StoryInsightsReceived",
    "Unknown",
    "UnknownReceived",
    "Unsend",
]

INTERACTIONS = "interactions.received.v1"


class _InteractionEvent(Event):
    topic: ClassVar[str] = INTERACTIONS


class MessageReceived(_InteractionEvent):
    """A customer wrote a direct message."""

    type: Literal["com.jawab.message.received.v1"] = "com.jawab.message.received.v1"
    data: Message


class MessageEdited(_InteractionEvent):
    """A customer, or the account, changed a message."""

    type: Literal["com.jawab.message.edited.v1"] = "com.jawab.message.edited.v1"
    data: Edit


class MessageUnsent(_InteractionEvent):
    """A customer, or the account, took a message back."""

    type: Literal["com.jawab.message.unsent.v1"] = "com.jawab.message.unsent.v1"
    data: Unsend


class PostbackReceived(_InteractionEvent):
    """A customer tapped a button."""

    type: Literal["com.jawab.postback.received.v1"] = "com.jawab.postback.received.v1"
    data: Postback


class ReactionReceived(_InteractionEvent):
    """A customer, or the account, reacted to a message."""

    type: Literal["com.jawab.reaction.received.v1"] = "com.jawab.reaction.received.v1"
    data: Reaction


class MessageRead(_InteractionEvent):
    """A customer, or the account, has read messages."""

    type: Literal["com.jawab.message.read.v1"] = "com.jawab.message.read.v1"
    data: Read


class ReceiptReceived(_InteractionEvent):
    """The account's messages reached a person's device."""

    type: Literal["com.jawab.receipt.received.v1"] = "com.jawab.receipt.received.v1"
    data: Receipt


class ReferralReceived(_InteractionEvent):
    """A customer came through a link or an ad."""

    type: Literal["com.jawab.referral.received.v1"] = "com.jawab.referral.received.v1"
    data: ReferralOpened


class OptInReceived(_InteractionEvent):
    """A customer agreed to be written to, or no longer does."""

    type: Literal["com.jawab.optin.received.v1"] = "com.jawab.optin.received.v1"
    data: OptIn


class EchoReceived(_InteractionEvent):
    """The account's own message came back."""

    type: Literal["com.jawab.echo.received.v1"] = "com.jawab.echo.received.v1"
    data: Echo


class CommentReceived(_InteractionEvent):
    """Somebody commented under the account's media."""

    type: Literal["com.jawab.comment.received.v1"] = "com.jawab.comment.received.v1"
    data: Comment


class LiveCommentReceived(_InteractionEvent):
    """Somebody commented during a live broadcast."""

    type: Literal["com.jawab.livecomment.received.v1"] = "com.jawab.livecomment.received.v1"
    data: Comment


class MentionReceived(_InteractionEvent):
    """Somebody mentioned the account."""

    type: Literal["com.jawab.mention.received.v1"] = "com.jawab.mention.received.v1"
    data: Mention


class HandoverReceived(_InteractionEvent):
    """Control of a thread moved between apps."""

    type: Literal["com.jawab.handover.received.v1"] = "com.jawab.handover.received.v1"
    data: Handover


class PolicyEnforced(_InteractionEvent):
    """The platform restricted the account, or lifted a restriction."""

    type: Literal["com.jawab.policy.enforced.v1"] = "com.jawab.policy.enforced.v1"
    data: PolicyEnforcement


class PermissionChanged(_InteractionEvent):
    """A permission of the app was granted or revoked."""

    type: Literal["com.jawab.permission.changed.v1"] = "com.jawab.permission.changed.v1"
    data: Permission


class StoryInsightsReceived(_InteractionEvent):
    """A story ended; here are its figures."""

    type: Literal["com.jawab.storyinsights.received.v1"] = "com.jawab.storyinsights.received.v1"
    data: StoryInsights


class FeedChanged(_InteractionEvent):
    """The page's feed changed."""

    type: Literal["com.jawab.feed.changed.v1"] = "com.jawab.feed.changed.v1"
    data: FeedChange


class UnknownReceived(_InteractionEvent):
    """An item of a kind that did not exist when this was written."""

    type: Literal["com.jawab.unknown.received.v1"] = "com.jawab.unknown.received.v1"
    data: Unknown


InteractionEvent = Annotated[
    MessageReceived
    | MessageEdited
    | MessageUnsent
    | PostbackReceived
    | ReactionReceived
    | MessageRead
    | ReceiptReceived
    | ReferralReceived
    | OptInReceived
    | EchoReceived
    | CommentReceived
    | LiveCommentReceived
    | MentionReceived
    | HandoverReceived
    | PolicyEnforced
    | PermissionChanged
    | StoryInsightsReceived
    | FeedChanged
    | UnknownReceived,
    Field(discriminator="type"),
]
