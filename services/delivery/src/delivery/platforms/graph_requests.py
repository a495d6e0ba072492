"""What each action is as a request to the Graph API: method, path, query and body, and what a good answer names.

Sources: Meta, "Instagram Platform": Send messages (text, media, heart, MEDIA_SHARE, templates, quick replies, sender
actions, reactions), Private replies, Comment moderation, Mentions; Messenger Platform for the tag HUMAN_AGENT and the
opt-in token as a recipient. Pure: one table of shapes that a contract test pins, so no endpoint can drift.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from common.events.replies import (
    Action,
    Button,
    Buttons,
    Card,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Heart,
    HideComment,
    InThread,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    PrivateReply,
    SharedPost,
    Typing,
)
from delivery.platforms.sending import Refused

MESSAGE_ID = "message_id"
COMMENT_ID = "id"


@dataclass(frozen=True)
class Manner:
    """How a message goes out where the window alone does not allow it: as a person's, or on the person's leave."""

    human_agent: bool = False
    opt_in_token: str | None = field(default=None, repr=False)


NORMAL = Manner()


@dataclass(frozen=True)
class GraphRequest:
    """One call. `names` is the field of the answer that holds the id of what was sent; None where nothing was said to
    anybody, so that the call may be repeated.
    """

    name: str
    method: str
    path: str
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    params: Mapping[str, str] | None = None
    names: str | None = None

    @property
    def repeatable(self) -> bool:
        """Whether a second call would change nothing that the first did not."""
        return self.names is None


def request_of(action: Action, account: str, contact: str, manner: Manner = NORMAL) -> GraphRequest:
    """Return the request for an action. Raises Refused for what the Graph API does not do."""
    if isinstance(action, PrivateReply):
        body = {"recipient": {"comment_id": action.comment_id}, **_RESPONSE, "message": {"text": action.text}}
        return GraphRequest(action.kind, "POST", f"/{segment(account)}/messages", body, names=MESSAGE_ID)
    if isinstance(action, InThread):
        to = {"id": contact} if manner.opt_in_token is None else {"notification_messages_token": manner.opt_in_token}
        tag = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"} if manner.human_agent else _RESPONSE
        body = {"recipient": to, **tag, "message": _message(action)}
        return GraphRequest(action.kind, "POST", f"/{segment(account)}/messages", body, names=MESSAGE_ID)
    if isinstance(action, Typing | MarkSeen | MessageReaction):
        body = {"recipient": {"id": contact}, **_sender_action(action)}
        return GraphRequest(action.kind, "POST", f"/{segment(account)}/messages", body)
    return _about_comments(action, account)


def segment(identifier: str) -> str:
    """Return an id as one segment of a path, whatever characters a webhook put into it."""
    return quote(identifier, safe="")


_RESPONSE: Mapping[str, str] = {"messaging_type": "RESPONSE"}


def _about_comments(action: Action, account: str) -> GraphRequest:
    match action:
        case CommentReply():
            path = f"/{segment(action.under)}/replies"
            return GraphRequest(action.kind, "POST", path, {"message": action.text}, names=COMMENT_ID)
        case MentionReply(media_id=media, comment_id=comment):
            about = {"media_id": media} if comment is None else {"media_id": media, "comment_id": comment}
            body = {**about, "message": action.text}
            return GraphRequest(action.kind, "POST", f"/{segment(account)}/mentions", body, names=COMMENT_ID)
        case HideComment(comment_id=comment, hidden=hidden):
            hide = {"hide": "true" if hidden else "false"}
            return GraphRequest(action.kind, "POST", f"/{segment(comment)}", params=hide)
        case DeleteComment(comment_id=comment):
            return GraphRequest(action.kind, "DELETE", f"/{segment(comment)}")
        case _:
            raise Refused("no_route", f"the Graph API has no call for {action.kind}")


def _sender_action(action: Typing | MarkSeen | MessageReaction) -> dict[str, Any]:
    match action:
        case Typing(on=on):
            return {"sender_action": "typing_on" if on else "typing_off"}
        case MarkSeen():
            return {"sender_action": "mark_seen"}
        case MessageReaction(mid=mid, reaction=None):
            return {"sender_action": "unreact", "payload": {"message_id": mid}}
        case MessageReaction(mid=mid, reaction=reaction):
            return {"sender_action": "react", "payload": {"message_id": mid, "reaction": reaction}}


def _message(action: InThread) -> dict[str, Any]:
    match action:
        case DirectMessage(text=text, quick_replies=choices):
            listed = [{"content_type": "text", "title": one.title, "payload": one.payload} for one in choices]
            return {"text": text, "quick_replies": listed} if listed else {"text": text}
        case MediaMessage(media=media, urls=urls):
            attached = [{"type": media, "payload": {"url": url}} for url in urls]
            return {"attachment": attached[0]} if len(attached) == 1 else {"attachments": attached}
        case Heart():
            return {"attachment": {"type": "like_heart"}}
        case SharedPost(media_id=media):
            return {"attachment": {"type": "MEDIA_SHARE", "payload": {"id": media}}}
        case Cards(cards=cards):
            return _template({"template_type": "generic", "elements": [_element(card) for card in cards]})
        case Buttons(text=text, buttons=buttons):
            shown = [_button(button) for button in buttons]
            return _template({"template_type": "button", "text": text, "buttons": shown})
        case _:
            raise Refused("no_route", f"the Graph API has no call for {action.kind}")


def _template(payload: dict[str, Any]) -> dict[str, Any]:
    return {"attachment": {"type": "template", "payload": payload}}


def _element(card: Card) -> dict[str, Any]:
    element: dict[str, Any] = {"title": card.title}
    if card.subtitle is not None:
        element["subtitle"] = card.subtitle
    if card.image_url is not None:
        element["image_url"] = card.image_url
    if card.url is not None:
        element["default_action"] = {"type": "web_url", "url": card.url}
    if card.buttons:
        element["buttons"] = [_button(button) for button in card.buttons]
    return element


def _button(button: Button) -> dict[str, str]:
    if button.url is not None:
        return {"type": "web_url", "title": button.title, "url": button.url}
    return {"type": "postback", "title": button.title, "payload": button.payload or ""}
