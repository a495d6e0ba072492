"""Says of each promise whether a run held it, from what the world outside took and which webhooks were acknowledged.

Pure. What Jawab says of itself (Kafka's records, outcome events, logs) is used in two ways only: to find out which
message an untagged effect belongs to, and to believe it where it says that it did *not* answer, and why. That somebody
was answered, or a person told, is believed when the world took it, and all of it.

A message may end in these ways: answered; told to a person (a notification about it was taken); apologised for; left
to the person who answers the conversation; suppressed with a reason; taken back by its writer; erased with everything
else of its writer's; dead-lettered *and* told. Each excuse is tried: a person must have written, acknowledged, at a
time that explains the silence, taking back and an erasure must have been acknowledged, a window must have had the time
to close, and a notification must be about this very message.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from aftermath import is_erased, not_dead_lettered, still_stored
from history import Became, Generated, History, PersonWrote, Position, Said, Taken
from pieces import SPEAKING as REPLIES
from pieces import Piece, Pieces, pieces_of

TAG = re.compile(r"#c\d+m\d+\b")
SPEAKING: Mapping[str, str] = {"message": "thread", "private_reply": "comment", "comment_reply": "comment"}
"""Effects that a customer reads, and what kind of saying they answer."""
FINAL = frozenset({"delivered", "failed", "suppressed"})
REFUSED = frozenset({401, 403, 429})
LEFT_TO_A_PERSON = "human_owns"
UNDECIDED_WITHIN = 60.0
"""Seconds after its acknowledgement in which a message that was never taken in may have been somebody else's matter."""
TAKEN_IN_WITHIN = 300.0
"""Seconds a message that was taken in may wait for its decision while everything is broken and the machine is busy. A
person who writes by then has it, too, and who takes it back by then need not be answered."""
DAY = 86_400.0
CLOSES_AFTER: Mapping[str, float] = {"window_closed": 0.9 * DAY, "comment_too_old": 6.9 * DAY}
"""Reasons to withhold a reply that time alone brings, and how many seconds it takes, less some margin."""
LIKELY: Mapping[str, int] = {"delivered": 0, "failed": 2, "suppressed": 3}
"""Of two replies with one text, which was taken first; what has no end comes between."""
UNKNOWN_REASON = "outcome_unknown"

INVARIANTS: Mapping[str, str] = {
    "lost": "what was acknowledged was answered, told to a person, withheld with a reason or taken back; "
    "what is said to be delivered was taken",
    "twice": "no platform took the same reply twice, and no message was answered by two decisions",
    "order": "the answers of a conversation left in the order of the messages they answer",
    "ownership": "no message of ours was taken after a person's echo was acknowledged",
    "forged": "a webhook with a forged signature was refused and had no effect",
    "committed_past": "no offset was committed past a record that has no end",
    "private_reply": "a comment was answered privately once at most",
    "erased": "nothing that a customer wrote before an erasure was asked for is stored in the end",
    "foreign": "every record that is none of ours ended in the dead letters",
    "settled": "every group has committed every partition to its end",
}
"""What is judged, each in a sentence."""


@dataclass(frozen=True)
class Breach:
    """One promise broken at one place."""

    invariant: str
    ids: tuple[str, ...]
    what: str


@dataclass(frozen=True)
class Verdict:
    """What the oracle has to say."""

    breaches: tuple[Breach, ...] = ()
    fates: Mapping[str, int] = field(default_factory=dict)
    """How many acknowledged messages ended in which way."""
    unknown: Mapping[str, int] = field(default_factory=dict)
    """How many outcomes were unknown, by how each was settled."""
    figures: Mapping[str, int] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        """Whether every promise was held."""
        return not self.breaches

    def broken(self, invariant: str) -> tuple[Breach, ...]:
        """Return the breaches of one promise."""
        return tuple(breach for breach in self.breaches if breach.invariant == invariant)


