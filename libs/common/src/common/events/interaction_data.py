"""What the interactions say: the `data` of every event of `interactions.received.v1`.

The words are ours and mean the same whatever envelope an item came in; `docs/events.md` tells which item of the
platform becomes which of them. A field that came later has a default, so that older records stay readable.
"""

from typing import Any, Literal

from pydantic import Field

from common.bounds import Int64
from common.events.envelope import Contract
from common.events.ids import conversation_id

Envelope = Literal["messaging", "standby", "changes", "flat", "lists", "external_request", "test", "unknown"]


class Attachment(Contract):
    """One attachment. `type` is an open set: the platform adds kinds without notice."""

    type: str
    url: str | None = Field(default=None, description="The platform's link; it may expire. Media is never stored.")
    title: str | None = None
    subtitle: str | None = Field(default=None, description="The second line of a product or card, often its price.")
    media_id: str | None = Field(default=None, description="The platform's id of a shared post, reel or story.")
    product_id: str | None = Field(default=None, description="The product a shared card is about.")
    sticker_id: str | None = Field(default=None, description="Set where an image is a sticker.")


class Referral(Contract):
    """How the person came: an ad, an ig.me link, a product."""

    source: str | None = None
    type: str | None = None
    ref: str | None = None
    ad_id: str | None = None
    ad_title: str | None = None
    product_id: str | None = None
    post_id: str | None = Field(default=None, description="The post the ad was made of.")
    flow_id: str | None = None
    photo_url: str | None = Field(default=None, description="The ad's picture; the link may expire.")
    video_url: str | None = Field(default=None, description="The still of the ad's video; the link may expire.")
    referer_url: str | None = Field(default=None, description="The page on which the link was followed.")


class ReplyTo(Contract):
    """What a message answers: another message or a story."""

    mid: str | None = None
    story_id: str | None = None
    story_url: str | None = None


class Interaction(Contract):
    """What all interactions have in common."""

    account_id: str = Field(description="The Instagram professional account (entry.id).")
    entry_id: str | None = Field(
        default=None, description="The webhook's entry.id where that is not the account: mostly the linked Page."
    )
    contact_id: str | None = Field(
        default=None,
        description="The person's Instagram-scoped id; None when the event is about the account.",
    )
    envelope: Envelope = "messaging"
    standby: bool = Field(default=False, description="Another app owns the thread: observe, do not answer.")
    is_self: bool = Field(default=False, description="The account wrote to itself; the 24 h window does not apply.")
    received_at_ms: Int64 = Field(default=0, description="When ingest received it, ms since the epoch, by our clock.")
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
    subscriber_id: str | None = Field(
        default=None, description="ManyChat's id of the same person, where ManyChat told of the message."
    )
    known_from: Literal["message", "edit", "lookup"] = Field(
        default="message",
        description="How its words are known: from the message itself, from an edit that announced it, or looked up at "
        "the platform because the announcement had none.",
    )
    unreadable: bool = Field(
        default=False, description="There is such a message, and nobody here can read it: an agent has to."
    )


class Edit(Interaction):
    """A message's text was changed by its writer; without `text` only the message is announced (`num_edit` 0)."""

    mid: str
    text: str | None = Field(default=None, repr=False)
    num_edit: Int64 = 0
    from_account: bool = Field(default=False, description="The account changed a message of its own.")


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
    from_account: bool = Field(default=False, description="The account reacted to the person's message.")


class Read(Interaction):
    """The person has read up to a message (`mid`) or a moment (`watermark_ms`)."""

    mid: str | None = None
    watermark_ms: Int64 | None = None
    from_account: bool = Field(default=False, description="The account read the person's message.")


class Receipt(Interaction):
    """Messages of the account reached the person's device. Messenger tells this, Instagram does not."""

    mids: tuple[str, ...] = Field(default=(), description="The messages, where the platform names them.")
    watermark_ms: Int64 | None = Field(default=None, description="All messages up to this moment have arrived.")
    from_account: bool = False


class ReferralOpened(Interaction):
    """The person came into an existing thread through a link or an ad."""

    referral: Referral


