"""Build what Instagram tells of customers: nobody needs a real account to try Jawab.

Pure: the same seed gives the same ids and the same bodies. A builder returns an :class:`~devkit.updates.Update`, one
thing that happened; the guide's plural lists (:meth:`Simulator.plural_messages` …) are among them, though the platform
never sends them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from devkit.attachments import attachment, link, unsigned_link
from devkit.ids import DEFAULT_ACCOUNT_ID, DEFAULT_ACCOUNT_USERNAME, Ids, username_of
from devkit.updates import Item, Update


@dataclass(slots=True)
class Simulator:
    """Builders of updates for one account, ids by one seed.

    `now` returns seconds since the epoch; a fixed one makes bodies reproducible to the byte. `media` is the address of
    a sandbox world, whose pictures and recordings are linked then: the platform's own links lead nowhere.
    """

    seed: int | str = 0
    account: str = DEFAULT_ACCOUNT_ID
    username: str = DEFAULT_ACCOUNT_USERNAME
    now: Callable[[], float] = time.time
    media: str = ""
    ids: Ids = field(init=False)

    def __post_init__(self) -> None:
        self.ids = Ids(self.seed)

    def contact(self) -> str:
        """Return a new customer's id."""
        return self.ids.contact()

    # Direct messages

    def text(self, contact: str, text: str, *, mid: str | None = None) -> Update:
        """Return a direct message of plain text."""
        return self._message(contact, {"text": text}, mid=mid)

    def attachment(self, contact: str, kind: str, *, text: str | None = None) -> Update:
        """Return a message carrying one attachment of a kind out of :data:`ATTACHMENT_KINDS`."""
        return self.attachments(contact, [kind], text=text)

    def attachments(self, contact: str, kinds: Sequence[str], *, text: str | None = None) -> Update:
        """Return a message carrying several attachments."""
        content: Item = {} if text is None else {"text": text}
        content["attachments"] = [attachment(kind, self.ids, media=self.media) for kind in kinds]
        return self._message(contact, content, kind=f"message.{kinds[0]}" if kinds else "message")

    def voice(self, contact: str, words: str) -> Update:
        """Return a voice message; it can be heard where `media` names a sandbox world."""
        content: Item = {"attachments": [attachment("audio", self.ids, media=self.media, words=words)]}
        return self._message(contact, content, kind="message.audio")

    def shared_post_twice(self, contact: str) -> Update:
        """Return one shared post listed as both ``share`` and ``ig_post``, as once sent."""
        post = attachment("ig_post", self.ids, media=self.media)
        twin = {"type": "share", "payload": dict(post["payload"])}
        return self._message(contact, {"attachments": [twin, post]}, kind="message.share")

    def unsupported(self, contact: str) -> Update:
        """Return a message the platform says it cannot show, without any attachment."""
        return self._message(contact, {"is_unsupported": True}, kind="message.unsupported")

    def story_reply(self, contact: str, text: str, *, story: str | None = None) -> Update:
        """Return an answer to one of the account's stories."""
        story = story or self.ids.media()
        reply_to = {"story": {"id": story, "url": link(story, self.ids)}}
        return self._message(contact, {"text": text, "reply_to": reply_to}, kind="message.story_reply")

    def reply(self, contact: str, text: str, to_mid: str) -> Update:
        """Return a message that quotes an earlier one."""
        return self._message(contact, {"text": text, "reply_to": {"mid": to_mid}}, kind="message.reply")

    def quick_reply(self, contact: str, title: str, payload: str, *, with_text: bool = True) -> Update:
        """Return the tap on a quick reply; the platform sometimes leaves the text out."""
        content: Item = {"text": title} if with_text else {}
        content["quick_reply"] = {"payload": payload}
        return self._message(contact, content, kind="message.quick_reply")

    def ad_message(self, contact: str, text: str, *, ref: str | None = None) -> Update:
        """Return the first message of a thread opened from an advertisement."""
        referral = {
            "ad_id": self.ids.number(17),
            "source": "ADS",
            "type": "OPEN_THREAD",
            "ads_context_data": {
                "ad_title": "تشكيلة الشتاء",
                "photo_url": unsigned_link(self.ids.number(17)),
                "video_url": unsigned_link(self.ids.number(17)),
            },
        }
        if ref is not None:
            referral["ref"] = ref
        return self._message(contact, {"text": text, "referral": referral}, kind="message.ad")

    def product_message(self, contact: str, text: str) -> Update:
        """Return a message asked from a product's page."""
        referral = {"product": {"id": self.ids.number(16)}}
        return self._message(contact, {"text": text, "referral": referral}, kind="message.product")

    def unsend(self, contact: str, mid: str) -> Update:
        """Return the customer's taking back of a message."""
        return self._message(contact, {"is_deleted": True}, mid=mid, kind="unsend")

    def echo(
        self,
        contact: str,
        text: str | None = None,
        *,
        mid: str | None = None,
        attachments: Sequence[str] = (),
        app_id: str | None = None,
        metadata: str | None = None,
    ) -> Update:
        """Return the copy of a message the account sent: by us, or by a person in the Instagram app."""
        content: Item = {"is_echo": True}
        if text is not None:
            content["text"] = text
        if attachments:
            content["attachments"] = [attachment(kind, self.ids, media=self.media) for kind in attachments]
        if app_id is not None:
            content["app_id"] = app_id
        if metadata is not None:
            content["metadata"] = metadata
        return self._message(contact, content, mid=mid, kind="echo", outgoing=True)

    def self_message(self, text: str) -> Update:
        """Return a message the account wrote to itself."""
        return self._message(self.account, {"text": text, "is_self": True}, kind="message.self")

    # Direct-message happenings that are not messages

    def postback(self, contact: str, title: str, payload: str, *, with_mid: bool = True) -> Update:
        """Return the tap on an ice breaker, a menu entry or a template's button; old ones carry no mid."""
        mid = self.ids.message(self.account) if with_mid else ""
        value: Item = {"title": title, "payload": payload}
        if mid:
            value["mid"] = mid
        return self._messaging(contact, "postback", value, id_=mid)

    def referral(self, contact: str, ref: str) -> Update:
        """Return the opening of an existing conversation through an ig.me link."""
        value = {"ref": ref, "source": "IGME_SOURCE_LINK", "type": "OPEN_THREAD"}
        return self._messaging(contact, "referral", value)

    def reaction(self, contact: str, mid: str, emoji: str = "❤") -> Update:
        """Return a reaction to a message."""
        names = {"❤": "love", "😂": "haha", "😮": "wow", "😢": "sad", "😡": "angry", "👍": "like"}
        value = {"mid": mid, "action": "react", "reaction": names.get(emoji, "other"), "emoji": emoji}
        return self._messaging(contact, "reaction", value, id_=mid)

    def unreact(self, contact: str, mid: str) -> Update:
        """Return the taking back of a reaction."""
        value = {"mid": mid, "action": "unreact"}
        return self._messaging(contact, "reaction", value, id_=mid, kind="unreact")

    def read(self, contact: str, mid: str) -> Update:
        """Return the customer's having seen everything up to a message."""
        return self._messaging(contact, "read", {"mid": mid}, id_=mid)

    def edit(self, contact: str, mid: str, text: str, *, number: int = 1) -> Update:
        """Return the customer's change of a message's text; the count is a string, as documented."""
        value = {"mid": mid, "text": text, "num_edit": str(number)}
        return self._messaging(contact, "message_edit", value, id_=mid, kind="edit")

    def optin(self, contact: str, title: str = "عروض الأسبوع") -> Update:
        """Return a subscription to notification messages."""
        value = {
            "type": "notification_messages",
            "payload": "WEEKLY_OFFERS",
            "title": title,
            "notification_messages_token": self.ids.number(20),
            "notification_messages_frequency": "WEEKLY",
            "notification_messages_timezone": "Asia/Baghdad",
            "notification_messages_status": "RESUME NOTIFICATIONS",
            "token_expiry_timestamp": int(self.now() * 1000) + 365 * 86_400_000,
            "user_token_status": "REFRESHED",
        }
        return self._messaging(contact, "optin", value)

    def pass_thread_control(self, contact: str, new_owner: str, previous_owner: str | None = None) -> Update:
        """Return the handing over of a conversation to another app."""
        value = {"new_owner_app_id": new_owner, "metadata": "to a person"}
        if previous_owner is not None:
            value["previous_owner_app_id"] = previous_owner
        return self._messaging(contact, "pass_thread_control", value, kind="handover.pass")

    def take_thread_control(self, contact: str, new_owner: str, previous_owner: str) -> Update:
        """Return the taking back of a conversation by the primary app."""
        value = {"new_owner_app_id": new_owner, "previous_owner_app_id": previous_owner, "metadata": "done"}
        return self._messaging(contact, "take_thread_control", value, kind="handover.take")

    def request_thread_control(self, contact: str, app: int) -> Update:
        """Return another app's request for a conversation; the id comes as a number here."""
        value = {"requested_owner_app_id": app, "metadata": "please"}
        return self._messaging(contact, "request_thread_control", value, kind="handover.request")

    def app_roles(self, roles: Mapping[str, Sequence[str]]) -> Update:
        """Return the account's list of app roles; it has no sender."""
        at = self._at()
        item = {
            "recipient": {"id": self.account},
            "timestamp": at,
            "app_roles": {k: list(v) for k, v in roles.items()},
        }
        return Update("handover.app_roles", "messaging", self.account, item, at)

    def unknown(self, contact: str, key: str = "something_new") -> Update:
        """Return an item of a kind nobody has heard of yet."""
        return self._messaging(contact, key, {"value": 1}, kind="unknown")

    # Changes

    def comment(
        self,
        contact: str,
        text: str,
        *,
        product: Literal["FEED", "REELS", "STORY", "AD", "LIVE"] = "FEED",
        media: str | None = None,
        parent: str | None = None,
        id_: str | None = None,
        id_key: Literal["id", "comment_id"] = "id",
        username: str | None = None,
    ) -> Update:
        """Return a comment under a post, reel or advertisement; `parent` makes it an answer."""
        id_ = id_ or self.ids.comment()
        about: Item = {"id": media or self.ids.media(), "media_product_type": product}
        if product == "AD":
            about |= {
                "ad_id": self.ids.number(17),
                "ad_title": "تشكيلة الشتاء",
                "original_media_id": self.ids.media(),
            }
        sender: Item = {"id": contact, "username": username or username_of(contact)}
        if contact == self.account:
            sender["username"] = self.username
        value: Item = {"from": sender, "media": about, id_key: id_, "text": text}
        if parent is not None:
            value["parent_id"] = parent
        return self._change("comments", value, contact=contact, id_=id_, kind="comment")

    def own_comment(self, text: str, *, parent: str | None = None, media: str | None = None) -> Update:
        """Return the account's own public reply, which the platform sends back like any other comment."""
        update = self.comment(self.account, text, parent=parent, media=media)
        return replace(update, kind="comment.own", contact="")

    def live_comment(self, contact: str, text: str) -> Update:
        """Return a comment written while the account broadcasts."""
        comment = self.comment(contact, text, product="LIVE")
        item = {"field": "live_comments", "value": comment.item["value"]}
        return replace(comment, kind="live_comment", item=item)

    def mention(self, *, media: str | None = None, comment: str | None = None) -> Update:
        """Return the naming of the account in a caption, or in a comment; only ids are sent."""
        media = media or self.ids.media()
        value = {"media_id": media}
        if comment is not None:
            value["comment_id"] = comment
        return self._change("mentions", value, id_=comment or media, kind="mention")

    def story_insights(self, *, media: str | None = None) -> Update:
        """Return the figures of a story that has ended; fewer than five are told as -1."""
        media = media or self.ids.media()
        value = {
            "media_id": media,
            "exits": 6,
            "replies": -1,
            "reach": 212,
            "taps_forward": 87,
            "taps_back": 9,
            "impressions": 254,
        }
        return self._change("story_insights", value, id_=media)

    def feed(self, contact: str, text: str, *, verb: Literal["add", "edited", "remove"] = "add") -> Update:
        """Return a comment as the page product's ``feed`` field tells it."""
        id_ = self.ids.comment()
        value: Item = {
            "item": "comment",
            "verb": verb,
            "comment_id": id_,
            "post_id": f"{self.account}_{self.ids.media()}",
            "from": {"id": contact, "name": username_of(contact)},
            "created_time": self._at() // 1000,
        }
        if verb != "remove":
            value["message"] = text
        return self._change("feed", value, contact=contact, id_=id_)

    def unknown_change(self, name: str = "something_new") -> Update:
        """Return a change of a field nobody has heard of yet."""
        return self._change(name, {"value": 1}, kind="unknown")

    def message_change(self, update: Update) -> Update:
        """Return a messaging item wrapped in ``changes`` under its account's own id."""
        names = {
            "postback": "messaging_postbacks",
            "read": "messaging_seen",
            "reaction": "message_reactions",
            "message_edit": "message_edit",
            "referral": "messaging_referral",
        }
        name = next((names[key] for key in names if key in update.item), "messages")
        return replace(update, section="changes", item={"field": name, "value": update.item})

    # The guide's plural lists

    def plural_messages(self, *messages: tuple[str, str]) -> Update:
        """Return the guide's ``value.messages[]`` of (contact, text) pairs; times are strings of seconds."""
        listed = [
            {"id": self.ids.message(self.account), "from": {"id": c}, "timestamp": self._seconds(), "text": t}
            for c, t in messages
        ]
        return self._plural("messages", listed, [c for c, _ in messages])

    def plural_comments(self, *comments: tuple[str, str], media: str | None = None) -> Update:
        """Return the guide's ``value.comments[]`` of (contact, text) pairs."""
        media = media or self.ids.media()
        listed = [
            {
                "id": self.ids.comment(),
                "from": {"id": c},
                "media": {"id": media},
                "text": t,
                "timestamp": self._seconds(),
            }
            for c, t in comments
        ]
        return self._plural("comments", listed, [c for c, _ in comments])

    def plural_mentions(self, *contacts: str) -> Update:
        """Return the guide's ``value.mentions[]``."""
        listed = [{"id": self.ids.comment(), "from": {"id": c}, "media_id": self.ids.media()} for c in contacts]
        return self._plural("mentions", listed, list(contacts))

    # How they are made

    def _at(self) -> int:
        return int(self.now() * 1000)

    def _seconds(self) -> str:
        return str(int(self.now()))

    def _message(
        self,
        contact: str,
        content: Item,
        *,
        mid: str | None = None,
        kind: str = "message",
        outgoing: bool = False,
    ) -> Update:
        mid = mid or self.ids.message(self.account)
        return self._messaging(contact, "message", {"mid": mid, **content}, id_=mid, kind=kind, outgoing=outgoing)

    def _messaging(
        self,
        contact: str,
        key: str,
        value: Item,
        *,
        id_: str = "",
        kind: str | None = None,
        outgoing: bool = False,
    ) -> Update:
        at = self._at()
        sender, recipient = (self.account, contact) if outgoing else (contact, self.account)
        item = {"sender": {"id": sender}, "recipient": {"id": recipient}, "timestamp": at, key: value}
        return Update(kind or key, "messaging", self.account, item, at, contact, id_)

    def _change(self, name: str, value: Item, *, contact: str = "", id_: str = "", kind: str | None = None) -> Update:
        item = {"field": name, "value": value}
        return Update(kind or name, "changes", self.account, item, self._at(), contact, id_)

    def _plural(self, name: str, listed: list[Item], contacts: list[str]) -> Update:
        value = {name: listed}
        id_ = listed[0]["id"] if listed else ""
        contact = contacts[0] if contacts else ""
        return self._change(name, value, contact=contact, id_=id_, kind=f"plural.{name}")
