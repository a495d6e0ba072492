"""Which messages a reply becomes: its pieces, each an action that one call does, in order."""

from collections.abc import Iterable

from common.events.replies import (
    Action,
    Buttons,
    Cards,
    CommentReply,
    DirectMessage,
    Heart,
    MediaMessage,
    MentionReply,
    PrivateReply,
    SharedPost,
)
from delivery.fingerprints import attachments_key, text_key
from delivery.split import shortened, split

NO_TEXT = ""
"""The fingerprint of what no thread shows as one message of ours: a reaction, a hidden comment, a flow."""


def pieces_of(action: Action) -> tuple[Action, ...]:
    """Return the actions to do one after another; nothing for a message whose text is blank.

    A long text is split, and its quick replies stand under the last part. A private reply can be sent only once, so
    one that is too long is shortened instead.
    """
    match action:
        case DirectMessage(text=text, quick_replies=choices):
            parts = split(text)
            shown = [()] * (len(parts) - 1) + [choices]
            updates = ({"text": part, "quick_replies": under} for part, under in zip(parts, shown, strict=True))
            return tuple(action.model_copy(update=update) for update in updates) if parts else ()
        case PrivateReply(text=text):
            return (action.model_copy(update={"text": shortened(text.strip())}),) if text.strip() else ()
        case CommentReply(text=text) | MentionReply(text=text) | Buttons(text=text):
            return (action,) if text.strip() else ()
        case _:
            return (action,)


def keys_of(pieces: Iterable[Action]) -> tuple[str, ...]:
    """Return the fingerprints by which the ledger knows the parts when the platform shows them."""
    return tuple(_key(piece) for piece in pieces)


def _key(piece: Action) -> str:
    match piece:
        case DirectMessage(text=text) | PrivateReply(text=text) | CommentReply(text=text) | MentionReply(text=text):
            return text_key(text)
        case MediaMessage(media=media, urls=urls):
            return attachments_key([media] * len(urls))
        case Heart():
            return attachments_key(["like_heart"])
        case SharedPost():
            return attachments_key(["share"])
        case Cards() | Buttons():
            return attachments_key(["template"])
        case _:
            return NO_TEXT
