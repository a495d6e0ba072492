"""What is decided about a turn: a rule's answer, else the model's, else an apology.

Rules come first and cost nothing. When the model fails, the customer hears an apology and a person is called. When it
is only held back (the circuit breaker is open, or the provider named a time to come again), nothing was asked and
nothing is lost by waiting: the message is tried again then, for `model_patience` seconds from when it was stored; what
cannot be answered within them is apologised for at once.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from ai.actions import answering, notification
from ai.announcing import DecisionObserver
from ai.apology import apology
from ai.completion import ModelFailed, worth_waiting
from ai.courtesy import Courtesy
from ai.decisions import Decision
from ai.history import Conversation, Line
from ai.incoming import Incoming
from ai.instagram_ai import ModelAnswer
from ai.language import Language, language_of
from ai.media.sight import Sight, blind
from ai.prompt import Question
from ai.rules import RuleEngine
from ai.ruling import RuleObserver, Rulings
from ai.turn import Turn
from common.clock import Clock
from common.errors import Retryable
from common.events.replies import Action
from common.failpoints import failpoint
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchant

log = structlog.get_logger("ai")

MODEL_PATIENCE = 60.0
"""Seconds."""

ESCALATED = "escalated"
MODEL_UNAVAILABLE = "model_unavailable"
LONGEST_QUOTE = 200


class Answering(Protocol):
    """Makes answers."""

    async def answer(self, question: Question) -> ModelAnswer:
        """Return an answer. Raises ModelFailed."""
        ...


class Observer(RuleObserver, DecisionObserver, Protocol):
    """Is told what was decided, and how."""

    def asking(self, by: int) -> None:
        """Note that an answer is begun (1) or done (-1)."""
        ...


class Decider:
    """Decides about turns."""

    def __init__(
        self,
        *,
        answering: Answering,
        observer: Observer,
        clock: Clock,
        rules: RuleEngine,
        patience: float,
        sight: Sight | None,
    ) -> None:
        self._answering = answering
        self._observer = observer
        self._clock = clock
        self._rulings = Rulings(rules, observer=observer, clock=clock)
        self._patience = patience
        self._sight = sight

    async def decide(
        self, merchant: Merchant, said: Incoming, conversation: Conversation, turn: Turn, courtesy: Courtesy
    ) -> Decision:
        """Return what is decided about a turn. Raises Retryable.

        `said` is what is being handled; what is replied to is the turn's last message.
        """
        lines = {line.id: line for line in conversation.recent}
        remembered = [said.recalled(message, lines.get(message.id)) for message in turn.messages]
        asked = said if turn.trigger.id == said.id else remembered[-1]
        earlier = remembered[:-1]
        language = language_of(asked.text, conversation.language)
        verdict = self._rulings.judge(merchant, asked, earlier)
        skipped = tuple(name for name, _ in verdict.skipped)
        if verdict.rule is not None:
            decision = self._rulings.by_rule(verdict.rule, merchant, asked, turn.covers, language)
            return replace(decision, skipped_rules=skipped)
        history = tuple(line for line in conversation.recent if line.id not in turn.covers)
        images: tuple[str, ...] = ()
        if self._sight is not None:
            of_turn = [url for one in remembered for url in one.images]
            images, history = self._sight.choose(of_turn, history, at=asked.at)
        else:
            history = blind(history)
        question = Question(
            merchant,
            asked.channel,
            language,
            _quoting(asked, conversation.recent),
            history,
            tuple(_quoting(one, conversation.recent) for one in earlier),
            images,
            self._sight.detail if self._sight is not None else "low",
        )
        courtesy.typing()
        return replace(await self._by_model(question, asked, turn), skipped_rules=skipped)

    async def _by_model(self, question: Question, said: Incoming, turn: Turn) -> Decision:
        merchant, language = question.merchant, question.language
        refuse_if_lost()
        self._observer.asking(1)
        try:
            made = await self._answering.answer(question)
        except ModelFailed as failure:
            log.warning("model.failed", conversation=said.conversation_id, reason=failure.reason)
            self._wait_if_worth(failure, turn)
            return self._by_apology(merchant, said, turn, language, failure)
        finally:
            self._observer.asking(-1)
        failpoint("ai.after_model_before_decision")
        answer = made.answer
        actions: list[Action] = [answering(made.text, said)]
        if answer.escalate:
            actions.append(notification(ESCALATED, said, merchant))
        return replace(
            self._rulings.decision(
                merchant, said, turn.covers, actions, origin="model", language=answer.language or language
            ),
            model=made.model,
            usage=made.usage,
            intent=answer.intent,
            sentiment=answer.sentiment,
            escalate=answer.escalate,
            lead=answer.lead.known(),
            attention=ESCALATED if answer.escalate else None,
        )

    def _wait_if_worth(self, failure: ModelFailed, turn: Turn) -> None:
        """Raise Retryable where the model may still answer within the patience."""
        waited = (self._clock.now() - turn.trigger.stored_at).total_seconds()
        seconds = worth_waiting(failure, waited=waited, patience=self._patience)
        if seconds is not None:
            raise Retryable(f"the model is {failure.reason}", after=seconds)

    def _by_apology(
        self, merchant: Merchant, said: Incoming, turn: Turn, language: Language, failure: ModelFailed
    ) -> Decision:
        actions = [answering(apology(language), said), notification(MODEL_UNAVAILABLE, said, merchant)]
        return replace(
            self._rulings.decision(merchant, said, turn.covers, actions, origin="apology", language=language),
            usage=failure.usage,
            reasons=(failure.reason,),
            escalate=True,
            attention=MODEL_UNAVAILABLE,
        )


def _quoting(said: Incoming, lines: Sequence[Line]) -> str:
    """Return what the model is shown of a message: with the line that it answers, if that is remembered."""
    quoted = next((line.text for line in lines if said.reply_to is not None and said.reply_to in line.mids), "")
    words = " ".join(quoted.split())
    if not words:
        return said.shown
    short = words if len(words) <= LONGEST_QUOTE else f"{words[:LONGEST_QUOTE]}…"
    return f"[in reply to: «{short}»] {said.shown}"
