"""Which messages a reply becomes: its pieces, each an action that one call does, in order."""

from collections.abc import Iterable, Sequence

from common.errors import Permanent
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
from delivery.ledger import UNCUT, Cut, Part
from delivery.split import ELLIPSIS, shortened, split

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


def cuts_of(action: Action, pieces: Sequence[Action]) -> tuple[Cut, ...]:
    """Return where the words of each piece stand in the action's text; UNCUT for what is not cut from one."""
    if not isinstance(action, DirectMessage | PrivateReply):
        return (UNCUT,) * len(pieces)
    cuts: list[Cut] = []
    cursor = 0
    for piece in pieces:
        words = piece.text if isinstance(piece, DirectMessage | PrivateReply) else ""
        if isinstance(action, PrivateReply) and words != action.text.strip():
            words = words.removesuffix(ELLIPSIS)
        start = action.text.index(words, cursor)
        cursor = start + len(words)
        cuts.append((start, cursor))
    return tuple(cuts)


def piece_to_send(action: Action, parts: Sequence[Part], index: int) -> Action:
    """Return what one call does for a part, as it was planned when the reply was opened.

    Raises Permanent for a reply that an earlier version planned without noting its cuts, and that is cut otherwise now.
    """
    part = parts[index]
    if part.start is None or part.end is None or not isinstance(action, DirectMessage | PrivateReply):
        pieces = pieces_of(action)
        if tuple(one.key for one in parts) != keys_of(pieces):
            raise Permanent("an earlier version of Jawab cut its text in other places: see what the customer got of it")
        return pieces[index]
    words = action.text[part.start : part.end]
    if isinstance(action, PrivateReply):
        whole = part.end == len(action.text.rstrip())
        return action.model_copy(update={"text": words if whole else words + ELLIPSIS})
    choices = action.quick_replies if index == len(parts) - 1 else ()
    return action.model_copy(update={"text": words, "quick_replies": choices})


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
