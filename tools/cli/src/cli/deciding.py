"""What today's rules would decide about messages of the past: the service's own orchestrator over stores in memory.

The model is not asked. Where it is its turn, its recorded answer stands in; where none was recorded, that is said.
Who owned each conversation is followed from the control and outcome events of the time, and messages that were answered
together are answered together again.
"""

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from ai.answer import Answer
from ai.completion import ModelFailed, Usage
from ai.decisions import Decision
from ai.history import Conversation, Unanswered
from ai.incoming import Incoming
from ai.instagram_ai import ModelAnswer
from ai.messages import Stored
from ai.orchestrator import ConversationAIOrchestrator
from ai.prompt import Question
from ai.rules import SkipCause
from ai.turn import Turn
from cli.decided import Decided, from_decision
from common.clock import ManualClock
from common.events import Event
from common.events.control import ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.outcomes import HumanReplied
from common.events.replies import ReplyGenerated
from common.kafka.hold import Wanted, hand
from common.merchants import Merchant

T = TypeVar("T")
RECENT = 20


class NotRecorded(Exception):
    """It would be the model's turn, and no answer of it is on record."""


class Second:
    """Decides again, one message after another, in the order in which they came."""

    def __init__(self, *, human_pause: timedelta, begin: datetime) -> None:
        self._pause = human_pause
        self._clock = ManualClock(begin)
        self._conversations = _Conversations()
        self._answering = _Recorded()
        self._decisions = _Decisions()
        self._orchestrator = ConversationAIOrchestrator(
            messages=_Messages(),
            conversations=self._conversations,
            decisions=self._decisions,
            answering=self._answering,
            spending=_Nothing(),
            observer=_Nothing(),
            publish=_nowhere,
            clock=self._clock,
        )

    async def decide(self, merchant: Merchant, said: Incoming, decided: Decided | None, at: datetime) -> Decided | None:
        """Return what would be decided, None when nothing would be. Raises NotRecorded."""
        self._clock.advance(at - self._clock.now())
        self._answering.recorded = decided
        if decided is not None:
            self._conversations.spoke(said.conversation_id, decided.language)
        hand(_AsThen(left=decided is not None and decided.covers[-1] != said.id))
        await self._orchestrator.respond(merchant, said)
        made = self._decisions.taken()
        return from_decision(made) if made is not None else None

    def observe(self, event: Event, merchant: Merchant | None = None) -> None:
        """Follow who answers a conversation; events of other kinds change nothing."""
        if isinstance(event, HumanReplied | ConversationTakenOver):
            pause = merchant.quiet_time(self._pause) if merchant is not None else self._pause
            self._conversations.person_acted(event.data.conversation_id, event.time, event.time + pause)
        elif isinstance(event, ConversationReleased | ConversationResolved):
            self._conversations.given_back(event.data.conversation_id, event.time)


@dataclass(frozen=True)
class _AsThen:
    """A message in its lane: behind it stands another one if its answer was left to a later one then."""

    left: bool
    owned: bool = True
    partition: int | None = None
    line: Hashable = None

    def later(self, wanted: Wanted) -> bool:  # noqa: ARG002 the protocol's name
        return self.left

    async def later_within(self, wanted: Wanted, seconds: float) -> bool:  # noqa: ARG002 the protocol's names
        return self.left

    async def wait_for(self, awaited: asyncio.Future[T]) -> T:
        return await awaited


