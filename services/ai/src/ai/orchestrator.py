"""One thing a customer said goes in; a stored decision and its published replies come out.

    store the message → hear it → leave the answer to a later one, or wait for one (`ai.turn`) → record it in the
    conversation → decide about the turn (rules, then the model) → store the decision
    → publish its replies → record it in the conversation

A crash between any two of these repeats to the same end: the message and its line are stored once, the end of a turn
is written down before it is decided about, and a decision that was stored is taken as it is, so no customer hears two
answers and no answer is paid twice. Until the end the conversation says that its messages wait: whoever comes upon
them finds the decision and publishes it again. Four calls of the database for an answer, two where nothing is answered
or the answer is left to a later message.

A message with a recording is heard before it gets its line (`ai.media.hearing`), at the price of one more call. What is
decided about a turn is `ai.deciding`'s to say.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, Protocol

import structlog

from ai.announcing import Announcer, Decisions, Publish, Spending
from ai.courtesy import Courtesy
from ai.deciding import MODEL_PATIENCE, Answering, Decider, Observer
from ai.decisions import Decision
from ai.history import Conversation, Unanswered, came_in
from ai.incoming import Incoming
from ai.language import detect
from ai.media.hearing import Ears
from ai.media.sight import Sight
from ai.messages import Stored
from ai.recording import Recording
from ai.rules import RuleEngine
from ai.turn import MOST_MESSAGES, Left, Turn, continues, may_grow, next_turn, seconds_to_wait
from common.clock import Clock
from common.erasures import refuse_if_erased
from common.events.replies import ReplyGenerated
from common.failpoints import failpoint
from common.kafka.hold import hold, refuse_if_lost
from common.merchants import Merchant

log = structlog.get_logger("ai")

MOST_LEFT = 10_000


class Messages(Protocol):
    """Keeps every message."""

    async def store(self, said: Incoming, *, merchant_id: str, now: datetime) -> Stored:
        """Store a message once and return how it is stored."""
        ...


class Conversations(Recording, Protocol):
    """Keeps conversations, and where their turns end."""

    async def reopen(self, conversation_id: str, message: Unanswered) -> Conversation:
        """Let a message wait for a decision again, and return the conversation."""
        ...

    async def begin(self, conversation: Conversation, turn: Turn) -> None:
        """Write down where a turn ends. Raises Retryable when what waits has changed since."""
        ...

    async def reopen_turn(self, conversation_id: str, trigger_id: str) -> bool:
        """Let the turn that ends with a message take in another one; False where it waits no more."""
        ...

    async def find(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None."""
        ...


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
        ears: Ears | None = None,
        sight: Sight | None = None,
        courtesies: Publish | None = None,
    ) -> None:
        """Without `ears` recordings stay unheard, without `sight` images unseen, and no `courtesies` means none."""
        self._messages = messages
        self._conversations = conversations
        self._announcer = Announcer(decisions=decisions, spending=spending, observer=observer, publish=publish)
        self._decider = Decider(
            answering=answering,
            observer=observer,
            clock=clock,
            rules=rules or RuleEngine(),
            patience=model_patience,
            sight=sight,
        )
        self._clock = clock
        self._most_messages = most_messages
        self._ears = ears
        self._courtesies = courtesies
        self._left: OrderedDict[str, Left] = OrderedDict()

    async def respond(self, merchant: Merchant, said: Incoming) -> Result:
        """Answer what a customer said. Raises PyMongoError, KafkaError, Retryable: the call has to be repeated then."""
        stored = await self._messages.store(said, merchant_id=merchant.id, now=self._clock.now())
        if stored.text != said.text:
            said = said.reworded(stored.text)
        said = replace(said, position=stored.position)
        if not stored.fresh and (decision := await self._announcer.covering(said.id)) is not None:
            return await self._republish(merchant, said, decision)
        if self._ears is not None and not stored.unsent:
            said = await self._ears.hear(merchant, said, stored)
        conversation, left = await self._taken_in(merchant, said, stored)
        failpoint("ai.after_message_before_decision")
        if conversation is None or said.standby:
            return OBSERVED
        if stored.unsent or conversation.awaits(said.id) or _is_a_persons(conversation, said, stored):
            return await self._answer(merchant, said, conversation, left=left)
        # Its line is there and waits for nothing: somebody has decided by now, or it is back from the dead letters.
        if (decision := await self._announcer.covering(said.id)) is not None:
            return await self._republish(merchant, said, decision)
        waiting = said.unanswered(stored_at=stored.stored_at, closes=not said.in_thread)
        conversation = await self._conversations.reopen(said.conversation_id, waiting)
        return await self._answer(merchant, said, conversation)

    async def resume(self, merchant: Merchant, said: Incoming, conversation: Conversation) -> Result:
        """Answer what came in for Jawab before it was told that the conversation is its own again; `said` is the last
        of it. Raises like `respond`.
        """
        if (decision := await self._announcer.covering(said.id)) is not None:
            return await self._republish(merchant, said, decision)
        return await self._answer(merchant, said, conversation)

    async def _taken_in(
        self, merchant: Merchant, said: Incoming, stored: Stored
    ) -> tuple[Conversation | None, bool | None]:
        """Return the conversation with what was said in it, and whether its answer is left; None: not found out yet."""
        if stored.unsent or not stored.fresh:
            conversation = await self._conversations.find(said.conversation_id)
            if stored.unsent or (conversation is not None and _has(conversation, said, stored)):
                return conversation, None
        known = self._left.get(said.conversation_id)
        left = said.in_thread and await self._leaves(merchant, said, known.since if known is not None else None)
        await refuse_if_erased()  # hearing and waiting take long
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
        recorded = left is not None  # just now, and by us: a turn that ends with it was begun by nobody else
        while (turn := next_turn(conversation, said)) is not None:
            begun_here = recorded and turn.trigger.id == said.id
            if not turn.begun:
                if len(turn.messages) < self._most_messages:
                    left = await self._leaves(merchant, said, turn.since) if left is None else left
                    if left:
                        self._leave(said.conversation_id, turn)
                        return Result("left", tuple(published))
                await self._conversations.begin(conversation, turn)
                begun_here = True
            courtesy = Courtesy(self._courtesies, self._clock, merchant, said)
            try:
                decision = await self._decision_about(
                    merchant, said, conversation, turn, courtesy, begun_here=begun_here
                )
            finally:
                await courtesy.close()
            if decision is None:
                return Result("left", tuple(published))
            await self._announcer.say(decision)
            await self._conversations.record_decision(decision, now=self._clock.now())
            outcome = "answered"
            published += decision.replies
            conversation = conversation.without(decision.covers)
        self._left.pop(said.conversation_id, None)
        return Result(outcome, tuple(published))

    def _leave(self, conversation_id: str, turn: Turn, *, grown: bool = False) -> None:
        """Remember since when a turn lasts, so that its next message need not be looked up to know how long to wait."""
        known = self._left.get(conversation_id, Left(turn.since))
        self._left[conversation_id] = Left(turn.since, known.growths + grown)
        while len(self._left) > MOST_LEFT:
            self._left.popitem(last=False)

    async def _republish(self, merchant: Merchant, said: Incoming, decision: Decision) -> Result:
        """Publish again what was decided; then answer what was left to this copy of an old message, if anything."""
        self._announcer.recognise(decision)
        await self._announcer.say(decision)
        conversation = await self._conversations.find(said.conversation_id)
        if conversation is None:
            return Result("republished", decision.replies)
        last = decision.covers[-1]
        if conversation.awaits(last) and not conversation.waits_again(last):
            await self._conversations.record_decision(decision, now=self._clock.now())
            conversation = conversation.without(decision.covers)
        rest = await self._answer(merchant, said, conversation) if said.in_thread else OBSERVED
        return Result("republished", (*decision.replies, *rest.events))

    async def _decision_about(
        self,
        merchant: Merchant,
        said: Incoming,
        conversation: Conversation,
        turn: Turn,
        courtesy: Courtesy,
        *,
        begun_here: bool,
    ) -> Decision | None:
        """Return the stored decision about a turn, made now unless it was before; None where the turn grows instead.

        Only a turn that was begun here and now grows: after a crash, the stored end of a turn holds.
        """
        trigger = turn.trigger.id
        if trigger != said.id:  # of `said` it is known that no decision covers it
            known = await self._announcer.covering(trigger)
            if known is not None:
                self._announcer.recognise(known)
                return known
        courtesy.seen()
        decision = self._announcer.unstored(trigger)
        if decision is None:
            decision = await self._decider.decide(merchant, said, conversation, turn, courtesy)
            if begun_here and decision.origin != "rule" and await self._grows(said, turn):
                self._announcer.discard(decision)
                return None
        decision = await self._announcer.store(decision)
        failpoint("ai.after_decision_before_publish")
        return decision

    async def _grows(self, said: Incoming, turn: Turn) -> bool:
        """Leave a turn to the next message, where the customer wrote on while its answer was made."""
        left = self._left.get(said.conversation_id, Left(turn.since))
        growing = may_grow(turn, left, most_messages=self._most_messages, now=self._clock.now())
        if not growing or not said.in_thread or not hold().later(continues(said)):
            return False
        refuse_if_lost()
        if not await self._conversations.reopen_turn(said.conversation_id, turn.trigger.id):
            return False
        if await self._announcer.covering(turn.trigger.id) is not None:  # what is stored is never thrown away
            return False
        self._leave(said.conversation_id, turn, grown=True)
        return True


def _is_a_persons(conversation: Conversation, said: Incoming, stored: Stored) -> bool:
    """Tell whether a message came in while it was a person's to answer, however late it is handled."""
    return conversation.human_owned(came_in(stored.stored_at, said.received_at_ms, said.at), said.position)


def _has(conversation: Conversation, said: Incoming, stored: Stored) -> bool:
    """Tell whether a redelivered message needs no line: it has one, or a person dealt with it and it grew old."""
    return (
        _is_a_persons(conversation, said, stored)
        or conversation.awaits(said.id)
        or any(line.id == said.id for line in conversation.recent)
    )
