"""Which decided reply each message is a piece of that a platform took, by person, place and text.

Pure. What a platform takes carries no id of ours, and not every text carries a tag: apologies and the later parts of
long answers have none. Texts are compared without white space, because none of it survives a cut for certain.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from history import Generated, Taken

SPEAKING: Mapping[str, str] = {
    "direct_message": "message",
    "private_reply": "private_reply",
    "comment_reply": "comment_reply",
}
"""The kinds of replies that a customer reads, and what they are when a platform takes them."""
ELLIPSIS = "…"
"""What ends a private reply that was too long: there can be one only."""


@dataclass(frozen=True)
class Piece:
    """One taking. `reply` is None where nobody decided anything like it; `again` says that it was taken before."""

    taken: Taken
    reply: Generated | None = None
    again: bool = False


@dataclass(frozen=True)
class Pieces:
    """All takings, in their order, and how much of each reply they are."""

    all: Sequence[Piece]
    begun: frozenset[str]
    """The replies of which something was taken."""
    whole: frozenset[str]
    """The replies of which everything was taken."""


def pieces_of(spoken: Iterable[Taken], replies: Iterable[Generated], likely: Callable[[Generated], int]) -> Pieces:
    """Return what each taking is a piece of; of replies with one text the one with the least `likely` has the first."""
    drafts: dict[tuple[str, str], list[_Draft]] = defaultdict(list)
    for reply in sorted(replies, key=lambda one: (likely(one), one.position)):
        if reply.kind in SPEAKING:
            drafts[reply.contact, SPEAKING[reply.kind]].append(_Draft(reply))
    found = [_piece(one, [draft for draft in drafts[one.contact, one.kind] if draft.below(one)]) for one in spoken]
    known = [draft for group in drafts.values() for draft in group]
    return Pieces(
        found,
        frozenset(draft.reply.reply_id for draft in known if draft.so_far),
        frozenset(draft.reply.reply_id for draft in known if draft.whole),
    )


class _Draft:
    """A reply, and as much of its text as was taken so far."""

    def __init__(self, reply: Generated) -> None:
        self.reply = reply
        self.text = _squeezed(reply.text)
        self.so_far = ""

    @property
    def whole(self) -> bool:
        return self.so_far == self.text

    def below(self, one: Taken) -> bool:
        return not (self.reply.comment and one.comment) or self.reply.comment == one.comment

    def goes_on_with(self, text: str) -> bool:
        return self.text.startswith(self.so_far + text)


def _piece(one: Taken, drafts: Sequence[_Draft]) -> Piece:
    text = _squeezed(one.text)
    if one.kind == "private_reply" and text.endswith(ELLIPSIS):
        shortened = next((draft for draft in drafts if not draft.so_far and draft.goes_on_with(text[:-1])), None)
        if shortened is not None and shortened.text != text:
            shortened.so_far = shortened.text
            return Piece(one, shortened.reply)
    if not text:
        return Piece(one)
    ways: Sequence[Callable[[_Draft], bool]] = (
        lambda draft: bool(draft.so_far) and draft.goes_on_with(text),
        lambda draft: draft.text == text and not draft.so_far,
        lambda draft: not draft.so_far and draft.goes_on_with(text),
    )
    for way in ways:
        if draft := next(filter(way, drafts), None):
            draft.so_far += text
            return Piece(one, draft.reply)
    for draft in drafts:
        if text in draft.so_far:
            return Piece(one, draft.reply, again=True)
    return Piece(one, next((draft.reply for draft in drafts if text in draft.text), None))


def _squeezed(text: str) -> str:
    return "".join(text.split())