def judge(history: History) -> Verdict:
    """Judge a whole run."""
    case = _Case(history)
    return Verdict(
        tuple(breach for check in CHECKS for breach in check(case)),
        Counter(fate for fate in case.fates.values() if fate is not None),
        Counter(_settled_how(case, reply) for reply in case.unknown),
        {
            "messages": len(history.said),
            "acknowledged": len(case.acknowledged),
            "replies": len(case.spoken),
            "notifications": sum(one.kind == "notification" for one in history.taken),
            "apologies": sum(
                one.origin == "apology" and one.kind != "operator_notification" for one in history.generated
            ),
            "dead_letters": len(history.dead),
            "decided": len({one.reply_id for one in history.generated}),
            "model_calls": history.model_calls,
            "assignments": history.assignments,
            "latest_ms_after_a_person": round(1000 * max([0.0, *(late for _, _, late in case.after_people())])),
        },
    )


class _Case:
    """A history with the look-ups that several checks need."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.acknowledged = [one for one in history.said if one.acknowledged_at is not None and not one.forged]
        self.by_tag = {one.tag: one for one in history.said}
        self.spoken = sorted((one for one in history.taken if one.kind in SPEAKING), key=lambda one: one.number)

    @cached_property
    def answers(self) -> Mapping[str, list[Taken]]:
        """What was taken for each tag, first to last."""
        found: dict[str, list[Taken]] = defaultdict(list)
        for one in self.spoken:
            for tag in self.tags(one):
                found[tag].append(one)
        return found

    @cached_property
    def generated(self) -> Mapping[str, Generated]:
        """The replies that were decided, by their ids."""
        return {one.reply_id: one for one in self.history.generated}

    @cached_property
    def pieces(self) -> Pieces:
        """Which reply each thing is a piece of that was taken."""

        def likely(reply: Generated) -> int:
            final = self.final(reply.reply_id)
            return 1 if final is None else LIKELY[final.state]

        return pieces_of(self.spoken, self.generated.values(), likely)

    @cached_property
    def answering(self) -> Mapping[str, list[Piece]]:
        """What was taken for each tag: what names it, and what was decided about it."""
        found: dict[str, list[Piece]] = defaultdict(list)
        tag_of = {said.event_id: said.tag for said in self.history.said}
        for piece in self.pieces.all:
            about = piece.reply.answers if piece.reply is not None else frozenset()
            decided = (tag_of[event_id] for event_id in sorted(about) if event_id in tag_of)
            for tag in dict.fromkeys((*self.tags(piece.taken), *decided)):
                found[tag].append(piece)
        return found

    @cached_property
    def decided(self) -> Mapping[str, list[Generated]]:
        """The replies decided about each interaction, by its id."""
        found: dict[str, list[Generated]] = defaultdict(list)
        for one in self.generated.values():
            for event_id in one.answers:
                found[event_id].append(one)
        return found

    @cached_property
    def became(self) -> Mapping[str, list[Became]]:
        """The outcome events of each reply."""
        found: dict[str, list[Became]] = defaultdict(list)
        for one in self.history.became:
            found[one.reply_id].append(one)
        return found

    @cached_property
    def told(self) -> frozenset[str]:
        """The replies about which a notification was taken."""
        return frozenset(one.reply_id for one in self.history.taken if one.kind == "notification")

    @cached_property
    def people(self) -> Mapping[str, list[PersonWrote]]:
        """Who wrote from the app to whom."""
        found: dict[str, list[PersonWrote]] = defaultdict(list)
        for one in self.history.people:
            found[one.contact].append(one)
        return found

    @cached_property
    def unknown(self) -> Mapping[str, Became]:
        """The replies whose outcome was unknown at some time, each with the event that says so."""
        return {one.reply_id: one for one in self.history.became if one.state == "unknown"}

    @cached_property
    def fates(self) -> Mapping[str, str | None]:
        """How each acknowledged message ended, by tag; None: it has no end."""
        return {said.tag: _fate(self, said) for said in self.acknowledged}

    @cached_property
    def by_comment(self) -> Mapping[str, str]:
        """The tags of comments, by the comment's id."""
        return {one.comment: one.tag for one in self.history.said if one.comment}

    def tags(self, one: Taken) -> tuple[str, ...]:
        """Return the tags of what an effect answers: of the comment below which it is, or those that its text names.

        A text may also name comments that the model was shown as context.
        """
        if SPEAKING[one.kind] == "comment":
            tag = self.by_comment.get(one.comment)
            return () if tag is None else (tag,)
        said = ((tag, self.by_tag.get(tag)) for tag in TAG.findall(one.text))
        return tuple(tag for tag, known in said if known is None or known.channel == "thread")

    def is_answered(self, said: Said) -> bool:
        """Tell whether something was taken that names a message, and all of the reply that it is a piece of."""
        return any(
            piece.reply is None or piece.reply.reply_id in self.pieces.whole
            for piece in self.answering.get(said.tag, ())
            if said.tag in self.tags(piece.taken)
        )

    def is_untrue(self, reply: Generated) -> bool:
        """Tell whether a reply is said to be delivered, but was not taken, or not all of it."""
        final = self.final(reply.reply_id)
        if final is None or final.state != "delivered":
            return False
        if reply.kind == "operator_notification":
            return reply.reply_id not in self.told
        return reply.kind in REPLIES and reply.reply_id not in self.pieces.whole

    def is_with_a_person(self, contact: str, at: float) -> bool:
        """Tell whether a person had a conversation at some time: their own message began it, and was acknowledged."""
        return any(
            person.acknowledged_at is not None and person.sent_at <= at <= person.acknowledged_at + self.history.pause
            for person in self.people.get(contact, ())
        )

    def final(self, reply_id: str) -> Became | None:
        """Return what became of a reply in the end, or None."""
        return next((one for one in self.became.get(reply_id, ()) if one.state in FINAL), None)

    def after_people(self) -> Iterator[tuple[PersonWrote, Taken, float]]:
        """Yield what we said after a person's message was acknowledged, and how many seconds after it."""
        for one in self.spoken:
            for person in self.people.get(one.contact, ()):
                if person.acknowledged_at is not None and one.time > person.acknowledged_at:
                    yield person, one, one.time - person.acknowledged_at

    def announced(self, one: Taken) -> float | None:
        """Return when the attempt was announced that was taken, as far as the ledger tells."""
        reply = next((piece.reply for piece in self.pieces.all if piece.taken is one), None)
        attempts = self.history.announced.get(reply.reply_id, ()) if reply is not None else ()
        return max((at for at in attempts if at <= one.time), default=None)

    def is_committed(self, group: str, position: Position) -> bool:
        """Tell whether a group has committed past a record."""
        topic, partition, offset = position
        return self.history.committed.get(group, {}).get((topic, partition), 0) > offset


