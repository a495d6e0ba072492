"""One thing a customer said goes in; a stored decision and the events to publish come out.

    store the message → record it in the conversation → decide (rules, then who owns the conversation, then the model)
    → store the decision → record it in the conversation → hand over what is to be published

A crash between any two of these repeats to the same end: the message and its line are stored once, and a decision that
was stored is taken as it is, so no customer hears two answers and no answer is paid twice. Four calls of the database
for an answer, two where nothing is answered.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

import structlog

from ai.actions import answering, events, notification, of_rule
from ai.apology import apology
from ai.completion import ModelFailed, Usage
from ai.decisions import Decision, DecisionOrigin
from ai.history import Conversation
from ai.incoming import Incoming
from ai.instagram_ai import ModelAnswer
from ai.language import Language, detect, language_of
from ai.messages import Stored
from ai.prompt import Question
from ai.rules import DEFAULT_RULES, RuleEngine, SkipCause
from common.clock import Clock
from common.events.ids import decision_id
from common.events.replies import Action, OperatorNotification, ReplyGenerated
from common.merchants import Merchant, Rule

log = structlog.get_logger("ai")

MOST_UNSTORED = 1000

ESCALATED = "escalated"
MODEL_UNAVAILABLE = "model_unavailable"


class Messages(Protocol):
    """Keeps every message."""

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:
        """Store a message once and return how it is stored."""
        ...


class Conversations(Protocol):
    """Keeps conversations."""

    async def record(self, said: Incoming, *, merchant_id: str, language: str | None, now: datetime) -> Conversation:
        """Append what was said, once, and return the conversation."""
        ...

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None."""
        ...

    async def record_decision(self, decision: Decision, *, now: datetime) -> None:
        """Append what was decided, once."""
        ...


class Decisions(Protocol):
    """Keeps decisions."""

    async def covering(self, event_id: str) -> Decision | None:
        """Return the decision that answers an interaction, or None."""
        ...

    async def store(self, decision: Decision) -> tuple[Decision, bool]:
        """Store a decision; return what is stored under its id, and whether that was just now."""
        ...


class Answering(Protocol):
    """Makes answers."""

    async def answer(self, question: Question) -> ModelAnswer:
        """Return an answer. Raises ModelFailed."""
        ...


class Spending(Protocol):
    """Counts what answers cost."""

    def spent(self, merchant_id: str, at: datetime, usage: Usage) -> None:
        """Count one answer."""
        ...


class Observer(Protocol):
    """Is told what was decided."""

    def decided(self, origin: str, match: str | None, usage: Usage, *, person_needed: bool) -> None:
        """Note a decision that was stored for the first time."""
        ...

    def asking(self, by: int) -> None:
        """Note that an answer is begun (1) or done (-1)."""
        ...

    def rule_skipped(self, cause: SkipCause) -> None:
        """Note a rule that could not be tried."""
        ...


@dataclass(frozen=True)
class Result:
    """What became of one thing said: the events to publish, and in a word how they came about."""

    outcome: Literal["answered", "republished", "observed"]
    events: tuple[ReplyGenerated, ...] = ()


OBSERVED = Result("observed")


