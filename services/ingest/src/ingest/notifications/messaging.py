"""Messaging items: messages, echoes, reactions and whatever else happens in a thread. One event key to an item."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from common.bounds import is_field_name
from common.events.ids import fingerprint
from common.events.interactions import (
    Echo,
    EchoReceived,
    Edit,
    Handover,
    HandoverReceived,
    Interaction,
    InteractionEvent,
    Message,
    MessageEdited,
    MessageRead,
    MessageReceived,
    MessageUnsent,
    OptIn,
    OptInReceived,
    PolicyEnforced,
    PolicyEnforcement,
    Postback,
    PostbackReceived,
    Reaction,
    ReactionReceived,
    Read,
    Receipt,
    ReceiptReceived,
    Referral,
    ReferralOpened,
    ReferralReceived,
    Unsend,
)
from ingest.notifications.content import attachments, referral, reply_to
from ingest.notifications.item import NO_ACCOUNT, Item
from ingest.notifications.reading import count, flag, id_of, identifier, listed, mapping, text
from ingest.notifications.times import milliseconds, moment

MAX_LISTED = 100
"""Of lists inside an item (receipts, roles) no more are repeated in the event; the rest stays in the original."""

LONGEST_ACTION = 40

PARTIES = frozenset({"sender", "recipient"})
ABOUT_THE_ITEM = frozenset({"sender", "recipient", "timestamp", "is_self"})


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A messaging item whose parties and time are known. `contact` is the customer, whoever wrote.

    `raw` is the item without the change that may be around it: however it comes, it has the same id.
    """

    item: Item
    raw: Mapping[str, Any]
    content: dict[str, Any]
    account: str | None
    contact: str | None
    sender: str | None
    own: bool
    is_self: bool
    at: datetime | None
    referral: Any = None

    @property
    def who(self) -> str | None:
        """Who did it, as part of an id; with whom, where it was the account, which does the same to many."""
        return f"{self.sender}>{self.contact or ''}" if self.own else self.contact

    @property
    def stamp(self) -> int | None:
        """The item's own time in milliseconds, as part of an id; None when it has none."""
        return milliseconds(self.at) if self.at else None

    def event(
        self,
        event: Callable[..., InteractionEvent],
        data: Callable[..., Interaction],
        *identity: str | int | None,
        **fields: Any,
    ) -> InteractionEvent:
        """Return the event, addressed to the conversation."""
        return self.item.event(
            event,
            data,
            *identity,
            account=self.account,
            contact=self.contact,
            at=self.at,
            is_self=self.is_self,
            **fields,
        )


def from_messaging(item: Item, raw: Any) -> InteractionEvent:
    """Return the event of a messaging item; `item.original` may be `raw` itself or the change around it."""
    if not isinstance(raw, dict):
        return item.unknown()
    key = _event_key(raw)
    occurrence = occurrence_of(item, raw, key)
    event = READERS[key](key, occurrence) if key is not None else None
    return event or _unknown(item, raw, occurrence)


def _event_key(raw: Mapping[str, Any]) -> str | None:
    """Return the first event key whose object says something; where none does, the first with an object."""
    keys = [key for key in READERS if isinstance(raw.get(key), dict)]
    says = (key for key in keys if any(value is not None for value in raw[key].values()))
    return next(says, keys[0] if keys else None)


def _unknown(item: Item, raw: Mapping[str, Any], occurrence: Occurrence) -> InteractionEvent:
    field = ",".join(sorted(key for key in raw if key not in ABOUT_THE_ITEM))
    return item.unknown(
        field,
        account=occurrence.account,
        contact=occurrence.contact,
        at=occurrence.at,
        is_self=occurrence.is_self,
        from_account=occurrence.own,
    )


def is_messaging(value: Mapping[str, Any]) -> bool:
    """Tell whether the value of a change is a messaging item: it names a party, and one of its event keys holds an
    object. A comment in which an object has such a name is still a comment.
    """
    return not PARTIES.isdisjoint(value) and holds_event(value)


def holds_event(value: Mapping[str, Any]) -> bool:
    """Tell whether one of the event keys holds an object."""
    return any(isinstance(value.get(key), dict) for key in READERS)