def _fate(case: _Case, said: Said) -> str | None:
    replies = case.decided.get(said.event_id, ())
    if any(case.is_untrue(one) for one in replies):
        return None
    if case.is_answered(said):
        return "answered"
    if any(one.origin == "apology" and one.reply_id in case.pieces.whole for one in replies):
        return "apologised"
    if any(one.reply_id in case.told for one in replies):
        ids = {said.event_id, *(one.reply_id for one in replies)}
        return "dead-lettered and told" if any(dead.id in ids for dead in case.history.dead) else "told a person"
    ends = [end for one in replies if (end := case.final(one.reply_id)) is not None]
    if any(end.reason == LEFT_TO_A_PERSON and case.is_with_a_person(said.contact, end.time) for end in ends):
        return "left to a person"
    withheld = [end for end in ends if end.state == "suppressed" and _is_believed(said, end)]
    if withheld:
        return f"suppressed: {withheld[0].reason}"
    if said.unsent_at is not None and said.unsent_at <= _undecided_until(case, said):
        return "taken back"
    if not replies and _is_left_undecided(case, said):
        return "left to a person"
    return "erased" if is_erased(case.history, said) else None


def _is_believed(said: Said, end: Became) -> bool:
    """Tell whether a reason to withhold a reply can hold; that a person has the conversation is tried elsewhere."""
    return end.reason != LEFT_TO_A_PERSON and end.time - said.sent_at >= CLOSES_AFTER.get(end.reason, 0.0)


def _is_left_undecided(case: _Case, said: Said) -> bool:
    """Tell whether a person had the conversation when a message came, or soon enough after."""
    return any(
        person.acknowledged_at is not None
        and said.sent_at <= person.acknowledged_at + case.history.pause
        and person.sent_at <= _undecided_until(case, said)
        for person in case.people.get(said.contact, ())
    )


