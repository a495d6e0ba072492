"""What each action is as a request to ManyChat's public API.

Sources: ManyChat's published Swagger file (https://api.manychat.com/swagger) for the endpoints, and its "Response
Reference" (https://manychat.github.io/dynamic_block_docs/channels) for the content. Pure: a contract test pins it.

ManyChat sends no payload back: a button or a quick reply of its either opens a link or starts a flow. So a payload of
ours goes over ManyChat only where it names a flow, as `flow:<flow_ns>`, and such a payload goes nowhere else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.events.replies import (
    Action,
    Button,
    Buttons,
    Card,
    Cards,
    DirectMessage,
    Flow,
    MediaMessage,
    QuickReply,
    SubscriberChange,
)
from delivery.platforms.sending import Refused

STARTS_A_FLOW = "flow:"
"""Begins a payload that starts a ManyChat flow instead of coming back to us."""

CONTENT = "/fb/sending/sendContent"


@dataclass(frozen=True)
class ManyChatRequest:
    """One call about one subscriber; `repeatable` tells that a second one would change nothing more."""

    name: str
    path: str
    body: Mapping[str, Any] = field(repr=False)
    repeatable: bool = False


def request_of(action: Action, subscriber: int, tag: str | None = None) -> ManyChatRequest:
    """Return the request for an action. Raises Refused for what ManyChat does not do on Instagram."""
    match action:
        case DirectMessage(text=text, quick_replies=choices):
            return _content(subscriber, {"type": "text", "text": text}, tag, map(_quick_reply, choices))
        case MediaMessage(media="image", urls=(url,)):
            return _content(subscriber, {"type": "image", "url": url}, tag)
        case Cards(cards=cards):
            elements = [_element(card) for card in cards]
            message = {"type": "cards", "elements": elements, "image_aspect_ratio": "horizontal"}
            return _content(subscriber, message, tag)
        case Buttons(text=text, buttons=buttons):
            return _content(subscriber, {"type": "text", "text": text, "buttons": [_button(b) for b in buttons]}, tag)
        case Flow(flow_ns=flow):
            return ManyChatRequest("send_flow", "/fb/sending/sendFlow", {"subscriber_id": subscriber, "flow_ns": flow})
        case SubscriberChange():
            return _change(subscriber, action)
        case _:
            raise Refused("no_route", f"ManyChat has no call for {action.kind} on Instagram")


def set_field_request(subscriber: int, field_id: int, value: str) -> ManyChatRequest:
    """Return the request that writes a custom field by its id."""
    body = {"subscriber_id": subscriber, "field_id": field_id, "field_value": value}
    return ManyChatRequest("set_custom_field", "/fb/subscriber/setCustomField", body, repeatable=True)


def flow_in(payload: str | None) -> str | None:
    """Return the flow that a payload starts, or None where it comes back to us."""
    return payload.removeprefix(STARTS_A_FLOW) if payload is not None and payload.startswith(STARTS_A_FLOW) else None


def _content(
    subscriber: int, message: dict[str, Any], tag: str | None, quick_replies: Iterable[dict[str, str]] = ()
) -> ManyChatRequest:
    # Without its type the content would go to Messenger.
    content: dict[str, Any] = {"type": "instagram", "messages": [message]}
    choices = list(quick_replies)
    if choices:
        content["quick_replies"] = choices
    body: dict[str, Any] = {"subscriber_id": subscriber, "data": {"version": "v2", "content": content}}
    if tag:
        body["message_tag"] = tag
    return ManyChatRequest("send_content", CONTENT, body)


def _quick_reply(choice: QuickReply) -> dict[str, str]:
    return {"type": "flow", "caption": choice.title, "target": flow_in(choice.payload) or ""}


def _button(button: Button) -> dict[str, str]:
    if button.url is not None:
        return {"type": "url", "caption": button.title, "url": button.url}
    return {"type": "flow", "caption": button.title, "target": flow_in(button.payload) or ""}


def _element(card: Card) -> dict[str, Any]:
    known = {
        "title": card.title,
        "subtitle": card.subtitle,
        "image_url": card.image_url,
        "action_url": card.url,
        "buttons": [_button(button) for button in card.buttons] or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _change(subscriber: int, change: SubscriberChange) -> ManyChatRequest:
    about = {"subscriber_id": subscriber}
    match change.change:
        case "add_tag":
            path, body = "addTagByName", {**about, "tag_name": change.name}
        case "remove_tag":
            path, body = "removeTagByName", {**about, "tag_name": change.name}
        case "set_field_value":
            path, body = "setCustomFieldByName", {**about, "field_name": change.name, "field_value": change.value}
        case "unset_field_value":
            path, body = "setCustomFieldByName", {**about, "field_name": change.name, "field_value": None}
    return ManyChatRequest(change.change, f"/fb/subscriber/{path}", body, repeatable=True)
