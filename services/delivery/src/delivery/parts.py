"""Which messages a reply becomes: the texts of its parts, in order."""

from common.events.replies import Action, CommentReply, DirectMessage, PrivateReply
from delivery.ledger import text_key
from delivery.split import shortened, split

NO_TEXT = ""


def texts_of(action: Action) -> tuple[str, ...]:
    """Return the texts to send one after another; one empty text for what has none, nothing for a blank message.

    A private reply can be sent only once, so one that is too long is shortened instead of split.
    """
    match action:
        case DirectMessage(text=text):
            return split(text)
        case PrivateReply(text=text):
            return (shortened(text.strip()),) if text.strip() else ()
        case CommentReply(text=text):
            return (text,) if text.strip() else ()
        case _:
            return (NO_TEXT,)


def keys_of(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fingerprints by which the ledger knows the parts."""
    return tuple(text_key(text) if text else NO_TEXT for text in texts)
