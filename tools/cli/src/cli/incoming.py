"""What a customer does, as the webhook that tells of it. Pure: the sending is `cli.simulate`'s.

Every kind is one line of a table, so that a new one is added by writing what it looks like.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from devkit.attachments import ATTACHMENT_KINDS
from devkit.ids import Ids
from devkit.signing import serialise, signed_headers
from devkit.simulator import Simulator
from devkit.updates import Update, body_of

Kind = Literal[
    "dm",
    "comment",
    "story-reply",
    "image",
    "voice",
    "postback",
    "reaction",
    "echo",
    "read",
    "edit",
    "unsend",
    "quick-reply",
    "mention",
    "live-comment",
    "batch",
    "forged",
    "raw",
]
KINDS: tuple[str, ...] = get_args(Kind)

USUAL_CUSTOMER = Ids("the usual customer").contact()
"""Who acts when nobody is named: always the same person, so that one conversation grows."""

NEEDS_MID = frozenset({"reaction", "read", "edit", "unsend"})
"""Kinds that speak of an earlier message."""

ANSWERED = frozenset(
    {"dm", "comment", "story-reply", "image", "voice", "postback", "quick-reply", "live-comment", "batch"}
)
"""Kinds after which a reply is to be expected; `raw` may be anything."""

WRONG_SECRET = "nobody-signs-with-this"  # noqa: S105 it is there to be refused


@dataclass(frozen=True)
class Wishes:
    """What was asked for. Empty means that the kind's own example is taken."""

    contact: str = USUAL_CUSTOMER
    text: str = ""
    payload: str = ""
    emoji: str = "❤"
    mid: str = ""
    parent: str = ""
    attachment: str = "image"


@dataclass(frozen=True)
class Webhook:
    """One webhook, ready to be posted."""

    body: bytes
    headers: Mapping[str, str]
    updates: tuple[Update, ...]
    expected_status: int
    answered: bool

    @property
    def ids(self) -> tuple[str, ...]:
        """The platform's ids of the messages and comments in it."""
        return tuple(update.id for update in self.updates if update.id)

    @property
    def contacts(self) -> tuple[str, ...]:
        """The customers in it, each once."""
        return tuple(dict.fromkeys(update.contact for update in self.updates if update.contact))


def updates(kind: str, wishes: Wishes, simulator: Simulator) -> tuple[Update, ...]:
    """Return what happened. Raises ValueError naming the option that is missing or wrong."""
    if kind in NEEDS_MID and not wishes.mid:
        raise ValueError(f"{kind} needs --mid, the id of the message it is about (`jawab simulate dm` prints one)")
    if wishes.attachment not in ATTACHMENT_KINDS:
        raise ValueError(f"--attachment {wishes.attachment} is unknown; there are {', '.join(ATTACHMENT_KINDS)}")
    return BUILDERS[kind](simulator, wishes)


def webhook(kind: str, wishes: Wishes, simulator: Simulator, secret: str) -> Webhook:
    """Return the webhook of any kind but `raw`. Raises ValueError."""
    happened = updates(kind, wishes, simulator)
    body = serialise(body_of(*happened), escape_slashes=True)
    forged = kind == "forged"
    return Webhook(
        body=body,
        headers=signed_headers(body, WRONG_SECRET if forged else secret),
        updates=() if forged else happened,
        expected_status=401 if forged else 200,
        answered=kind in ANSWERED,
    )


def raw_webhook(body: bytes, secret: str) -> Webhook:
    """Return these exact bytes, signed."""
    return Webhook(body, signed_headers(body, secret), updates=(), expected_status=200, answered=False)


def _batch(simulator: Simulator, wishes: Wishes) -> tuple[Update, ...]:
    """Return two people's messages and a third one's comment: several items in several entries."""
    second, third = simulator.contact(), simulator.contact()
    return (
        simulator.text(wishes.contact, wishes.text or "السلام عليكم"),
        simulator.text(second, "Bonjour, vous livrez à Bassora ?"),
        simulator.comment(third, "Super, merci !"),
        simulator.text(wishes.contact, "بيش هذا؟"),
    )


Builder = Callable[[Simulator, Wishes], tuple[Update, ...]]

BUILDERS: Mapping[str, Builder] = {
    "dm": lambda s, w: (s.text(w.contact, w.text or "هلو، بيش هذا الفستان؟"),),
    "comment": lambda s, w: (s.comment(w.contact, w.text or "Super, merci !", parent=w.parent or None),),
    "story-reply": lambda s, w: (s.story_reply(w.contact, w.text or "شكد حلو هذا 😍"),),
    "image": lambda s, w: (s.attachment(w.contact, w.attachment, text=w.text or None),),
    "voice": lambda s, w: (s.voice(w.contact, w.text or "بيش هذا الفستان؟"),),
    "postback": lambda s, w: (s.postback(w.contact, w.text or "تتبع الطلب", w.payload or "TRACK_ORDER"),),
    "reaction": lambda s, w: (s.reaction(w.contact, w.mid, w.emoji),),
    "echo": lambda s, w: (s.echo(w.contact, w.text or "أني أجاوبك هسه", mid=w.mid or None),),
    "read": lambda s, w: (s.read(w.contact, w.mid),),
    "edit": lambda s, w: (s.edit(w.contact, w.mid, w.text or "قصدي اللون الأسود"),),
    "unsend": lambda s, w: (s.unsend(w.contact, w.mid),),
    "quick-reply": lambda s, w: (s.quick_reply(w.contact, w.text or "القياسات", w.payload or "SIZES"),),
    "mention": lambda s, w: (s.mention(comment=w.parent or None),),
    "live-comment": lambda s, w: (s.live_comment(w.contact, w.text or "متوفر أسود؟"),),
    "batch": _batch,
    "forged": lambda s, w: (s.text(w.contact, w.text or "this never came from Instagram"),),
}
