"""Words in brackets for what a model cannot read: media, shared posts, stories, taps, ads. Pure.

They are the same in all languages, say only what the webhook says, and are short: titles come from strangers' posts.
Kinds of attachments are an open set; one that nobody here knows is called by its own name.
"""

import re
from collections.abc import Sequence
from typing import Final

from common.events.interactions import Attachment, Message, Postback, Referral, ReplyTo

VOICE: Final = "voice message"
UNHEARD: Final = "voice message that could not be heard"
LONGEST_NAME = 40
LONGEST_DETAIL = 100

_KINDS: Final = {
    "audio": VOICE,
    "share": "shared post",
    "ig_post": "shared post",
    "reel": "shared reel",
    "ig_reel": "shared reel",
    "story": "shared story",
    "ig_story": "shared story",
    "story_mention": "story mention",
    "like_heart": "like heart",
    "ephemeral": "disappearing photo or video",
    "template": "card",
    "fallback": "link",
    "unsupported_type": "unsupported message",
}
_CROOKED = re.compile(r"[\[\]\s\x00-\x1f]+")


def of_message(message: Message) -> str:
    """Return the words for all of a message but its text, each once: "[story reply] [image]"."""
    return _bracketed(
        [
            *_of_referral(message.referral),
            *_of_reply(message.reply_to),
            *_of_tap("quick reply", message.quick_reply, message.text),
            *(_of_attachment(one) for one in message.attachments),
            *(["unsupported message"] if message.is_unsupported and not message.attachments else []),
        ]
    )


def of_postback(tapped: Postback) -> str:
    """Return the words for a tapped button."""
    return _bracketed([*_of_referral(tapped.referral), *_of_tap("button", tapped.payload, tapped.title)])


def _bracketed(words: Sequence[str]) -> str:
    return " ".join(f"[{each}]" for each in dict.fromkeys(words))


def _of_attachment(one: Attachment) -> str:
    kind = "sticker" if one.sticker_id else _KINDS.get(one.type, one.type.replace("_", " ")[:LONGEST_NAME])
    return _detailed(kind, one.title, one.subtitle)


def _of_reply(to: ReplyTo | None) -> list[str]:
    return ["story reply"] if to is not None and (to.story_id or to.story_url) else []


def _of_tap(what: str, payload: str | None, text: str | None) -> list[str]:
    """Name the payload where it says something that the text does not: it is the text where there is none."""
    said = (text or "").strip()
    return [_detailed(what, payload)] if payload and said and payload.strip() != said else []


def _of_referral(referral: Referral | None) -> list[str]:
    if referral is None:
        return []
    words = [_detailed("from an ad", referral.ad_title)] if referral.ad_id or referral.ad_title else []
    if referral.product_id:
        words.append(_detailed("about product", referral.product_id))
    return words or ([_detailed("came by the link", referral.ref)] if referral.ref else [])


def _detailed(kind: str, *details: str | None) -> str:
    told = [clean for one in details if one and (clean := _CROOKED.sub(" ", one).strip()[:LONGEST_DETAIL])]
    return f"{_CROOKED.sub(' ', kind)}: {', '.join(told)}" if told else _CROOKED.sub(" ", kind)
