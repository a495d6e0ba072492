"""What a message carries beside its text: attachments, what it answers, and how its writer came."""

from collections.abc import Iterator, Mapping
from typing import Any

from common.events.interactions import Attachment, Referral, ReplyTo
from ingest.notifications.reading import id_of, identifier, listed, mapping, text

MAX_ATTACHMENTS = 100
"""The platform allows ten; the rest stays in the original."""

MEDIA_IDS = ("ig_post_media_id", "reel_video_id", "story_media_id", "media_id", "story_id", "id")
LINKS = ("url", "story_media_url", "permalink", "permalink_url", "link")


def attachments(value: Any) -> tuple[Attachment, ...]:
    """Return a message's attachments, one shared post only once.

    While the platform renamed `share` to `ig_post` it announced one post under both names in one message.
    """
    found = [attachment(part) for part in listed(value)[:MAX_ATTACHMENTS] if isinstance(part, dict)]
    posts = [part for part in found if part.type == "ig_post"]
    if not posts:
        return tuple(found)
    return tuple(part for part in found if part.type != "share" or not any(_one_post(part, post) for post in posts))


def _one_post(share: Attachment, post: Attachment) -> bool:
    """Tell whether both are one post: by the ids, and where one has none, by the link or the caption."""
    if share.media_id and post.media_id:
        return share.media_id == post.media_id
    same_link = share.url is not None and share.url == post.url
    return same_link or bool(share.title and share.title == post.title)


def attachment(part: Mapping[str, Any]) -> Attachment:
    """Return one attachment. The kinds are an open set, and some have no payload at all."""
    payload = mapping(part.get("payload"))
    card = next(_cards(payload), {})
    links = [text(payload.get(name)) for name in LINKS]
    return Attachment(
        type=text(part.get("type")) or "unknown",
        url=_first(*links, text(part.get("url")), text(part.get("URL")), text(card.get("image_url"))),
        title=_first(text(payload.get("title")), text(part.get("title")), text(card.get("title"))),
        subtitle=_first(text(payload.get("subtitle")), text(card.get("subtitle"))),
        media_id=_first(*(identifier(payload.get(name)) for name in MEDIA_IDS)),
        product_id=_first(identifier(payload.get("product_id")), identifier(card.get("id"))),
        sticker_id=identifier(payload.get("sticker_id")),
    )


def _cards(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the cards of a template, whichever kind of template they are in."""
    for holder in (payload, mapping(payload.get("product")), mapping(payload.get("generic"))):
        yield from (card for card in listed(holder.get("elements")) if isinstance(card, dict))


def reply_to(value: Any) -> ReplyTo | None:
    """Return what a message answers, if it says so."""
    answered = mapping(value)
    if not answered:
        return None
    story = mapping(answered.get("story"))
    mid, story_id, url = identifier(answered.get("mid")), identifier(story.get("id")), text(story.get("url"))
    return ReplyTo(mid=mid, story_id=story_id, story_url=url) if mid or story_id or url else None


def referral(value: Any) -> Referral | None:
    """Return how the person came, if it is said."""
    told = mapping(value)
    if not told:
        return None
    advertisement = mapping(told.get("ads_context_data"))
    return Referral(
        source=text(told.get("source")),
        type=text(told.get("type")),
        ref=text(told.get("ref")),
        ad_id=identifier(told.get("ad_id")),
        ad_title=text(advertisement.get("ad_title")),
        product_id=id_of(told.get("product")) or identifier(advertisement.get("product_id")),
        post_id=identifier(advertisement.get("post_id")),
        flow_id=identifier(advertisement.get("flow_id")),
        photo_url=text(advertisement.get("photo_url")),
        video_url=text(advertisement.get("video_url")),
        referer_url=text(told.get("referer_uri")),
    )


def _first(*candidates: str | None) -> str | None:
    """Return the first that says something."""
    return next(filter(None, candidates), None)
