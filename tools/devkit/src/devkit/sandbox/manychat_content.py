"""What content over ManyChat may hold on Instagram, by its "Response Reference", and what a person reads of it."""

from typing import Any

from devkit.sandbox.manychat_answers import Refused

MAX_MESSAGES = 10
MAX_ACTIONS = 5
MAX_QUICK_REPLIES = 11
MAX_TEXT_CHARACTERS = 2000
MAX_BUTTONS = 3
MAX_ELEMENTS = 10
MAX_CAPTION = 20
MESSAGE_KINDS = frozenset({"text", "image", "cards"})
BUTTON_KINDS = frozenset({"url", "flow"})
"""A button that goes to a node works in a flow only, not over the public API; nor does `buy` without a shop."""


def checked_content(data: Any) -> dict[str, Any]:
    """Return the content, or raise what is wrong with it."""
    if not isinstance(data, dict):
        raise Refused("data: an object is needed")
    if data.get("version") != "v2":
        raise Refused("data.version: must be v2")
    content = data.get("content")
    if not isinstance(content, dict):
        raise Refused("data.content: an object is needed")
    messages = content.get("messages")
    if not isinstance(messages, list) or not 1 <= len(messages) <= MAX_MESSAGES:
        raise Refused(f"data.content.messages: between 1 and {MAX_MESSAGES} are needed")
    for message in messages:
        _check_message(message)
    for name, most in (("actions", MAX_ACTIONS), ("quick_replies", MAX_QUICK_REPLIES)):
        listed = content.get(name) or []
        if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
            raise Refused(f"data.content.{name}: a list of objects is needed")
        if len(listed) > most:
            raise Refused(f"data.content.{name}: at most {most}")
    for choice in content.get("quick_replies") or []:
        _check_button(choice, "data.content.quick_replies")
    return content


def _check_message(message: Any) -> None:
    kind = message.get("type") if isinstance(message, dict) else None
    if kind not in MESSAGE_KINDS:
        raise Refused(f"data.content.messages.type: {kind} is none of {sorted(MESSAGE_KINDS)}")
    text = message.get("text")
    if kind == "text" and (not isinstance(text, str) or not 1 <= len(text) <= MAX_TEXT_CHARACTERS):
        raise Refused(f"data.content.messages.text: between 1 and {MAX_TEXT_CHARACTERS} characters")
    if kind == "image" and not message.get("url"):
        raise Refused("data.content.messages.url: an image needs one")
    _check_buttons(message.get("buttons") or [], "data.content.messages.buttons")
    if kind == "cards":
        elements = message.get("elements")
        if not isinstance(elements, list) or not 1 <= len(elements) <= MAX_ELEMENTS:
            raise Refused(f"data.content.messages.elements: between 1 and {MAX_ELEMENTS} are needed")
        for element in elements:
            if not isinstance(element, dict) or not element.get("title"):
                raise Refused("data.content.messages.elements.title: a card needs one")
            _check_buttons(element.get("buttons") or [], "data.content.messages.elements.buttons")


def _check_buttons(buttons: Any, where: str) -> None:
    if not isinstance(buttons, list) or len(buttons) > MAX_BUTTONS:
        raise Refused(f"{where}: at most {MAX_BUTTONS}")
    for button in buttons:
        _check_button(button, where)


def _check_button(button: Any, where: str) -> None:
    kind = button.get("type") if isinstance(button, dict) else None
    if kind not in BUTTON_KINDS:
        raise Refused(f"{where}.type: {kind} is none of {sorted(BUTTON_KINDS)}")
    if not 1 <= len(str(button.get("caption", ""))) <= MAX_CAPTION:
        raise Refused(f"{where}.caption: between 1 and {MAX_CAPTION} characters")
    needed = "url" if kind == "url" else "target"
    if not button.get(needed):
        raise Refused(f"{where}.{needed}: is needed for {kind}")


def words(parameters: dict[str, Any]) -> str:
    """Return what the customer would read, of a request not yet checked."""
    data = parameters.get("data")
    content = data.get("content") if isinstance(data, dict) else None
    messages = content.get("messages") if isinstance(content, dict) else None
    if not isinstance(messages, list):
        return ""
    return "\n".join(words_of(message) for message in messages if isinstance(message, dict))


def words_of(message: dict[str, Any]) -> str:
    """Return what the customer would read of one message."""
    text = message.get("text")
    return text if isinstance(text, str) else f"[{message.get('type', '?')}]"


def kinds_of(message: dict[str, Any]) -> list[str]:
    """Return the types under which Instagram shows a message's attachments; none for plain text."""
    kind = str(message["type"])
    if kind == "text":
        return ["template"] if message.get("buttons") else []
    return ["template"] if kind == "cards" else [kind]