def _undecided_until(case: _Case, said: Said) -> float:
    """Return until when it is no fault that nothing was decided about a message."""
    taken_in = case.history.taken_in.get(said.event_id)
    if taken_in is not None:
        return taken_in + TAKEN_IN_WITHIN + case.history.skew
    return (said.acknowledged_at or said.sent_at) + UNDECIDED_WITHIN


def _why_lost(case: _Case, said: Said) -> str:
    if said.event_id not in case.history.appended:
        return "acknowledged, but nowhere in Kafka"
    replies = case.decided.get(said.event_id, ())
    if not replies:
        died = next((dead.cause for dead in case.history.dead if dead.id == said.event_id), None)
        return "nothing was decided about it" if died is None else f"dead-lettered in silence: {died}"
    for one in replies:
        if case.is_untrue(one):
            return _how_untrue(case, one)
    ends = [case.final(one.reply_id) for one in replies]
    words = [f"{end.state} {end.reason}".strip() if end else "without an outcome" for end in ends]
    return f"nobody got its replies, which are: {', '.join(words)}"


def _how_untrue(case: _Case, reply: Generated) -> str:
    how = "only some of it was taken" if reply.reply_id in case.pieces.begun else "no platform took it"
    return f"{reply.reply_id} is said to be delivered, but {how}"


# The checks: each yields the breaches of one promise


def _lost(case: _Case) -> Iterator[Breach]:
    for said in case.acknowledged:
        if case.fates[said.tag] is None:
            yield Breach("lost", (said.tag, said.contact, said.event_id), _why_lost(case, said))
    lost = {said.event_id for said in case.acknowledged if case.fates[said.tag] is None}
    for one in case.generated.values():
        if case.is_untrue(one) and not one.answers & lost:
            yield Breach("lost", (one.reply_id, one.contact), _how_untrue(case, one))


def _twice(case: _Case) -> Iterator[Breach]:
    copies: dict[tuple[str, str, str], list[Piece]] = defaultdict(list)
    for piece in case.pieces.all:
        copies[piece.taken.contact, piece.taken.text, piece.taken.comment].append(piece)
    for (contact, text, _), pieces in copies.items():
        unexplained = sum(piece.again or piece.reply is None for piece in pieces)
        if unexplained and (len(pieces) > 1 or pieces[0].again):
            apart = pieces[-1].taken.time - pieces[0].taken.time
            what = f"taken {max(2, len(pieces))} times in {apart:.1f} s: {text[:60]}"
            yield Breach("twice", (*case.tags(pieces[0].taken), contact), what)
    for tag, pieces in case.answering.items():
        by: dict[tuple[str, str], set[str]] = defaultdict(set)
        for piece in pieces:
            decision, reply = _names(case, piece)
            by[decision, piece.taken.kind].add(reply)
        decisions = {decision for decision, _ in by}
        if len(decisions) > 1 or any(len(replies) > 1 for replies in by.values()):
            names = sorted(set().union(*by.values()))
            what = f"answered by {len(names)} replies: {'; '.join(names)}"
            yield Breach("twice", (tag, pieces[0].taken.contact), what)


def _names(case: _Case, piece: Piece) -> tuple[str, str]:
    """Return by what decision and reply something was taken; what nobody decided is known by what it says."""
    if piece.reply is None:
        one = piece.taken
        said = one.text if one.comment else " ".join(case.tags(one))
        return said, said
    return piece.reply.decision or piece.reply.reply_id, piece.reply.reply_id


def _order(case: _Case) -> Iterator[Breach]:
    lines: dict[tuple[str, str], list[tuple[str, ...]]] = defaultdict(list)
    for one in case.spoken:
        line = lines[one.contact, SPEAKING[one.kind]]
        tags = case.tags(one)
        if tags and tags not in line:
            line.append(tags)
    for (contact, _), line in lines.items():
        for earlier, later in combinations(line, 2):
            wrong = [
                (early, late)
                for early in earlier
                for late in later
                if late not in earlier and _precedes(case, late, early)
            ]
            if wrong:
                first, second = wrong[0]
                yield Breach(
                    "order", (contact, first, second), f"{first} was answered before {second}, which came first"
                )