class ConversationAIOrchestrator:
    """Decides what is answered, so that it can be repeated from any point."""

    def __init__(
        self,
        *,
        messages: Messages,
        conversations: Conversations,
        decisions: Decisions,
        answering: Answering,
        spending: Spending,
        observer: Observer,
        clock: Clock,
        rules: RuleEngine | None = None,
    ) -> None:
        self._messages = messages
        self._conversations = conversations
        self._decisions = decisions
        self._answering = answering
        self._spending = spending
        self._observer = observer
        self._clock = clock
        self._rules = rules or RuleEngine()
        self._unstored: OrderedDict[str, Decision] = OrderedDict()

    async def respond(self, merchant: Merchant, said: Incoming) -> Result:
        """Return what to publish about what a customer said. Raises PyMongoError; the call may then be repeated."""
        stored = await self._messages.store(said, merchant_id=merchant.id, now=self._clock.now())
        if stored.text != said.text:
            said = said.reworded(stored.text)
        if stored.fresh:
            conversation = None
        else:
            decision = await self._decisions.covering(said.id)
            if decision is not None:
                if self._ours(decision):
                    self._count(decision)
                return await self._finish(decision, "republished")
            conversation = await self._conversations.find(said.conversation_id)
        if stored.unsent:
            return OBSERVED
        if conversation is None or not self._has(conversation, said, stored):
            conversation = await self._conversations.record(
                said, merchant_id=merchant.id, language=detect(said.text), now=self._clock.now()
            )
        if said.standby or conversation.human_owned(stored.stored_at):
            return OBSERVED
        decision = self._unstored.get(said.id) or await self._decide(merchant, said, conversation)
        decision, new = await self._stored(decision, said.id)
        if new:
            self._count(decision)
        return await self._finish(decision, "answered")

    @staticmethod
    def _has(conversation: Conversation, said: Incoming, stored: Stored) -> bool:
        """Tell whether a redelivered message needs no line: it has one, or a person dealt with it and it grew old."""
        return conversation.human_owned(stored.stored_at) or any(line.id == said.id for line in conversation.recent)

    async def _stored(self, decision: Decision, event_id: str) -> tuple[Decision, bool]:
        """Store a decision. While the database is away it is kept here: a retry must not pay the model again."""
        self._unstored[event_id] = decision
        while len(self._unstored) > MOST_UNSTORED:
            self._unstored.popitem(last=False)
        result = await self._decisions.store(decision)
        self._unstored.pop(event_id, None)
        return result

    def _ours(self, stored: Decision) -> bool:
        """Tell whether a stored decision was made here and its storing was never acknowledged: then it is new, too."""
        made = self._unstored.pop(stored.covers[-1], None)
        return made is not None and made.replies == stored.replies

    def _count(self, decision: Decision) -> None:
        if decision.origin != "rule":
            self._spending.spent(decision.merchant_id, decision.at, decision.usage)
        person_needed = any(isinstance(reply.data.action, OperatorNotification) for reply in decision.replies)
        self._observer.decided(decision.origin, decision.match, decision.usage, person_needed=person_needed)

    async def _finish(self, decision: Decision, outcome: Literal["answered", "republished"]) -> Result:
        await self._conversations.record_decision(decision, now=self._clock.now())
        return Result(outcome, decision.replies)

    async def _decide(self, merchant: Merchant, said: Incoming, conversation: Conversation) -> Decision:
        language = language_of(said.text, conversation.language)
        rules = merchant.rules if merchant.rules is not None else DEFAULT_RULES
        verdict = self._rules.first(rules, channel=said.channel, text=said.text)
        for name, cause in verdict.skipped:
            self._observer.rule_skipped(cause)
            log.warning("rule.skipped", merchant=merchant.id, rule=name, cause=cause)
        if verdict.rule is not None:
            return self._by_rule(verdict.rule, merchant, said, language)
        return await self._by_model(merchant, said, conversation, language)

    def _by_rule(self, rule: Rule, merchant: Merchant, said: Incoming, language: Language) -> Decision:
        actions = of_rule(rule.then, said, merchant, language)
        decision = self._decision(merchant, said, actions, "rule", language)
        return replace(decision, rule=rule.name, match=rule.when.match, attention=rule.then.alert)

    async def _by_model(
        self, merchant: Merchant, said: Incoming, conversation: Conversation, language: Language
    ) -> Decision:
        history = tuple(line for line in conversation.recent if line.id != said.id)
        question = Question(merchant, said.channel, language, said.shown, history)
        self._observer.asking(1)
        try:
            made = await self._answering.answer(question)
        except ModelFailed as failure:
            log.warning("model.failed", conversation=said.conversation_id, reason=failure.reason)
            return self._by_apology(merchant, said, language, failure)
        finally:
            self._observer.asking(-1)
        answer = made.answer
        actions: list[Action] = [answering(made.text, said)]
        if answer.escalate:
            actions.append(notification(ESCALATED, said, merchant))
        return replace(
            self._decision(merchant, said, actions, "model", answer.language or language),
            model=made.model,
            usage=made.usage,
            intent=answer.intent,
            sentiment=answer.sentiment,
            escalate=answer.escalate,
            lead=answer.lead.known(),
            attention=ESCALATED if answer.escalate else None,
        )

    def _by_apology(self, merchant: Merchant, said: Incoming, language: Language, failure: ModelFailed) -> Decision:
        actions = [answering(apology(language), said), notification(MODEL_UNAVAILABLE, said, merchant)]
        return replace(
            self._decision(merchant, said, actions, "apology", language),
            usage=failure.usage,
            reasons=(failure.reason,),
            escalate=True,
            attention=MODEL_UNAVAILABLE,
        )

    def _decision(
        self, merchant: Merchant, said: Incoming, actions: Sequence[Action], origin: DecisionOrigin, language: Language
    ) -> Decision:
        now = self._clock.now()
        id_ = decision_id(said.conversation_id, said.id)
        return Decision(
            id=id_,
            conversation_id=said.conversation_id,
            merchant_id=merchant.id,
            covers=(said.id,),
            at=now,
            origin=origin,
            replies=events(actions, decision=id_, said=said, merchant=merchant, origin=origin, now=now),
            language=language,
        )
