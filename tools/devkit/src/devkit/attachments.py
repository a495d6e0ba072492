"""The attachments of direct messages: each kind has a payload of its own, and its links lead nowhere on purpose.

Where a sandbox world runs, it serves a picture and a recording in their place.
"""

import base64
from urllib.parse import urlencode

from devkit.ids import Ids
from devkit.updates import Item

ATTACHMENT_KINDS = (
    "image",
    "video",
    "audio",
    "file",
    "share",
    "ig_post",
    "ig_reel",
    "reel",
    "ig_story",
    "story_mention",
    "like_heart",
    "ephemeral",
    "template",
    "fallback",
    "unsupported_type",
)
"""Every attachment type a builder exists for; the platform's own list is open."""

SERVED = {"audio": "voice.wav", "image": "image.png"}
"""The kinds of attachments that a sandbox world can show or play."""

_CDN = "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id="


def link(asset: str, ids: Ids) -> str:
    """Return the link of an asset on the platform's content network, signed as there."""
    signature = "Ab" + base64.urlsafe_b64encode(ids.number(32).encode()).decode().rstrip("=")
    return f"{_CDN}{asset}&signature={signature}"


def unsigned_link(asset: str) -> str:
    """Return a link to an asset as an advertisement's context carries it."""
    return f"{_CDN}{asset}"


def attachment(kind: str, ids: Ids, *, media: str = "", words: str = "") -> Item:
    """Return an attachment of a kind; `media` is the address of a sandbox world, `words` what its recording says."""
    asset = ids.number(17)
    url = link(asset, ids)
    if media and kind in SERVED:
        query = f"?{urlencode({'words': words})}" if words else ""
        url = f"{media}/media/{SERVED[kind]}{query}"
    title = "وصل جديد: حقائب جلد طبيعي 👜"
    payloads: dict[str, Item | None] = {
        "like_heart": None,
        "ephemeral": None,
        "share": {"url": url, "ig_post_media_id": asset, "title": title},
        "ig_post": {"url": url, "ig_post_media_id": asset, "title": title},
        "ig_reel": {"url": url, "reel_video_id": asset, "title": title},
        "reel": {"url": url, "reel_video_id": asset, "title": title},
        "ig_story": {"story_media_id": asset, "story_media_url": url},
        "template": {"generic": {"elements": [{"title": title, "subtitle": "دار الزيتون"}]}},
        "fallback": {"title": "دليل القياسات", "url": "https://example.com/sizes"},
    }
    payload = payloads.get(kind, {"url": url})
    return {"type": kind} if payload is None else {"type": kind, "payload": payload}
