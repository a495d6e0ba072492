"""One thing a customer said goes in; a stored decision and its published replies come out.

    store the message → leave the answer to a later one, or wait for one (`ai.turn`) → record it in the conversation
    → decide about the turn (rules, then who owns the conversation, then the model) → store the decision
    → publish its replies → record it in the conversation

A crash between any two of these repeats to the same end: the message and its line are stored once, the end of a turn
is written down before it is decided about, and a decision that was stored is taken as it is, so no customer hears two
answers and no answer is paid twice. Until the end the conversation says that its messages wait: whoever comes upon
them finds the decision and publishes it again. Four calls of the database for an answer, two where nothing is answered
or the answer is left to a later message.

When the model fails, the customer hears an apology and a person is called. When it is only held back (the circuit
breaker is open, or the provider named a time to come again), nothing was asked and nothing is lost by waiting: the
message is tried again then, for `model_patience` seconds from when it was stored; what cannot be answered within them
is apologised for at once.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

import structlog

from ai.actions import answering, events, notification, of_rule
from ai.apology import apology
from ai.completion import ModelFailed, Usage, worth_waiting
from ai.decisions import Decision, DecisionOrigin
from ai.history import Conversation, Unanswered
from ai.incoming import Incoming
from ai.instagram_ai import ModelAnswer
from ai.language import Language, detect, language_of
from ai.messages import Stored
from ai.prompt import Question
from ai.rules import DEFAULT_RULES, RuleEngine, SkipCause
from ai.turn import MOST_MESSAGES, Turn, continues, next_turn, seconds_to_wait
from common.clock import Clock
from common.errors import Retryable
from common.events.ids import decision_id
from common.events.replies import Action, OperatorNotification, ReplyGenerated
from common.failpoints import failpoint
from common.kafka.hold import hold, refuse_if_lost
from common.merchants import Merchant, Rule

log = structlog.get_logger("ai")

MOST_UNSTORED = 1000
MOST_LEFT = 10_000

MODEL_PATIENCE = 60.0
"""Seconds."""

ESCALATED = "escalated"
MODEL_UNAVAILABLE = "model_unavailable"


class Messages(Protocol):
    """Keeps every message."""

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:
        """Store a message once and return how it is stored."""
        ...


class Conversations(Protocol):
    """Keeps conversations."""

    async def record(
        self,
        said: Incoming,
        *,
        merchant_id: str,
        language: str | None,
        stored_at: datetime,
        closes: bool,
        now: datetime,
    ) -> Conversation:
        """Append what was said, once, as the last message of its turn if it `closes`; return the conversation."""
        ...

    async def reopen(self, conversation_id: str, message: Unanswered) -> Conversation:
        """Let a message wait for a decision again, and return the conversation."""
        ...

    async def begin(self, conversation: Conversation, turn: Turn) -> None:
        """Write down where a turn ends. Raises Retryable when what waits has changed since."""
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


Publish = Callable[[Sequence[ReplyGenerated]], Awaitable[None]]
"""Appends replies to their topic; returns when that is acknowledged."""


@dataclass(frozen=True)
class Result:
    """What became of one thing said: in a word, and the replies that were published."""

    outcome: Literal["answered", "left", "republished", "observed"]
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
        publish: Publish,
        clock: Clock,
        rules: RuleEngine | None = None,
        most_messages: int = MOST_MESSAGES,
        model_patience: float = MODEL_PATIENCE,
    ) -> None:
        self._messages = messages
        self._conversations = conversations
        self._decisions = decisions
        self._answering = answering
        self._spending = spending
        self._observer = observer
        self._publish = publish
        self._clock = clock
        self._rules = rules or RuleEngine()
        self._most_messages = most_messages
        self._patience = model_patience
        self._unstored: OrderedDict[str, Decision] = OrderedDict()
        self._left: OrderedDict[str, datetime] = OrderedDict()

    async def respond(self, merchant: Merchant, said: Incoming) -> Result:
        """Answer what a customer said. Raises PyMongoError, KafkaError, Retryable: the call has to be repeated then."""
        stored = await self._messages.store(said, merchant_id=merchant.id, now=self._clock.now())
        if stored.text != said.text:
            said = said.reworded(stored.text)
        if not stored.fresh and (decision := await self._decisions.covering(said.id)) is not None:
            return await self._republish(merchant, said, decision)
        conversation, left = await self._taken_in(merchant, said, stored)
        failpoint("ai.after_message_before_decision")
        if conversation is None or said.standby:
            return OBSERVED
        if stored.unsent or conversation.awaits(said.id) or conversation.human_owned(stored.stored_at):
            return await self._answer(merchant, said, conversation, left=left)
        # Its line is there and waits for nothing: somebody has decided by now, or it is back from the dead letters.
        if (decision := await self._decisions.covering(said.id)) is not None:
            return await self._republish(merchant, said, decision)
        waiting = said.unanswered(stored_at=stored.stored_at, closes=not said.in_thread)
        conversation = await self._conversations.reopen(said.conversation_id, waiting)
        return await self._answer(merchant, said, conversation)

    async def _taken_in(
        self, merchant: Merchant, said: Incoming, stored: Stored
    ) -> tuple[Conversation | None, bool | None]:
        """Return the conversation with what was said in it, and whether its answer is left; None: not found out yet."""
        if stored.unsent or not stored.fresh:
            conversation = await self._conversations.find(said.conversation_id)
            if stored.unsent or (conversation is not None and _has(conversation, said, stored)):
                return conversation, None
        since = self._left.get(said.conversation_id)
        left = said.in_thread and await self._leaves(merchant, said, since)
        conversation = await self._conversations.record(
            said,
            merchant_id=merchant.id,
            language=detect(said.text),
            stored_at=stored.stored_at,
            closes=not left,
            now=self._clock.now(),
        )
        return conversation, left

    async def _leaves(self, merchant: Merchant, said: Incoming, since: datetime | None) -> bool:
        """Tell whether another message will answer, waiting for one as long as the merchant wants.

        `since` is when the first message was stored that was left to this one.
        """
        wait = seconds_to_wait(merchant.turn_pause, since=since, now=self._clock.now())
        if wait > 0:
            return await hold().later_within(continues(said), wait)
        return hold().later(continues(said))

    async def _answer(
        self, merchant: Merchant, said: Incoming, conversation: Conversation, *, left: bool | None = None
    ) -> Result:
        """Answer what waits where `said` was said, whether it waits itself or others were left to it.

        More than one turn waits only where an answer was interrupted.
        """
        published: list[ReplyGenerated] = []
        outcome: Literal["answered", "observed"] = "observed"
        while (turn := next_turn(conversation, said)) is not None:
            first = turn.messages[0].stored_at
            if not turn.begun:
                if len(turn.messages) < self._most_messages:
                    left = await self._leaves(merchant, said, first) if left is None else left
                    if left:
                        self._leave(said.conversation_id, first)
                        return Result("left", tuple(published))
                await self._conversations.begin(conversation, turn)
            decision = await self._decision_about(merchant, said, conversation, turn)
            await self._say(decision)
            await self._conversations.record_decision(decision, now=self._clock.now())
            outcome = "answered"
            published += decision.replies
            conversation = conversation.without(decision.covers)
        self._left.pop(said.conversation_id, None)
        return Result(outcome, tuple(published))

    def _leave(self, conversation_id: str, first: datetime) -> None:
        """Remember since when a turn lasts, so that its next message need not be looked up to know how long to wait."""
        self._left[conversation_id] = first
        while len(self._left) > MOST_LEFT:
            self._left.popitem(last=False)

    async def _republish(self, merchant: Merchant, said: Incoming, decision: Decision) -> Result:
        """Publish again what was decided; then answer what was left to this copy of an old message, if anything."""
        if self._ours(decision):
            self._count(decision)
        await self._say(decision)
        conversation = await self._conversations.find(said.conversation_id)
        if conversation is None:
            return Result("republished", decision.replies)
        if conversation.awaits(decision.covers[-1]):
            await self._conversations.record_decision(decision, now=self._clock.now())
            conversation = conversation.without(decision.covers)
        rest = await self._answer(merchant, said, conversation) if said.in_thread else OBSERVED
        return Result("republished", (*decision.replies, *rest.events))

    async def _say(self, decision: Decision) -> None:
        if decision.replies:
            refuse_if_lost()
            await self._publish(decision.replies)
        failpoint("ai.after_publish_before_done")

    async def _decision_about(
        self, merchant: Merchant, said: Incoming, conversation: Conversation, turn: Turn
    ) -> Decision:
        """Return the stored decision about a turn, made now unless it was before."""
        trigger = turn.trigger.id
        if trigger != said.id:  # of `said` it is known that no decision covers it
            known = await self._decisions.covering(trigger)
            if known is not None:
                if self._ours(known):
                    self._count(known)
                return known
        decision = self._unstored.get(trigger) or await self._decide(merchant, said, conversation, turn)
        decision, new = await self._stored(decision, trigger)
        failpoint("ai.after_decision_before_publish")
        if new:
            self._count(decision)
        return decision

    async def _stored(self, decision: Decision, event_id: str) -> tuple[Decision, bool]:
        """Store a decision. While the database is away it is kept here: a retry must not pay the model again."""
        self._unstored[event_id] = decision
        while len(self._unstored) > MOST_UNSTORED:
            self._unstored.popitem(last=False)
        refuse_if_lost()
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

    async def _decide(self, merchant: Merchant, said: Incoming, conversation: Conversation, turn: Turn) -> Decision:
        """Decide about a turn: `asked` is its last message, and what is replied to."""
        lines = {line.id: line for line in conversation.recent}
        remembered = [said.recalled(message, lines.get(message.id)) for message in turn.messages]
        asked = said if turn.trigger.id == said.id else remembered[-1]
        earlier = remembered[:-1]
        language = language_of(asked.text, conversation.language)
        rules = merchant.rules if merchant.rules is not None else DEFAULT_RULES
        verdict = self._rules.first(
            rules, channel=asked.channel, text=asked.text, earlier=[one.text for one in earlier]
        )
        for name, cause in verdict.skipped:
            self._observer.rule_skipped(cause)
            log.warning("rule.skipped", merchant=merchant.id, rule=name, cause=cause)
        if verdict.rule is not None:
            return self._by_rule(verdict.rule, merchant, asked, turn, language)
        history = tuple(line for line in conversation.recent if line.id not in turn.covers)
        question = Question(
            merchant, asked.channel, language, asked.shown, history, tuple(one.shown for one in earlier)
        )
        return await self._by_model(question, asked, turn)

    def _by_rule(self, rule: Rule, merchant: Merchant, said: Incoming, turn: Turn, language: Language) -> Decision:
        actions = of_rule(rule.then, said, merchant, language)
        decision = self._decision(merchant, said, turn, actions, origin="rule", language=language)
        return replace(decision, rule=rule.name, match=rule.when.match, attention=rule.then.alert)

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
            self._decision(merchant, said, turn, actions, origin="model", language=answer.language or language),
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
            self._decision(merchant, said, turn, actions, origin="apology", language=language),
            usage=failure.usage,
            reasons=(failure.reason,),
            escalate=True,
            attention=MODEL_UNAVAILABLE,
        )

    def _decision(
        self,
        merchant: Merchant,
        said: Incoming,
        turn: Turn,
        actions: Sequence[Action],
        *,
        origin: DecisionOrigin,
        language: Language,
    ) -> Decision:
        now = self._clock.now()
        id_ = decision_id(said.conversation_id, said.id)
        return Decision(
            id=id_,
            conversation_id=said.conversation_id,
            merchant_id=merchant.id,
            covers=turn.covers,
            at=now,
            origin=origin,
            replies=events(actions, decision=id_, said=said, merchant=merchant, origin=origin, now=now),
            language=language,
        )


def _has(conversation: Conversation, said: Incoming, stored: Stored) -> bool:
    """Tell whether a redelivered message needs no line: it has one, or a person dealt with it and it grew old."""
    return (
        conversation.human_owned(stored.stored_at)
        or conversation.awaits(said.id)
        or any(line.id == said.id for line in conversation.recent)
    )
