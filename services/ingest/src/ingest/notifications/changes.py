"""Changes: a `field` and its `value`, in a list or right in the entry; and messaging items that come wrapped in one."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from common.bounds import is_field_name
from common.events.ids import contact_of_username, fingerprint, same_username
from common.events.interactions import (
    Comment,
    CommentReceived,
    FeedChange,
    FeedChanged,
    InteractionEvent,
    LiveCommentReceived,
    Mention,
    MentionReceived,
    Permission,
    PermissionChanged,
    StoryInsights,
    StoryInsightsReceived,
)
from ingest.notifications.item import Item
from ingest.notifications.messaging import account_of, from_messaging, holds_event, is_messaging
from ingest.notifications.reading import count, flag, id_of, identifier, listed, mapping, text
from ingest.notifications.times import milliseconds, moment

MAX_FIGURES = 50
MAX_MENTIONED = 20
MAX_TARGETS = 100

USERNAME = re.compile(r"(?<![\w.@])@([A-Za-z0-9_](?:[A-Za-z0-9._]{0,28}[A-Za-z0-9_])?)(?![A-Za-z0-9_])")
"""Instagram's usernames: up to 30 letters, digits, dots and underscores; a final dot ends the sentence instead."""

PERMISSION_VERBS = frozenset({"granted", "revoked"})

FEED_VERBS = {"edit": "edited", "update": "edited", "delete": "remove", "deleted": "remove", "removed": "remove"}
"""Spellings of the feed's verbs, made equal to those the platform uses most."""


def from_change(item: Item, field: Any, value: Any) -> InteractionEvent:
    """Return the event of a change. Which keys its value has decides, then the field's name."""
    name = text(field)
    if isinstance(value, dict):
        if is_messaging(value):
            return from_messaging(item, value)
        reader = READERS.get((name or "").lower())
        event = reader(item, value) if reader else None
        if event is not None:
            return event
        if holds_event(value):
            return from_messaging(item, value)
    told = mapping(value)
    verb = (text(mapping(item.original).get("verb")) or text(told.get("verb")) or "").lower()
    if name and verb in PERMISSION_VERBS:
        return _permission(item, name, verb, told)
    sender, recipient = id_of(told.get("sender")), id_of(told.get("recipient"))
    account = account_of(item, recipient, {sender, recipient})
    known = replace(item, account=account)
    return item.unknown(
        name,
        account=account,
        contact=_person(known, told),
        at=_time(told),
        from_account=_is_own(known, told),
    )


