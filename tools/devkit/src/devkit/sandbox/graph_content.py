"""What a message over the Graph API may hold, and what is wrong with one that may not be sent. Pure.

The limits are those Meta documents for Instagram messaging: 1,000 bytes of text, ten images, thirteen quick replies,
ten elements, three buttons. What it leaves open is taken.
"""

from collections.abc import Iterator
from typing import Any

MAX_TEXT_BYTES = 1000
MAX_ATTACHMENTS = 10
MAX_QUICK_REPLIES = 13
MAX_QUICK_REPLY_TITLE = 20
MAX_ELEMENTS = 10
MAX_ELEMENT_TEXT = 80
MAX_BUTTONS = 3
MAX_BUTTON_TITLE = 20
MAX_BUTTONS_TEXT = 640
MEDIA_KINDS = frozenset({"image", "video", "audio", "file"})
ATTACHMENT_KINDS = MEDIA_KINDS | {"like_heart", "MEDIA_SHARE", "template"}
QUICK_REPLY_KINDS = frozenset({"text", "user_phone_number", "user_email"})

SHOWN_AS = {"MEDIA_SHARE": "ig_post"}
"""Under which type the platform shows again what it was sent as."""


def kinds_of(message: dict[str, Any]) -> list[str]:
    """Return the types under which a message's attachments are shown; none for plain text."""
    kinds = [str(one.get("type", "?")) for one in _attachments(message) if isinstance(one, dict)]
    return [SHOWN_AS.get(kind, kind) for kind in kinds]


def text_of(message: dict[str, Any]) -> str:
    """Return what a person would read of a message that is not checked yet."""
    text = message.get("text")
    return text if isinstance(text, str) else " ".join(f"[{kind}]" for kind in kinds_of(message))


def problem_of(message: dict[str, Any]) -> str:
    """Return what is wrong with a message, "" where nothing is."""
    return next(_problems(message), "")


def _attachments(message: dict[str, Any]) -> list[Any]:
    listed = message.get("attachments", [message["attachment"]] if "attachment" in message else [])
    return listed if isinstance(listed, list) else ["not a list"]


def _problems(message: dict[str, Any]) -> Iterator[str]:
    text, attachments = message.get("text"), _attachments(message)
    if not all(isinstance(attachment, dict) for attachment in attachments):
        yield "message.attachments must be a list of objects"
        return
    if attachments and text is not None:
        yield "A message has either a text or an attachment"
    if not attachments:
        yield from _about_text(text)
    if len(attachments) > MAX_ATTACHMENTS:
        yield f"At most {MAX_ATTACHMENTS} attachments"
    if len(attachments) > 1 and any(attachment.get("type") != "image" for attachment in attachments):
        yield "Only images can be several in one message"
    for attachment in attachments:
        yield from _about_attachment(attachment)
    yield from _about_quick_replies(message.get("quick_replies", []))


def _about_text(text: Any) -> Iterator[str]:
    if text is None:
        yield "The message is empty: give text or an attachment"
    elif not isinstance(text, str) or not text:
        yield "message.text must be a text that is not empty"
    elif len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        yield f"message.text is above {MAX_TEXT_BYTES} bytes"


def _about_quick_replies(listed: Any) -> Iterator[str]:
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        yield "quick_replies must be a list of objects"
        return
    if len(listed) > MAX_QUICK_REPLIES:
        yield f"quick_replies: at most {MAX_QUICK_REPLIES}"
    for one in listed:
        kind = one.get("content_type")
        if kind not in QUICK_REPLY_KINDS:
            yield f"quick_replies.content_type is none of {sorted(QUICK_REPLY_KINDS)}"
        if kind == "text" and not (one.get("title") and one.get("payload")):
            yield "quick_replies: title and payload are required"
        if len(str(one.get("title", ""))) > MAX_QUICK_REPLY_TITLE:
            yield f"quick_replies.title: at most {MAX_QUICK_REPLY_TITLE} characters"


def _about_attachment(attachment: dict[str, Any]) -> Iterator[str]:
    kind, payload = attachment.get("type"), attachment.get("payload")
    fields = payload if isinstance(payload, dict) else {}
    if kind not in ATTACHMENT_KINDS:
        yield f"attachment.type is none of {sorted(ATTACHMENT_KINDS)}"
    elif kind in MEDIA_KINDS and not (_is_link(fields.get("url")) or fields.get("attachment_id")):
        yield f"attachment.payload.url is required for {kind}"
    elif kind == "MEDIA_SHARE" and not str(fields.get("id", "")).isdigit():
        yield "attachment.payload.id must be the id of one of the account's posts"
    elif kind == "template":
        yield from _about_template(fields)


def _about_template(fields: dict[str, Any]) -> Iterator[str]:
    kind = fields.get("template_type")
    if kind == "generic":
        elements = fields.get("elements")
        if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ELEMENTS:
            yield f"elements: between 1 and {MAX_ELEMENTS} are needed"
            return
        for element in elements:
            yield from _about_element(element)
    elif kind == "button":
        text = fields.get("text")
        if not isinstance(text, str) or not 1 <= len(text) <= MAX_BUTTONS_TEXT:
            yield f"text: between 1 and {MAX_BUTTONS_TEXT} characters"
        yield from _about_buttons(fields.get("buttons"), least=1)
    else:
        yield "template_type is neither generic nor button"


def _about_element(element: Any) -> Iterator[str]:
    if not isinstance(element, dict) or not element.get("title"):
        yield "elements: an object with a title is needed"
        return
    for name in ("title", "subtitle"):
        if len(str(element.get(name, ""))) > MAX_ELEMENT_TEXT:
            yield f"elements.{name}: at most {MAX_ELEMENT_TEXT} characters"
    if set(element) <= {"title"}:
        yield "elements: one more property than the title is needed"
    if "image_url" in element and not _is_link(element["image_url"]):
        yield "elements.image_url must be a link"
    action = element.get("default_action")
    if action is not None and not (
        isinstance(action, dict) and action.get("type") == "web_url" and "title" not in action
    ):
        yield "elements.default_action must be of type web_url, without a title"
    yield from _about_buttons(element.get("buttons", []), least=0)


def _about_buttons(buttons: Any, *, least: int) -> Iterator[str]:
    if not isinstance(buttons, list) or not least <= len(buttons) <= MAX_BUTTONS:
        yield f"buttons: between {least} and {MAX_BUTTONS} are needed"
        return
    for button in buttons:
        kind = button.get("type") if isinstance(button, dict) else None
        if kind not in {"web_url", "postback"}:
            yield "buttons.type is neither web_url nor postback"
        elif not 1 <= len(str(button.get("title", ""))) <= MAX_BUTTON_TITLE:
            yield f"buttons.title: between 1 and {MAX_BUTTON_TITLE} characters"
        elif kind == "web_url" and not _is_link(button.get("url")):
            yield "buttons.url must be a link"
        elif kind == "postback" and not button.get("payload"):
            yield "buttons.payload is required"


def _is_link(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))