def occurrence_of(item: Item, raw: Mapping[str, Any], key: str | None) -> Occurrence:
    """Find out who is the account and who the contact.

    An incoming item's recipient is the account. In an echo it is the other way round; some forward echoes unswapped, so
    the party that is not the account is the contact. Only in a message to itself the account is its own contact.
    """
    content = mapping(raw.get(key)) if key else {}
    sender, recipient = id_of(raw.get("sender")), id_of(raw.get("recipient"))
    echo = flag(content.get("is_echo"))
    account = account_of(item, sender if echo else recipient, {sender, recipient})
    outgoing = echo or (sender is not None and sender == account)
    contact = recipient if outgoing and recipient not in {None, account} else sender
    is_self = flag(raw.get("is_self")) or flag(content.get("is_self")) or (sender is not None and sender == recipient)
    if contact == account and not is_self:
        contact = None
    return Occurrence(
        item=item,
        raw=raw,
        content=content,
        account=account,
        contact=contact,
        sender=sender,
        own=echo or (outgoing and not is_self),
        is_self=is_self,
        at=moment(raw.get("timestamp")),
        referral=raw.get("referral"),
    )


KnownFrom = Literal["message", "edit"]


def account_of(item: Item, named: str | None, parties: Collection[str | None]) -> str | None:
    """Return the account: the entry's id, or whom the item names where the entry's id is neither of its parties.

    Webhooks have been seen with the linked Page as `entry.id` and our account as `recipient.id`. Only what is written
    like an Instagram account's id is believed against an item that names nobody of that kind, and the dashboard's
    test (entry 0) stays a test.
    """
    entry = item.account
    if entry is None or named is None:
        return entry or named
    if item.received.account is not None or entry == NO_ACCOUNT or entry in parties:
        return entry
    return entry if INSTAGRAM_ACCOUNT.fullmatch(entry) and not INSTAGRAM_ACCOUNT.fullmatch(named) else named


INSTAGRAM_ACCOUNT = re.compile(r"17841[0-9]{12}")
"""The ids of Instagram professional accounts in Meta's documentation and in every captured webhook."""


Reader = Callable[[str, Occurrence], InteractionEvent | None]
"""Makes the event of one key; None when the item lacks what that event is about."""


CONTENT = ("text", "attachments", "quick_reply", "is_unsupported", "reply_to", "referral")
"""What makes a message without an id one: without any of these nothing was said."""


def _message(_: str, o: Occurrence) -> InteractionEvent | None:
    return _said(o, known_from="message")


def _said(o: Occurrence, *, known_from: KnownFrom) -> InteractionEvent | None:
    content = o.content
    mid = identifier(content.get("mid"))
    if flag(content.get("is_deleted")):
        return o.event(MessageUnsent, Unsend, "del", mid, mid=mid, from_account=o.own) if mid else None
    if o.contact is None:
        return None
    if mid is None and not any(content.get(key) for key in CONTENT):
        return None
    mid = mid or f"without-id-{fingerprint(o.raw)}"
    said: dict[str, Any] = {
        "mid": mid,
        "text": text(content.get("text")),
        "attachments": attachments(content.get("attachments")),
    }
    said |= {"reply_to": reply_to(content.get("reply_to")), "is_unsupported": flag(content.get("is_unsupported"))}
    if o.own:
        app_id, metadata = identifier(content.get("app_id")), text(content.get("metadata"))
        return o.event(EchoReceived, Echo, "msg", mid, app_id=app_id, metadata=metadata, **said)
    return o.event(
        MessageReceived,
        Message,
        "msg",
        mid,
        quick_reply=text(mapping(content.get("quick_reply")).get("payload")),
        referral=referral(content.get("referral")) or referral(o.referral),
        known_from=known_from,
        **said,
    )


def _edit(_: str, o: Occurrence) -> InteractionEvent | None:
    mid = identifier(o.content.get("mid"))
    if mid is None:
        return None
    number, changed = count(o.content.get("num_edit")), text(o.content.get("text"))
    if number is not None and number <= 0 and changed and changed.strip():
        # Version 0 is the message itself: many accounts hear of new messages in no other way.
        return _said(o, known_from="edit")
    # Without a usable count two edits of one message differ in nothing but their content.
    which = number if number is not None else fingerprint(o.raw)
    return o.event(
        MessageEdited,
        Edit,
        "edit",
        mid,
        which,
        mid=mid,
        text=changed,
        num_edit=max(number or 0, 0),
        from_account=o.own,
    )


def _postback(_: str, o: Occurrence) -> InteractionEvent | None:
    if o.contact is None:
        return None
    mid = identifier(o.content.get("mid"))
    payload, title = text(o.content.get("payload")), text(o.content.get("title"))
    identity = (mid,) if mid else (o.who, fingerprint([payload, title]), o.stamp or fingerprint(o.raw))
    return o.event(
        PostbackReceived,
        Postback,
        "pb",
        *identity,
        mid=mid,
        title=title,
        payload=payload,
        referral=referral(o.content.get("referral")),
    )