class OptIn(Interaction):
    """The person agreed to be written to, or took the agreement back (`stopped`)."""

    kind: str | None = Field(default=None, description="notification_messages, one_time_notif_req, ...")
    payload: str | None = Field(default=None, description="What the request for the agreement was given along.")
    token: str | None = Field(
        default=None, description="Addresses a message to this person outside the window.", repr=False
    )
    token_status: str | None = Field(default=None, description="REFRESHED or NOT_REFRESHED.")
    title: str | None = Field(default=None, description="The topic the person agreed to.")
    frequency: str | None = Field(default=None, description="How often at most: DAILY, WEEKLY or MONTHLY.")
    timezone: str | None = None
    expires_at_ms: Int64 | None = Field(default=None, description="When the token ends, ms since the epoch.")
    stopped: bool = Field(default=False, description="The person stopped these messages: the token must not be used.")


class Echo(Interaction):
    """A message the account sent: by us, by another app, or by a person in the Instagram app.

    `app_id` tells which app sent it, where the platform says so; Instagram often leaves it out for all of them.
    """

    mid: str
    text: str | None = Field(default=None, repr=False)
    attachments: tuple[Attachment, ...] = ()
    reply_to: ReplyTo | None = None
    is_unsupported: bool = False
    app_id: str | None = None
    metadata: str | None = None


class Comment(Interaction):
    """A comment under a post, reel, story, ad or live broadcast."""

    comment_id: str
    text: str | None = Field(default=None, repr=False)
    username: str | None = Field(default=None, repr=False)
    media_id: str | None = None
    media_product_type: str | None = Field(default=None, description="FEED, REELS, STORY, AD, LIVE, ...")
    ad_id: str | None = None
    ad_title: str | None = None
    original_media_id: str | None = Field(default=None, description="The post an ad was made of.")
    parent_id: str | None = Field(default=None, description="The comment this one answers.")
    mentioned: tuple[str, ...] = Field(
        default=(),
        description="The usernames written with @ in the text, in lower case: how an app of Instagram Login hears "
        "that its account was mentioned.",
        repr=False,
    )
    from_account: bool = Field(default=False, description="The account itself wrote it: never answer it.")


class Mention(Interaction):
    """The account was mentioned in a caption (no `comment_id`) or a comment."""

    media_id: str | None = None
    comment_id: str | None = None
    text: str | None = Field(default=None, description="Mostly left out: to be fetched.", repr=False)
    username: str | None = Field(default=None, repr=False)
    media_product_type: str | None = None
    from_account: bool = Field(default=False, description="The account mentioned itself: never answer it.")


class Handover(Interaction):
    """Control of a thread moved, or was asked for, between apps."""

    kind: str = Field(description="pass_thread_control, take_thread_control, request_thread_control or app_roles.")
    app_id: str | None = Field(default=None, description="Who has control now; for a request, who asks for it.")
    previous_app_id: str | None = None
    metadata: str | None = None
    roles: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="For app_roles: an app's roles by id.")


class PolicyEnforcement(Interaction):
    """The platform restricts what the account may do, or lifts that again."""

    action: str | None = Field(default=None, description="block or unblock.")
    reason: str | None = None


class Permission(Interaction):
    """A person gave the app a permission, or took it away."""

    permission: str
    verb: str = Field(description="granted or revoked.")
    user_id: str | None = Field(default=None, description="Who did, by the app-scoped id.")
    targets: tuple[str, ...] = Field(default=(), description="The pages or accounts it is about, where they are named.")


class StoryInsights(Interaction):
    """The figures of a story that has ended; -1 where the platform hides a figure below 5."""

    media_id: str | None = None
    figures: dict[str, Int64] = Field(default_factory=dict)


class FeedChange(Interaction):
    """Something changed on the page's feed."""

    item: str | None = Field(
        default=None, description="comment, reaction, like, post, status, photo, video, share, ..."
    )
    verb: str | None = Field(
        default=None, description="add, edited, remove, hide, unhide, ...; other spellings of these are made equal."
    )
    post_id: str | None = None
    comment_id: str | None = None
    parent_id: str | None = Field(default=None, description="What a comment answers: a comment, or the post.")
    text: str | None = Field(default=None, repr=False)
    username: str | None = Field(default=None, description="The person's name.", repr=False)
    reaction: str | None = None
    link: str | None = None
    from_account: bool = Field(default=False, description="The page itself did it: never answer it.")


class Unknown(Interaction):
    """An item nobody here knows: kept whole, never an error."""

    field: str | None = Field(default=None, description="The changes[].field, or the keys of the messaging item.")
    from_account: bool = Field(default=False, description="The account itself did it: no customer waits.")
