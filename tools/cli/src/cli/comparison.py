"""What was decided beside what would be decided. Pure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from cli.decided import Decided
from common.events.replies import (
    Action,
    Buttons,
    Cards,
    CommentReply,
    DeleteComment,
    DirectMessage,
    Flow,
    Heart,
    HideComment,
    InThread,
    MarkSeen,
    MediaMessage,
    MentionReply,
    MessageReaction,
    OperatorNotification,
    PrivateReply,
    SharedPost,
    SubscriberChange,
    Typing,
)

Mark = Literal["same", "different", "silent", "covered", "model"]

MEANINGS: dict[Mark, str] = {
    "same": "decided the same",
    "different": "decided differently",
    "silent": "not answered, then and now",
    "covered": "answered together with a later message",
    "model": "the model would be asked now; no answer of it is on record",
}


@dataclass(frozen=True)
class Compared:
    """One message, then and now."""

    event_id: str
    at: datetime
    conversation: str
    channel: str
    said: str = field(repr=False)
    then: Decided | None
    now: Decided | None
    mark: Mark
    became: str = ""
    note: str = ""


def mark(event_id: str, then: Decided | None, now: Decided | None, *, model_needed: bool = False) -> Mark:
    """Say how two decisions about one message compare."""
    if then is not None and then.covers[-1] != event_id:
        return "covered"
    if model_needed:
        return "model"
    if then is None and now is None:
        return "silent"
    if then is None or now is None:
        return "different"
    return "same" if effects(then.actions) == effects(now.actions) else "different"


WHERE_IT_STANDS = {"parent_id", "live"}
"""What an action repeats of the comment it answers: a fact, not a decision, and older records do not have it."""


def effects(actions: Sequence[Action]) -> list[tuple[str, ...]]:
    """Return what actions do in the world, apart from ids; a notification's wording is nobody's decision."""
    return [_effect(action) for action in actions if not isinstance(action, Typing | MarkSeen)]


def _effect(action: Action) -> tuple[str, ...]:
    if isinstance(action, OperatorNotification):
        return (action.kind, action.reason)
    said = action.model_dump(mode="json", exclude=WHERE_IT_STANDS).values()
    return tuple(value if isinstance(value, str) else json.dumps(value, sort_keys=True) for value in said)


def sketch(decided: Decided | None) -> str:
    """Say a decision in a few words: `rule price: تفضل …`, `model: …, tells a person (escalated)`."""
    if decided is None:
        return "nothing"
    head = f"rule {decided.rule}" if decided.rule else decided.origin
    parts = [said for action in decided.actions if (said := in_a_few_words(action))]
    return f"{head}: {', '.join(parts)}" if parts else head


def in_a_few_words(action: Action) -> str:
    """Say what an action does; nothing for what no reader of decisions cares about."""
    if isinstance(action, InThread):
        return _spoken(action)
    match action:
        case CommentReply() | MentionReply():
            return action.text
        case PrivateReply():
            return f"in private: {action.text}"
        case MessageReaction():
            return f"reacts with {action.reaction}" if action.reaction else "takes its reaction back"
        case SubscriberChange():
            return f"{action.change} {action.name} in ManyChat"
        case HideComment(hidden=hidden):
            return "hides the comment" if hidden else "shows the comment"
        case DeleteComment():
            return "deletes the comment"
        case OperatorNotification():
            return f"tells a person ({action.reason})"
        case Typing() | MarkSeen():
            return ""


def _spoken(action: InThread) -> str:
    match action:
        case DirectMessage():
            return action.text
        case MediaMessage():
            return f"sends {len(action.urls)} images" if len(action.urls) > 1 else f"sends {action.media}"
        case Heart():
            return "sends a heart"
        case SharedPost():
            return f"shares the post {action.media_id}"
        case Cards():
            return "cards: " + ", ".join(card.title for card in action.cards)
        case Buttons():
            return " ".join([action.text, *(f"[{button.title}]" for button in action.buttons)])
        case Flow():
            return f"starts the flow {action.flow_ns}"


def summary(compared: Sequence[Compared]) -> str:
    """Count the marks in words."""
    counts = Counter(one.mark for one in compared)
    said = [f"{counts[name]} {MEANINGS[name]}" for name in MEANINGS if counts[name]]
    return f"{len(compared)} message{'' if len(compared) == 1 else 's'}: {'; '.join(said)}" if said else "no messages"


def as_data(one: Compared) -> dict[str, Any]:
    """Return one comparison for another program."""
    return {
        "event_id": one.event_id,
        "at": one.at.isoformat(),
        "conversation": one.conversation,
        "channel": one.channel,
        "said": one.said,
        "mark": one.mark,
        "then": _data(one.then),
        "now": _data(one.now),
        "became": one.became or None,
        "note": one.note or None,
    }


def _data(decided: Decided | None) -> dict[str, Any] | None:
    if decided is None:
        return None
    return {
        "origin": decided.origin,
        "rule": decided.rule,
        "language": decided.language,
        "actions": [action.model_dump(mode="json", exclude_none=True) for action in decided.actions],
    }
