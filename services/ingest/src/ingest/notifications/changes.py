"""Changes: a `field` and its `value`, in a list or right in the entry; and messaging items that come wrapped in one."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from common.events.ids import fingerprint
from common.events.interactions import (
    Comment,
    CommentReceived,
    FeedChange,
    FeedChanged,
    InteractionEvent,
    LiveCommentReceived,
    Mention,
    MentionReceived,
    StoryInsights,
    StoryInsightsReceived,
)
from ingest.notifications.item import Item
from ingest.notifications.messaging import from_messaging, is_messaging
from ingest.notifications.reading import count, flag, id_of, identifier, mapping, text
from ingest.notifications.times import moment

MAX_FIGURES = 50


def from_change(item: Item, field: Any, value: Any) -> InteractionEvent:
    """Return the event of a change. Which keys its value has decides, then the field's name."""
    name = text(field)
    if isinstance(value, dict):
        if is_messaging(value):
            return from_messaging(item, value)
        reader = READERS.get(name or "")
        event = reader(item, value) if reader else None
        if event is not None:
            return event
    return item.unknown(name, at=_time(mapping(value)))


def guide_lists(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the items of the plural lists the guide describes, each with the name of the field it stands for.

    The platform does not send these; the guide's examples do.
    """
    for name in ("messages", "comments", "mentions"):
        items = mapping(value).get(name)
        if isinstance(items, list):
            yield from ((name, item) for item in items)


def _comment(event: Callable[..., InteractionEvent]) -> Callable[[Item, dict[str, Any]], InteractionEvent | None]:
    def read(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
        # Documented as comment_id, delivered as id.
        comment_id = identifier(value.get("id")) or identifier(value.get("comment_id"))
        if comment_id is None:
            return None
        author, media = mapping(value.get("from")), mapping(value.get("media"))
        contact = id_of(value.get("from"))
        # Our own public replies come back as comments: by the id, or marked with a second one.
        own = contact is not None and (contact == item.account or bool(identifier(author.get("self_ig_scoped_id"))))
        return item.event(
            event,
            Comment,
            "cm",
            comment_id,
            contact=None if own else contact,
            at=_time(value),
            comment_id=comment_id,
            text=text(value.get("text")),
            username=text(author.get("username")),
            media_id=id_of(value.get("media")) or identifier(value.get("media_id")),
            media_product_type=text(media.get("media_product_type")),
            ad_id=identifier(media.get("ad_id")),
            parent_id=identifier(value.get("parent_id")),
            from_account=own,
        )

    return read


def _mention(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    media_id, comment_id = identifier(value.get("media_id")), identifier(value.get("comment_id"))
    own_id = identifier(value.get("id"))
    if not (media_id or comment_id or own_id):
        return None
    return item.event(
        MentionReceived,
        Mention,
        "mn",
        media_id,
        comment_id or own_id,
        contact=_person(item, value),
        at=_time(value),
        media_id=media_id,
        comment_id=comment_id,
    )


def _story_insights(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    media_id = identifier(value.get("media_id"))
    if media_id is None:
        return None
    figures = {name: number for name in value if name != "media_id" and (number := count(value[name])) is not None}
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
    return item.event(
        FeedChanged,
        FeedChange,
        "feed",
        fingerprint(item.original),
        contact=_person(item, value),
        at=_time(value),
        item=kind,
        verb=verb,
        post_id=identifier(value.get("post_id")),
        comment_id=identifier(value.get("comment_id")),
        text=text(value.get("message")),
    )


def _plain_message(item: Item, value: dict[str, Any]) -> InteractionEvent | None:
    """Read the guide's message: `id`, `from`, `text`, as if it had come in a thread."""
    author = id_of(value.get("from"))
    if author is None or not any(key in value for key in ("id", "mid", "text", "attachments")):
        return None
    message = {**value, "mid": identifier(value.get("id")) or value.get("mid")}
    raw = {
        "sender": author,
        "recipient": value.get("to"),
        "timestamp": value.get("timestamp"),
        "is_self": flag(value.get("is_self")),
        "message": {**message, "is_echo": flag(value.get("is_echo")) or author == item.account},
    }
    return from_messaging(item, raw)


def _person(item: Item, value: dict[str, Any]) -> str | None:
    """Return who did it; nobody, where it was the account itself."""
    author = id_of(value.get("from"))
    return None if author == item.account else author


def _time(value: dict[str, Any]) -> datetime | None:
    return moment(value.get("timestamp")) or moment(value.get("created_time"))


READERS: dict[str, Callable[[Item, dict[str, Any]], InteractionEvent | None]] = {
    "comments": _comment(CommentReceived),
    "live_comments": _comment(LiveCommentReceived),
    "mentions": _mention,
    "story_insights": _story_insights,
    "feed": _feed,
    "messages": _plain_message,
}
