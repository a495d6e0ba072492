"""`interactions.received.v1`: what a customer, or the account itself, did on the platform.

One event for one webhook item. `data.original` keeps the item as it came, so that a mended parser can read the day
again; nothing but the parser and replay may look into it.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from common.events.envelope import Contract, Event
from common.events.ids import conversation_id

INTERACTIONS = "interactions.received.v1"

Envelope = Literal["messaging", "standby", "changes", "flat", "lists", "external_request", "test", "unknown"]


class Attachment(Contract):
    """One attachment. `type` is an open set: the platform adds kinds without notice."""

    type: str
    url: str | None = Field(default=None, description="The platform's link; it may expire. Media is never stored.")
    title: str | None = None
    media_id: str | None = Field(default=None, description="The platform's id of a shared post, reel or story.")


class Referral(Contract):
    """How the person came: an ad, an ig.me link, a product."""

    source: str | None = None
    type: str | None = None
    ref: str | None = None
    ad_id: str | None = None
    ad_title: str | None = None
    product_id: str | None = None


class ReplyTo(Contract):
    """What a message answers: another message or a story."""

    mid: str | None = None
    story_id: str | None = None
    story_url: str | None = None


class Interaction(Contract):
    """What all interactions have in common."""

    account_id: str = Field(description="The Instagram professional account (entry.id).")
    contact_id: str | None = Field(
        default=None,
        description="The person's Instagram-scoped id; None when the event is about the account.",
    )
    envelope: Envelope = "messaging"
    standby: bool = Field(default=False, description="Another app owns the thread: observe, do not answer.")
    is_self: bool = Field(default=False, description="The account wrote to itself; the 24 h window does not apply.")
    received_at_ms: int = Field(default=0, description="When ingest received it, ms since the epoch, by our clock.")
    original: Any = Field(default=None, description="The item as it came.", repr=False)

    @property
    def conversation_id(self) -> str:
        """The conversation this belongs to."""
        return conversation_id(self.account_id, self.contact_id)


class Message(Interaction):
    """A direct message: text, attachments, a story reply, a tapped quick reply."""

    mid: str
    text: str | None = Field(default=None, repr=False)
    attachments: tuple[Attachment, ...] = ()
    quick_reply: str | None = Field(default=None, description="The payload of the quick reply that was tapped.")
    reply_to: ReplyTo | None = None
    referral: Referral | None = None
    is_unsupported: bool = False


class Edit(Interaction):
    """A message's text was changed by its writer."""

    mid: str
    text: str | None = Field(default=None, repr=False)
    num_edit: int = 0


class Unsend(Interaction):
    """A message was taken back; what it held must go."""

    mid: str
    from_account: bool = False


class Postback(Interaction):
    """A button, ice breaker or menu entry was tapped."""

    mid: str | None = None
    title: str | None = Field(default=None, repr=False)
    payload: str | None = Field(default=None, description="Left out by the platform while in standby.")
    referral: Referral | None = None


class Reaction(Interaction):
    """A reaction to a message was set or taken away."""

    mid: str = Field(description="The message reacted to.")
    action: str = "react"
    reaction: str | None = None
    emoji: str | None = None


class Read(Interaction):
    """The person has read up to a message (`mid`) or a moment (`watermark_ms`)."""

    mid: str | None = None
    watermark_ms: int | None = None


class ReferralOpened(Interaction):
    """The person came into an existing thread through a link or an ad."""

    referral: Referral


class OptIn(Interaction):
    """The person agreed to be written to."""

    kind: str | None = None
    payload: str | None = None


class Echo(Interaction):
    """A message the account sent: by us, by another app, or by a person in the Instagram app."""

    mid: str
    text: str | None = Field(default=None, repr=False)
    attachments: tuple[Attachment, ...] = ()
    app_id: str | None = None
    metadata: str | None = None


class Comment(Interaction):
    """A comment under a post, reel, story, ad or live broadcast."""

    comment_id: str
    text: str | None = Field(default=None, repr=False)
    username: str | None = Field(default=None, repr=False)
    media_id: str | None = None
    media_product_type: str | None = None
    ad_id: str | None = None
    parent_id: str | None = None
    from_account: bool = Field(default=False, description="The account itself wrote it: never answer it.")


class Mention(Interaction):
    """The account was mentioned in a caption or a comment."""

    media_id: str | None = None
    comment_id: str | None = None


class Handover(Interaction):
    """Control of a thread moved, or was asked for, between apps."""

    kind: str = Field(description="pass_thread_control, take_thread_control, request_thread_control or app_roles.")
    app_id: str | None = None
    previous_app_id: str | None = None
    metadata: str | None = None


class StoryInsights(Interaction):
    """The figures of a story that has ended; -1 where the platform hides a figure below 5."""

    media_id: str | None = None
    figures: dict[str, int] = Field(default_factory=dict)


class FeedChange(Interaction):
    """Something changed on the page's feed."""

    item: str | None = None
    verb: str | None = None
    post_id: str | None = None
    comment_id: str | None = None
    text: str | None = Field(default=None, repr=False)


class Unknown(Interaction):
    """An item nobody here knows: kept whole, never an error."""

    field: str | None = Field(default=None, description="The changes[].field, or the keys of the messaging item.")


class _InteractionEvent(Event):
    topic: ClassVar[str] = INTERACTIONS


class MessageReceived(_InteractionEvent):
    """A customer wrote a direct message."""

    type: Literal["com.jawab.message.received.v1"] = "com.jawab.message.received.v1"
    data: Message


class MessageEdited(_InteractionEvent):
    """A customer changed a message."""

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
    """A customer reacted to a message."""

    type: Literal["com.jawab.reaction.received.v1"] = "com.jawab.reaction.received.v1"
    data: Reaction


class MessageRead(_InteractionEvent):
    """A customer has read messages."""

    type: Literal["com.jawab.message.read.v1"] = "com.jawab.message.read.v1"
    data: Read


class ReferralReceived(_InteractionEvent):
    """A customer came through a link or an ad."""

    type: Literal["com.jawab.referral.received.v1"] = "com.jawab.referral.received.v1"
    data: ReferralOpened


class OptInReceived(_InteractionEvent):
    """A customer agreed to be written to."""

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
    | ReferralReceived
    | OptInReceived
    | EchoReceived
    | CommentReceived
    | LiveCommentReceived
    | MentionReceived
    | HandoverReceived
    | StoryInsightsReceived
    | FeedChanged
    | UnknownReceived,
    Field(discriminator="type"),
]