def guide_lists(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of the plural lists the guide describes, each with the name of the field it stands for.

    The platform does not send these; the guide's examples do. What has an id of its own is an item, whatever lists it
    holds.
    """
    for name in ("messages", "comments", "mentions"):
        items = mapping(value).get(name)
        if isinstance(items, list):
            yield from ((name, item) for item in items)


def is_an_item(value: Any) -> bool:
    """Tell whether a change's value is one: a messaging item, or what says which comment, message or media it is."""
    told = mapping(value)
    return is_messaging(told) or any(identifier(told.get(name)) for name in ("id", "comment_id", "media_id", "mid"))


def mentioned(said: str | None) -> tuple[str, ...]:
    """Return the usernames written with @ in a text, in lower case, each once."""
    if not said or "@" not in said:
        return ()
    return tuple(dict.fromkeys(name.lower() for name in USERNAME.findall(said)))[:MAX_MENTIONED]


def _comment(event: Callable[..., InteractionEvent]) -> Callable[[Item, dict[str, Any]], InteractionEvent | None]:
    def read(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
        # Documented as comment_id, delivered as id.
        comment_id = identifier(value.get("id")) or identifier(value.get("comment_id"))
        if comment_id is None:
            return None
        author, media = mapping(value.get("from")), mapping(value.get("media"))
        contact, said = id_of(value.get("from")), text(value.get("text"))
        # Our own public replies come back as comments: by the id, or marked with a second one.
        by_account = contact is not None and contact == item.account
        own = by_account or identifier(author.get("self_ig_scoped_id")) is not None
        username = text(author.get("username")) or text(value.get("username"))
        if contact is None and item.account and username and same_username(username):
            contact = contact_of_username(item.account, username)
        return item.event(
            event,
            Comment,
            "cm",
            comment_id,
            contact=None if own else contact,
            at=_time(value),
            comment_id=comment_id,
            text=said,
            username=username,
            media_id=id_of(value.get("media")) or identifier(value.get("media_id")),
            media_product_type=text(media.get("media_product_type")) or text(value.get("media_product_type")),
            ad_id=identifier(media.get("ad_id")) or identifier(value.get("ad_id")),
            ad_title=text(media.get("ad_title")),
            original_media_id=identifier(media.get("original_media_id")),
            parent_id=identifier(value.get("parent_id")) or id_of(value.get("parent")),
            mentioned=mentioned(said),
            from_account=own,
        )

    return read


def _mention(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    media = mapping(value.get("media"))
    media_id = identifier(value.get("media_id")) or id_of(value.get("media"))
    comment_id, own_id = identifier(value.get("comment_id")), identifier(value.get("id"))
    if not (media_id or comment_id or own_id):
        return None
    author = id_of(value.get("from"))
    return item.event(
        MentionReceived,
        Mention,
        "mn",
        media_id,
        comment_id,
        *((own_id,) if own_id and not comment_id else ()),
        contact=_person(item, value),
        at=_time(value),
        media_id=media_id,
        comment_id=comment_id,
        text=text(value.get("text")),
        username=text(mapping(value.get("from")).get("username")) or text(value.get("username")),
        media_product_type=text(media.get("media_product_type")),
        from_account=author is not None and author == item.account,
    )


def _story_insights(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    media_id = identifier(value.get("media_id"))
    if media_id is None:
        return None
    figures = {
        name: number
        for name in value
        if name != "media_id" and is_field_name(name) and (number := count(value[name])) is not None
    }
    return item.event(
        StoryInsightsReceived,
        StoryInsights,
        "si",
        media_id,
        media_id=media_id,
        figures=dict(list(figures.items())[:MAX_FIGURES]),
    )


def _feed(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    kind, verb = text(value.get("item")), text(value.get("verb"))
    if kind is None and verb is None:
        return None
    verb = FEED_VERBS.get(verb.lower(), verb.lower()) if verb else None
    # What is edited or hidden again says the same, and when the comment was made: the entry's time tells them apart.
    again = () if verb == "add" or item.entry_time is None else (milliseconds(item.entry_time),)
    author = mapping(value.get("from"))
    actor = id_of(value.get("from")) or identifier(value.get("sender_id"))
    return item.event(
        FeedChanged,
        FeedChange,
        "feed",
        fingerprint(item.original),
        *again,
        contact=None if actor == item.account else actor,
        at=_time(value) if verb == "add" else moment(value.get("timestamp")),
        item=kind,
        verb=verb,
        post_id=identifier(value.get("post_id")),
        comment_id=identifier(value.get("comment_id")),
        parent_id=identifier(value.get("parent_id")),
        text=text(value.get("message")),
        username=text(author.get("name")) or text(author.get("username")) or text(value.get("sender_name")),
        reaction=text(value.get("reaction_type")),
        link=text(value.get("link")),
        from_account=actor is not None and actor == item.account,
    )


def _permission(item: Item, name: str, verb: str, value: dict[str, Any]) -> InteractionEvent:
    targets = (identifier(target) for target in listed(value.get("target_ids"))[:MAX_TARGETS])
    # The same permission comes and goes with the same words: only the entry's time tells one occurrence from the next.
    occasion = milliseconds(item.entry_time) if item.entry_time else None
    return item.event(
        PermissionChanged,
        Permission,
        "permission",
        item.user_id,
        verb,
        occasion,
        fingerprint(item.original),
        permission=name,
        verb=verb,
        user_id=item.user_id,
        targets=tuple(target for target in targets if target),
    )


def _plain_message(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    """Read the guide's message: `id`, `from`, `text`, as if it had come in a thread."""
    author = id_of(value.get("from")) or id_of(value.get("sender"))
    if author is None or not any(key in value for key in ("id", "mid", "text", "attachments")):
        return None
    message = {**value, "mid": identifier(value.get("id")) or value.get("mid")}
    raw = {
        "sender": author,
        "recipient": value.get("to") or value.get("recipient"),
        "timestamp": value.get("timestamp"),
        "is_self": flag(value.get("is_self")),
        "message": {**message, "is_echo": flag(value.get("is_echo")) or author == item.account},
    }
    return from_messaging(item, raw)


def _is_own(item: Item, value: dict[str, Any]) -> bool:
    """Tell whether the account itself did it."""
    author = id_of(value.get("from")) or id_of(value.get("sender"))
    return author is not None and author == item.account


def _person(item: Item, value: dict[str, Any]) -> str | None:
    """Return who did it; nobody, where it was the account itself."""
    author = id_of(value.get("from")) or id_of(value.get("sender"))
    return None if author == item.account else author


def _time(value: dict[str, Any]) -> datetime | None:
    return moment(value.get("timestamp")) or moment(value.get("created_time"))


_Reader = Callable[[Item, dict[str, Any]], InteractionEvent | None]

READERS: dict[str, _Reader] = {
    "comments": _comment(CommentReceived),
    "live_comments": _comment(LiveCommentReceived),
    "mentions": _mention,
    "story_insights": _story_insights,
    "feed": _feed,
    "messages": _plain_message,
}