class _Conversations:
    """Conversations as far as deciding needs them, held in memory."""

    def __init__(self) -> None:
        self._held: dict[str, Conversation] = {}

    async def record(
        self,
        said: Incoming,
        *,
        merchant_id: str,  # noqa: ARG002 the orchestrator's protocol
        language: str | None,
        stored_at: datetime,
        closes: bool,
        now: datetime,  # noqa: ARG002 the same
    ) -> Conversation:
        held = self._of(said.conversation_id)
        self._held[held.id] = replace(
            held,
            recent=(*held.recent, said.line())[-RECENT:],
            unanswered=(*held.unanswered, said.unanswered(stored_at=stored_at, closes=closes))[-RECENT:],
            language=language or held.language,
        )
        return self._held[held.id]

    async def reopen_turn(self, conversation_id: str, trigger_id: str) -> bool:  # noqa: ARG002 the protocol's names
        return False  # what an answer was made for then is known: nothing comes in meanwhile

    async def reopen(self, conversation_id: str, message: Unanswered) -> Conversation:
        held = self._of(conversation_id)
        self.change(conversation_id, unanswered=(*held.unanswered, message))
        return self._of(conversation_id)

    async def begin(self, conversation: Conversation, turn: Turn) -> None: ...

    async def find(self, conversation_id: str) -> Conversation | None:
        return self._held.get(conversation_id)

    async def record_decision(self, decision: Decision, *, now: datetime) -> None:  # noqa: ARG002 the same
        held = self._of(decision.conversation_id).without(decision.covers)
        self._held[held.id] = replace(held, language=decision.language)

    def spoke(self, conversation_id: str, language: str | None) -> None:
        """Take over the language a conversation had before what is looked at."""
        held = self._of(conversation_id)
        if held.language is None:
            self._held[conversation_id] = replace(held, language=language)

    def person_acted(self, conversation_id: str, at: datetime, until: datetime) -> None:
        held = self._of(conversation_id)
        if held.answers_from is None or held.answers_from < at:
            latest = max(filter(None, (held.human_until, until)))
            self._held[conversation_id] = replace(held, human_until=latest)

    def given_back(self, conversation_id: str, at: datetime) -> None:
        held = self._of(conversation_id)
        since = max(filter(None, (held.answers_from, at)))
        self._held[conversation_id] = replace(held, human_until=None, answers_from=since)

    def change(self, conversation_id: str, **changes: object) -> None:
        self._held[conversation_id] = replace(self._of(conversation_id), **changes)  # type: ignore[arg-type]

    def _of(self, conversation_id: str) -> Conversation:
        return self._held.get(conversation_id) or Conversation(conversation_id)


class _Messages:
    """Every message is new: what it was changed to later is not what was decided about."""

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:  # noqa: ARG002 the protocol
        return Stored(fresh=True, stored_at=now, text=said.text)


class _Decisions:
    """Nothing was decided yet; the last decision is kept until it is taken."""

    def __init__(self) -> None:
        self._last: Decision | None = None

    def taken(self) -> Decision | None:
        last, self._last = self._last, None
        return last

    async def covering(self, event_id: str) -> Decision | None:  # noqa: ARG002 the protocol
        return None

    async def store(self, decision: Decision) -> tuple[Decision, bool]:
        self._last = decision
        return decision, True


class _Recorded:
    """Gives the model's recorded answer, or fails as it failed then."""

    def __init__(self) -> None:
        self.recorded: Decided | None = None

    async def answer(self, question: Question) -> ModelAnswer:  # noqa: ARG002 the protocol
        then = self.recorded
        if then is not None and then.origin == "apology":
            raise ModelFailed("unavailable")
        if then is None or then.origin != "model" or then.text is None:
            raise NotRecorded
        answer = Answer.model_validate(
            {
                "reply": then.text,
                "intent": then.intent,
                "sentiment": then.sentiment,
                "language": then.language,
                "escalate": then.escalate or _called_person(then),
                "lead": dict(then.lead),
            }
        )
        return ModelAnswer(text=then.text, answer=answer, model=then.model or "", usage=Usage())


def _called_person(then: Decided) -> bool:
    return any(action.kind == "operator_notification" for action in then.actions)


async def _nowhere(replies: Sequence[ReplyGenerated]) -> None:
    """Publish nothing: what is decided here goes to nobody."""


class _Nothing:
    """Counts nothing: what is decided here was never decided."""

    def spent(self, merchant_id: str, at: datetime, usage: Usage) -> None: ...

    def discarded(self, usage: Usage) -> None: ...

    def decided(self, origin: str, match: str | None, usage: Usage, *, person_needed: bool) -> None: ...

    def asking(self, by: int) -> None: ...

    def rule_skipped(self, cause: SkipCause) -> None: ...


def in_order(events: Iterable[tuple[int, Event]]) -> list[tuple[int, Event]]:
    """Return (time in ms, event) pairs in the order in which the service would have met them, each event once."""
    seen: set[str] = set()
    ordered = []
    for at, event in sorted(events, key=lambda pair: pair[0]):
        if event.id not in seen:
            seen.add(event.id)
            ordered.append((at, event))
    return ordered
