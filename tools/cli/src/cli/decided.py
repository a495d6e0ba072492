"""What was decided about a message: from the `decisions` collection or from the replies' topic."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai.decisions import Decision
from common.events.replies import Action, CommentReply, DirectMessage, PrivateReply, ReplyGenerated
from common.mongo import DECISIONS, Database

AT_ONCE = 500
ASKED_FOR = frozenset({"api", "human"})
"""Origins of replies that nobody decided: a program or a person asked for them."""


@dataclass(frozen=True)
class Decided:
    """One decision as it was taken. `covers` are the interactions it answers; the last of them began it."""

    origin: str
    actions: tuple[Action, ...] = field(repr=False)
    covers: tuple[str, ...]
    reply_ids: tuple[str, ...] = ()
    rule: str | None = None
    model: str | None = None
    language: str | None = None
    intent: str | None = None
    sentiment: str | None = None
    escalate: bool = False
    lead: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def text(self) -> str | None:
        """What the customer was told."""
        return next((a.text for a in self.actions if isinstance(a, DirectMessage | PrivateReply | CommentReply)), None)


def from_decision(decision: Decision) -> Decided:
    """Return a stored decision."""
    return Decided(
        origin=decision.origin,
        actions=tuple(reply.data.action for reply in decision.replies),
        covers=decision.covers,
        reply_ids=tuple(reply.data.reply_id for reply in decision.replies),
        rule=decision.rule,
        model=decision.model,
        language=decision.language,
        intent=decision.intent,
        sentiment=decision.sentiment,
        escalate=decision.escalate,
        lead=decision.lead,
    )


def from_replies(replies: Sequence[ReplyGenerated]) -> dict[str, Decided]:
    """Return what was decided about each interaction, as far as its published replies tell."""
    published: dict[str, dict[str, ReplyGenerated]] = {}
    for reply in replies:
        answered = reply.data.in_reply_to
        if answered is not None and reply.data.origin not in ASKED_FOR:
            published.setdefault(answered, {})[reply.data.reply_id] = reply  # published twice is still one reply
    return {
        answered: Decided(
            origin=next(iter(of.values())).data.origin,
            actions=tuple(reply.data.action for reply in of.values()),
            covers=(answered,),
            reply_ids=tuple(of),
        )
        for answered, of in published.items()
    }


async def stored_decisions(db: Database, event_ids: Sequence[str]) -> dict[str, Decided]:
    """Return the stored decision of each interaction that has one. Raises PyMongoError."""
    found: dict[str, Decided] = {}
    for start in range(0, len(event_ids), AT_ONCE):
        wanted = list(event_ids[start : start + AT_ONCE])
        documents: list[dict[str, Any]] = await db[DECISIONS].find({"covers": {"$in": wanted}}).to_list()
        for document in documents:
            decided = from_decision(Decision.from_document(document))
            found |= dict.fromkeys(decided.covers, decided)
    return found