def _reaction(_: str, o: Occurrence) -> InteractionEvent | None:
    mid = identifier(o.content.get("mid"))
    if mid is None or o.contact is None:
        return None
    action = (text(o.content.get("action")) or "react").lower()
    emoji, name = text(o.content.get("emoji")), text(o.content.get("reaction"))
    stamp = o.stamp or fingerprint(o.raw)
    return o.event(
        ReactionReceived,
        Reaction,
        "rx",
        mid,
        o.who,
        action[:LONGEST_ACTION],
        stamp,
        mid=mid,
        action=action,
        reaction=name,
        emoji=emoji,
        from_account=o.own,
    )


def _read(_: str, o: Occurrence) -> InteractionEvent | None:
    mid, watermark = identifier(o.content.get("mid")), moment(o.content.get("watermark"))
    if o.contact is None or (mid is None and watermark is None):
        return None
    until = milliseconds(watermark) if watermark else None
    seen = {"mid": mid, "watermark_ms": until, "from_account": o.own}
    return o.event(MessageRead, Read, "seen", mid or until, o.who, **seen)


def _receipt(key: str, o: Occurrence) -> InteractionEvent | None:
    mids = [mid for mid in map(identifier, listed(o.content.get("mids"))) if mid]
    watermark = moment(o.content.get("watermark"))
    if o.contact is None or not (mids or watermark):
        return None
    until = milliseconds(watermark) if watermark else None
    arrived = {"mids": tuple(mids[:MAX_LISTED]), "watermark_ms": until, "from_account": o.own}
    return o.event(ReceiptReceived, Receipt, key, o.who, until, fingerprint(mids), **arrived)


def _referral(key: str, o: Occurrence) -> InteractionEvent | None:
    if o.contact is None:
        return None
    found = referral(o.content) or Referral()
    return o.event(ReferralReceived, ReferralOpened, *_once(key, o), referral=found)


def _optin(key: str, o: Occurrence) -> InteractionEvent | None:
    content = o.content
    expires = moment(content.get("token_expiry_timestamp"))
    return o.event(
        OptInReceived,
        OptIn,
        *_once(key, o),
        kind=text(content.get("type")),
        payload=text(content.get("payload")) or text(content.get("ref")),
        token=next(filter(None, (text(content.get(name)) for name in OPT_IN_TOKENS)), None),
        token_status=text(content.get("user_token_status")),
        title=text(content.get("title")) or text(content.get("topic")),
        frequency=text(content.get("notification_messages_frequency")),
        timezone=text(content.get("notification_messages_timezone")),
        expires_at_ms=milliseconds(expires) if expires else None,
        stopped=(text(content.get("notification_messages_status")) or "").strip().upper().startswith("STOP"),
    )


OPT_IN_TOKENS = ("notification_messages_token", "one_time_notif_token", "token")


def _handover(key: str, o: Occurrence) -> InteractionEvent | None:
    content = o.content
    return o.event(
        HandoverReceived,
        Handover,
        *_once(key, o),
        kind=key,
        app_id=identifier(content.get("new_owner_app_id")) or identifier(content.get("requested_owner_app_id")),
        previous_app_id=identifier(content.get("previous_owner_app_id")),
        metadata=text(content.get("metadata")),
        roles=_roles(content) if key == "app_roles" else {},
    )


def _roles(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    named = [(app, roles) for app, roles in content.items() if is_field_name(app)]
    listed_roles = ((app, listed(roles)[:MAX_LISTED]) for app, roles in named[:MAX_LISTED])
    return {app: tuple(role for role in roles if isinstance(role, str)) for app, roles in listed_roles}


def _policy(_: str, o: Occurrence) -> InteractionEvent | None:
    action, reason = text(o.content.get("action")), text(o.content.get("reason"))
    if action is None and reason is None:
        return None
    return o.event(PolicyEnforced, PolicyEnforcement, *_once("policy", o), action=action, reason=reason)


def _once(key: str, o: Occurrence) -> tuple[str | int | None, ...]:
    """Identify what has no id of its own by who, when and what; seconds alone would not tell two of them apart."""
    if o.stamp:
        return key, o.who, o.stamp, fingerprint(o.content)
    return key, fingerprint(o.raw)


READERS: dict[str, Reader] = {
    "message": _message,
    "postback": _postback,
    "reaction": _reaction,
    "read": _read,
    "delivery": _receipt,
    "message_edit": _edit,
    "message_edits": _edit,
    "referral": _referral,
    "optin": _optin,
    "pass_thread_control": _handover,
    "take_thread_control": _handover,
    "request_thread_control": _handover,
    "app_roles": _handover,
    "policy-enforcement": _policy,
    "policy_enforcement": _policy,
}
"""Event keys in the order in which they are looked for: a message may carry a referral beside it."""