def _precedes(case: _Case, one: str, other: str) -> bool:
    """Tell whether `one` was accepted before `other` was even sent."""
    first, second = case.by_tag.get(one), case.by_tag.get(other)
    if first is None or second is None or first.acknowledged_at is None:
        return False
    return first.acknowledged_at < second.sent_at


def _ownership(case: _Case) -> Iterator[Breach]:
    """Yield what was taken too late to have been under way, and what was announced when the person was known."""
    for person, one, late in case.after_people():
        announced = case.announced(one)
        known_at = None if person.acknowledged_at is None else person.acknowledged_at + case.history.skew
        after = announced is not None and known_at is not None and announced > known_at
        if after or late > case.history.grace:
            shown = " ".join(case.tags(one)) or one.text[:40]
            what = f"taken {late:.1f} s after the person's message{', and announced after it' if after else ''}"
            yield Breach("ownership", (person.tag, shown), what)


def _forged(case: _Case) -> Iterator[Breach]:
    for said in case.history.said:
        if not said.forged:
            continue
        if accepted := [status for status in said.statuses if status not in REFUSED]:
            yield Breach("forged", (said.tag,), f"was answered {accepted}")
        if said.event_id in case.history.appended or case.answers.get(said.tag):
            yield Breach("forged", (said.tag,), "was processed")


def _committed_past(case: _Case) -> Iterator[Breach]:
    for said in case.acknowledged:
        position = case.history.appended.get(said.event_id)
        unfinished = case.fates[said.tag] is None and not case.decided.get(said.event_id)
        if position and unfinished and case.is_committed("ai", position):
            yield Breach("committed_past", (said.tag, _shown(position)), "ai committed past a message without an end")
    erased = {one.contact for one in case.history.erased}  # nothing more is published about them
    for one in case.generated.values():
        dead = any(dead.id == one.reply_id for dead in case.history.dead)
        if one.contact in erased or dead or case.final(one.reply_id) is not None:
            continue
        if case.is_committed("delivery", one.position):
            yield Breach(
                "committed_past",
                (one.reply_id, _shown(one.position)),
                "delivery committed past a reply without an outcome",
            )


def _private_reply(case: _Case) -> Iterator[Breach]:
    replies = Counter(one.comment for one in case.spoken if one.kind == "private_reply" and one.comment)
    for comment, count in replies.items():
        if count > 1:
            yield Breach("private_reply", (comment,), f"answered privately {count} times")


def _erased(case: _Case) -> Iterator[Breach]:
    for said, collections in still_stored(case.history):
        yield Breach("erased", (said.tag, said.contact), f"is stored after its erasure: {', '.join(collections)}")


def _foreign(case: _Case) -> Iterator[Breach]:
    for position in not_dead_lettered(case.history):
        yield Breach("foreign", (_shown(position),), "is in no dead-letter topic")


def _settled(case: _Case) -> Iterator[Breach]:
    for group, topics in case.history.reads.items():
        committed = case.history.committed.get(group, {})
        for cursor, end in sorted(case.history.ends.items()):
            missing = end - committed.get(cursor, 0)
            if cursor[0] in topics and missing > 0:
                yield Breach("settled", (group, f"{cursor[0]}/{cursor[1]}"), f"{missing} records are not committed")


CHECKS: Sequence[Callable[[_Case], Iterable[Breach]]] = (
    _lost, _twice, _order, _ownership, _forged, _committed_past, _private_reply, _erased, _foreign, _settled,
)  # fmt: skip


def _settled_how(case: _Case, reply_id: str) -> str:
    """Say how an unknown outcome was settled."""
    final = case.final(reply_id)
    if final is None:
        return "not settled"
    if final.state == "failed" and final.reason == UNKNOWN_REASON:
        return "handed to a person" if reply_id in case.told else "handed to nobody"
    return case.history.found_by.get(reply_id) or f"{final.state} {final.reason}".strip()


def _shown(position: Position) -> str:
    topic, partition, offset = position
    return f"{topic}/{partition}@{offset}"
