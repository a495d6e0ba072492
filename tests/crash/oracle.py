"""Says of each promise whether a run held it, from what the world outside took and which webhooks were acknowledged.

Pure. What Jawab says of itself (Kafka's records, outcome events, logs) is used in two ways only: to find out which
message an untagged effect belongs to, and to believe it where it says that it did *not* answer, and why. That somebody
was answered, or a person told, is believed when the world took it.

A message may end in these ways: answered; told to a person (a notification about it was taken); apologised for; left to
the person who answers the conversation; suppressed with a reason; taken back by its writer; dead-lettered *and* told.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from history import Became, Generated, History, PersonWrote, Position, Said, Taken

TAG = re.compile(r"#c\d+m\d+\b")
SPEAKING: Mapping[str, str] = {"message": "thread", "private_reply": "comment", "comment_reply": "comment"}
"""Effects that a customer reads, and what kind of saying they answer."""
FINAL = frozenset({"delivered", "failed", "suppressed"})
REFUSED = frozenset({401, 403, 429})
LEFT_TO_A_PERSON = "human_owns"
UNKNOWN_REASON = "outcome_unknown"

INVARIANTS: Mapping[str, str] = {
    "lost": "what was acknowledged was answered, told to a person, withheld with a reason, taken back or dead-lettered",
    "twice": "no platform took the same reply twice, and no message was answered by two replies",
    "order": "the answers of a conversation left in the order of the messages they answer",
    "ownership": "no message of ours was taken after a person's echo was acknowledged",
    "forged": "a webhook with a forged signature was refused and had no effect",
    "committed_past": "no offset was committed past a record that has no end",
    "private_reply": "a comment was answered privately once at most",
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
    def decided(self) -> Mapping[str, list[Generated]]:
        """The replies decided about each interaction, by its id."""
        found: dict[str, list[Generated]] = defaultdict(list)
        for one in {one.reply_id: one for one in self.history.generated}.values():
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

    def final(self, reply_id: str) -> Became | None:
        """Return what became of a reply in the end, or None."""
        return next((one for one in self.became.get(reply_id, ()) if one.state in FINAL), None)

    def after_people(self) -> Iterator[tuple[PersonWrote, Taken, float]]:
        """Yield what we said after a person's message was acknowledged, and how many seconds after it."""
        for one in self.spoken:
            for person in self.people.get(one.contact, ()):
                if person.acknowledged_at is not None and one.time > person.acknowledged_at:
                    yield person, one, one.time - person.acknowledged_at

    def is_committed(self, group: str, position: Position) -> bool:
        """Tell whether a group has committed past a record."""
        topic, partition, offset = position
        return self.history.committed.get(group, {}).get((topic, partition), 0) > offset


def _fate(case: _Case, said: Said) -> str | None:
    if case.answers.get(said.tag):
        return "answered"
    replies = case.decided.get(said.event_id, ())
    if any(_apologised(case, one) for one in replies):
        return "apologised"
    if any(one.reply_id in case.told for one in replies):
        return "told a person"
    ends = [case.final(one.reply_id) for one in replies]
    person = bool(case.people.get(said.contact))
    if person and any(end is not None and end.reason == LEFT_TO_A_PERSON for end in ends):
        return "left to a person"
    withheld = [end.reason for end in ends if end is not None and end.state == "suppressed"]
    if withheld and LEFT_TO_A_PERSON not in withheld:
        return f"suppressed: {withheld[0]}"
    if said.unsent:
        return "taken back"
    if person and not replies:
        return "left to a person"
    if any(dead.id in {said.event_id, *(one.reply_id for one in replies)} for dead in case.history.dead) and any(
        one.kind == "notification" and one.contact == said.contact for one in case.history.taken
    ):
        return "dead-lettered and told"
    return None


def _apologised(case: _Case, reply: Generated) -> bool:
    return reply.origin == "apology" and any(
        one.contact == reply.contact and one.text == reply.text for one in case.spoken
    )


def _why_lost(case: _Case, said: Said) -> str:
    if said.event_id not in case.history.appended:
        return "acknowledged, but nowhere in Kafka"
    replies = case.decided.get(said.event_id, ())
    if not replies:
        died = next((dead.cause for dead in case.history.dead if dead.id == said.event_id), None)
        return "nothing was decided about it" if died is None else f"dead-lettered in silence: {died}"
    ends = [case.final(one.reply_id) for one in replies]
    words = [f"{end.state} {end.reason}".strip() if end else "without an outcome" for end in ends]
    return f"nobody got its replies, which are: {', '.join(words)}"


# The checks: each yields the breaches of one promise


def _lost(case: _Case) -> Iterator[Breach]:
    for said in case.acknowledged:
        if case.fates[said.tag] is None:
            yield Breach("lost", (said.tag, said.contact, said.event_id), _why_lost(case, said))


def _twice(case: _Case) -> Iterator[Breach]:
    copies: dict[tuple[str, str, str], list[Taken]] = defaultdict(list)
    for one in case.spoken:
        copies[one.contact, one.text, one.comment].append(one)
    for (contact, text, _), takings in copies.items():
        allowed = 1 if TAG.search(text) else max(1, _decided_with(case, contact, text))
        if len(takings) > allowed:
            apart = takings[-1].time - takings[0].time
            shown = text[:60]
            yield Breach(
                "twice", (*case.tags(takings[0]), contact), f"taken {len(takings)} times in {apart:.1f} s: {shown}"
            )
    for tag, takings in case.answers.items():
        replies = {(one.kind, one.text if one.comment else " ".join(case.tags(one))) for one in takings}
        if len(replies) > 1:
            what = f"answered by {len(replies)} replies: {'; '.join(sorted(text for _, text in replies))}"
            yield Breach("twice", (tag, takings[0].contact), what)


def _decided_with(case: _Case, contact: str, text: str) -> int:
    return len({one.reply_id for one in case.history.generated if one.contact == contact and one.text == text})


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
    for person, one, late in case.after_people():
        if late > case.history.grace:
            shown = " ".join(case.tags(one)) or one.text[:40]
            yield Breach("ownership", (person.tag, shown), f"taken {late:.1f} s after the person's message")


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
    for one in {one.reply_id: one for one in case.history.generated}.values():
        dead = any(dead.id == one.reply_id for dead in case.history.dead)
        if case.final(one.reply_id) is None and not dead and case.is_committed("delivery", one.position):
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


def _settled(case: _Case) -> Iterator[Breach]:
    for group, committed in case.history.committed.items():
        for cursor, upto in sorted(committed.items()):
            missing = case.history.ends.get(cursor, 0) - upto
            if missing > 0:
                yield Breach("settled", (group, f"{cursor[0]}/{cursor[1]}"), f"{missing} records are not committed")


CHECKS: Sequence[Callable[[_Case], Iterable[Breach]]] = (
    _lost, _twice, _order, _ownership, _forged, _committed_past, _private_reply, _settled,
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
