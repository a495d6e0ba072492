"""By what a message of ours is recognised when the platform shows it again, in an echo or when a thread is read.

A text is recognised by its words. What has none (an image, a heart, cards) is recognised only by what it is: such a
fingerprint is weak, because a person's photo looks like ours. So it may say that something arrived, where nothing else
of that kind could have, and never that nothing did.

What the platform calls a thing it shows is not always what it was sent as: a post sent as MEDIA_SHARE comes back as
`share`, `ig_post` or both (Meta, "Instagram Platform", webhook attachments), so names of one thing are folded.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping

WEAK = "~"
"""What the fingerprint of a message without words begins with."""

SAME_THING: Mapping[str, str] = {
    "share": "post",
    "ig_post": "post",
    "media_share": "post",
    "ig_reel": "post",
    "reel": "post",
    "clip": "post",
    "generic": "template",
    "button": "template",
    "cards": "template",
    "sticker": "like_heart",
}
ONE_IS_ONE = frozenset({"post", "template"})
"""Things of which a message holds one, however many attachments the platform lists for it."""


def text_key(text: str) -> str:
    """Return the fingerprint by which a text is recognised when the platform shows it again.

    White space is folded and characters composed, because platforms trim and compose.
    """
    folded = " ".join(unicodedata.normalize("NFC", text).split())
    return hashlib.sha256(folded.encode(errors="surrogatepass")).hexdigest()[:32]


def attachments_key(kinds: Iterable[str]) -> str:
    """Return the fingerprint of a message without words, from the types of its attachments; "" where it has none."""
    things = sorted(SAME_THING.get(kind.lower(), kind.lower()) for kind in kinds)
    folded = [thing for at, thing in enumerate(things) if thing not in ONE_IS_ONE or thing not in things[:at]]
    return WEAK + ",".join(folded) if folded else ""


def message_keys(text: str | None, kinds: Iterable[str]) -> tuple[str, ...]:
    """Return the fingerprints that a message which the platform shows has: of its words, and of its attachments."""
    words = text_key(text) if text and text.strip() else ""
    return tuple(key for key in (words, attachments_key(kinds)) if key)


def is_weak(key: str) -> bool:
    """Tell whether other messages than the one meant may well have this fingerprint."""
    return key.startswith(WEAK)
