"""What the platforms take, checked before anything is sent: a refusal of theirs costs a call, and tells less.

Sources: Meta, "Instagram Platform", Send messages (1,000 bytes of text, 10 images, 13 quick replies of 20 characters,
10 elements of 80 characters, 3 buttons, media formats); buttons' texts of 640 and titles of 20 characters are what the
Messenger Platform documents. ManyChat's "Response Reference": 11 quick replies, 10 messages (we send one at a time),
links over HTTPS. 2,200 characters is the length of a comment in Instagram's app; the API may take less.

A file's size and true type are not known here, because the platform fetches it from its link. Only an ending that says
something else than what it is sent as is refused; a link without an ending is left to the platform.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from common.events.outcomes import Route
from common.events.replies import (
    Action,
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DirectMessage,
    Flow,
    MediaMessage,
    MentionReply,
    MessageReaction,
    QuickReply,
    SharedPost,
    SubscriberChange,
)
from delivery.platforms.manychat_requests import flow_in
from delivery.split import MAX_BYTES, split

MOST_PARTS = 10
"""Messages that one text may become: a thread that is written to too often is throttled."""

MOST_IMAGES = 10
MOST_CARDS = 10
MOST_BUTTONS = 3
MOST_QUICK_REPLIES: Mapping[Route, int] = {"graph": 13, "manychat": 11}
QUICK_REPLY_TITLE = 20
CARD_TITLE = 80
BUTTON_TITLE = 20
BUTTONS_TEXT = 640
PAYLOAD = 1000
COMMENT_TEXT = 2200
LINK = 2000
FIELD_NAME = 255
MEDIA_ID_DIGITS = 32

ENDINGS: Mapping[str, frozenset[str]] = {
    "image": frozenset({"png", "jpg", "jpeg", "gif"}),
    "video": frozenset({"mp4", "ogg", "avi", "mov", "webm"}),
    "audio": frozenset({"aac", "m4a", "wav", "mp4"}),
    "file": frozenset({"pdf"}),
}
MEDIA_ENDINGS = frozenset().union(*ENDINGS.values()) | {
    "bmp", "webp", "heic", "tif", "tiff", "svg", "mp3", "flac", "oga", "opus", "amr", "mkv", "wmv", "3gp",
    "zip", "exe", "doc", "docx", "xls", "xlsx", "ppt", "pptx", "txt", "html", "csv", "json",
}  # fmt: skip
"""Endings that say what a file is. Any other is part of a name."""


@dataclass(frozen=True)
class Breach:
    """A limit that content does not keep: a stable code, and a sentence that names field, limit and what was found."""

    reason: str
    detail: str


def breach(action: Action, route: Route) -> Breach | None:
    """Return the first limit of `route` that an action does not keep, or None."""
    return next(_breaches(action, route), None)


def _breaches(action: Action, route: Route) -> Iterator[Breach]:
    match action:
        case DirectMessage(text=text, quick_replies=choices):
            yield from _at_most(
                "text_too_long", "text", len(text.encode(errors="replace")), MOST_PARTS * MAX_BYTES, "bytes"
            )
            # Cuts fall where a reader would pause, so it may become more messages than its length alone asks for.
            yield from _at_most("text_too_long", "text", len(split(text)), MOST_PARTS, "messages")
            yield from _quick_replies(choices, route)
        case MediaMessage():
            yield from _media(action)
        case SharedPost(media_id=media):
            yield from _number("media_id", media)
        case Cards(cards=cards):
            yield from _cards(cards, route)
        case Buttons(text=text, buttons=buttons):
            yield from _at_most("buttons_text_too_long", "text", len(text), BUTTONS_TEXT, "characters")
            yield from _buttons("buttons", buttons, route)
        case _:
            yield from _elsewhere(action)


def _elsewhere(action: Action) -> Iterator[Breach]:
    yield from _ids(action)
    match action:
        case CommentReply(text=text) | MentionReply(text=text):
            yield from _at_most("comment_too_long", "text", len(text), COMMENT_TEXT, "characters")
        case MessageReaction(reaction=""):
            yield Breach("reaction_empty", "reaction is empty: leave it out to take a reaction back")
        case SubscriberChange(name=name, change=change, value=value):
            yield from _at_most("field_name_too_long", "name", len(name), FIELD_NAME, "characters")
            if change == "set_field_value" and value is None:
                yield Breach("value_missing", "value is needed for set_field_value")
        case Flow(flow_ns=flow):
            if any(character.isspace() for character in flow):
                yield Breach("flow_not_a_name", "flow_ns holds white space: it is the last part of the flow's address")
            yield from _at_most("flow_too_long", "flow_ns", len(flow), FIELD_NAME, "characters")


def _ids(action: Action) -> Iterator[Breach]:
    """Find the ids that are empty: they would address something else."""
    for name in ("comment_id", "media_id", "mid"):
        if getattr(action, name, None) == "":
            yield Breach("id_missing", f"{name} is empty")


def _at_most(reason: str, field: str, found: int, most: int, unit: str) -> Iterator[Breach]:
    if found > most:
        yield Breach(reason, f"{field} has {found} {unit}; at most {most} are possible")


def _quick_replies(choices: Sequence[QuickReply], route: Route) -> Iterator[Breach]:
    most = MOST_QUICK_REPLIES.get(route, 0)
    yield from _at_most("too_many_quick_replies", "quick_replies", len(choices), most, "entries")
    for at, choice in enumerate(choices):
        field = f"quick_replies[{at}]"
        yield from _title("quick_reply_title", f"{field}.title", choice.title, QUICK_REPLY_TITLE)
        yield from _payload(f"{field}.payload", choice.payload, route)


def _title(code: str, field: str, title: str, most: int) -> Iterator[Breach]:
    if not title.strip():
        yield Breach(f"{code}_empty", f"{field} is empty")
    yield from _at_most(f"{code}_too_long", field, len(title), most, "characters")


def _payload(field: str, payload: str, route: Route) -> Iterator[Breach]:
    if not payload:
        yield Breach("payload_empty", f"{field} is empty")
    yield from _at_most("payload_too_long", field, len(payload), PAYLOAD, "characters")
    if route == "manychat" and flow_in(payload) is None:
        yield Breach("payload_not_a_flow", f"{field} must begin with flow: over ManyChat, which sends no payload back")
    if route == "graph" and flow_in(payload) is not None:
        yield Breach("flow_needs_manychat", f"{field} starts a ManyChat flow, which the Graph API cannot do")


def _media(action: MediaMessage) -> Iterator[Breach]:
    most = MOST_IMAGES if action.media == "image" else 1
    yield from _at_most("too_many_media", f"urls of {action.media}", len(action.urls), most, "links")
    for at, url in enumerate(action.urls):
        yield from _link(f"urls[{at}]", url)
        ending = _ending(url)
        if ending in MEDIA_ENDINGS and ending not in ENDINGS[action.media]:
            taken = ", ".join(sorted(ENDINGS[action.media]))
            yield Breach("media_format", f"urls[{at}] ends in .{ending}; as {action.media} the platform takes {taken}")


def _cards(cards: Sequence[Card], route: Route) -> Iterator[Breach]:
    yield from _at_most("too_many_cards", "cards", len(cards), MOST_CARDS, "cards")
    for at, card in enumerate(cards):
        field = f"cards[{at}]"
        yield from _title("card_title", f"{field}.title", card.title, CARD_TITLE)
        if card.subtitle is not None:
            yield from _at_most(
                "card_subtitle_too_long", f"{field}.subtitle", len(card.subtitle), CARD_TITLE, "characters"
            )
        for name, url in (("image_url", card.image_url), ("url", card.url)):
            if url is not None:
                yield from _link(f"{field}.{name}", url)
        if not (card.subtitle or card.image_url or card.url or card.buttons):
            yield Breach("card_too_bare", f"{field} needs a subtitle, an image, a link or a button beside its title")
        yield from _buttons(f"{field}.buttons", card.buttons, route)


def _buttons(field: str, buttons: Sequence[Button], route: Route) -> Iterator[Breach]:
    yield from _at_most("too_many_buttons", field, len(buttons), MOST_BUTTONS, "buttons")
    for at, button in enumerate(buttons):
        yield from _title("button_title", f"{field}[{at}].title", button.title, BUTTON_TITLE)
        if button.url is not None:
            yield from _link(f"{field}[{at}].url", button.url)
        else:
            yield from _payload(f"{field}[{at}].payload", button.payload or "", route)


def _link(field: str, url: str) -> Iterator[Breach]:
    yield from _at_most("link_too_long", field, len(url), LINK, "characters")
    try:
        parts = urlsplit(url)
        usable = parts.scheme.lower() == "https" and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:
        usable = False
    if not usable:
        yield Breach("link_not_https", f"{field} must be a link that begins with https://")


def _ending(url: str) -> str:
    try:
        return PurePosixPath(urlsplit(url).path).suffix.removeprefix(".").lower()
    except ValueError:
        return ""


def _number(field: str, identifier: str) -> Iterator[Breach]:
    if not (identifier.isascii() and identifier.isdigit() and len(identifier) <= MEDIA_ID_DIGITS):
        yield Breach("id_not_a_number", f"{field} must be the post's id, {MEDIA_ID_DIGITS} digits at most")
