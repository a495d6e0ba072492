"""What is done about each event that the service reads: one function a kind, and `handle`, which knows which is whose.

An account that belongs to no merchant here is counted and dropped: one Meta app gets the webhooks of every account that
ever authorised it. What can never be handled ends in the dead letters, and where a customer waits for its answer
(`dead_lettered`), a person is called.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, cast

import structlog
from aiokafka import ConsumerRecord
from pydantic import ValidationError

from ai.actions import DEAD_LETTERED, gave_up, gave_up_unread
from ai.conversations import MongoConversations
from ai.decisions import MongoDecisions
from ai.held_back import HeldBack, can_answer
from ai.history import Line
from ai.incoming import Answerable, announced, brings, incoming
from ai.messages import Edited, MongoMessages
from ai.metrics import AIMetrics, Outcome
from ai.notices import Notices
from ai.orchestrator import ConversationAIOrchestrator
from ai.ownership import MongoOwnership
from ai.turn import left_waiting
from ai.unreadable import Unreadable, is_own, not_read, reason_to_hand_over, utterance
from common.accounts import Standings
from common.clock import Clock
from common.erasures import ConversationErased, Erasures, NoErasures
from common.errors import Retryable
from common.events import ANY_EVENT, AnyEvent, Event
from common.events.control import (
    ControlEvent,
    ConversationReleased,
    ConversationResolved,
    ConversationTakenOver,
    LogPosition,
)
from common.events.ids import interaction_id
from common.events.interactions import (
    INTERACTIONS,
    CommentReceived,
    FeedChanged,
    InteractionEvent,
    LiveCommentReceived,
    MentionReceived,
    MessageEdited,
    MessageReceived,
    MessageUnsent,
    PostbackReceived,
    ReferralReceived,
    StoryInsightsReceived,
)
from common.events.outcomes import (
    Failed,
    HumanReplied,
    ReplyDelivered,
    ReplyFailed,
    ReplyOutcomeUnknown,
    ReplySuppressed,
    Suppressed,
)
from common.events.privacy import DeauthorizationReceived, ErasureRequested
from common.kafka.hold import hold, positions, refuse_if_lost
from common.kafka.keys import conversation_of
from common.merchants import BROKEN_MERCHANT_SECONDS, Merchant, MerchantNotReadable, Merchants

log = structlog.get_logger("ai")

Publish = Callable[[Sequence[Event]], Awaitable[None]]

NOBODYS_BUSINESS = frozenset({("failed", "human_owns"), ("suppressed", "human_owns")}) | {
    ("suppressed", "comment_already_answered"),
    ("suppressed", "erased"),
}
"""Ends of a reply that need no agent: one is there already, another reply answers, or its customer was erased."""

COURTESIES = frozenset({"typing", "mark_seen"})
"""Kinds of replies that say nothing: no line shows them, and nobody misses them."""

UNKNOWN = "unknown"

COPY_SECONDS: Final = 1.0
"""How long the message itself is waited for that an edit announces: where it comes at all, both come together."""


@dataclass(frozen=True)
class Handlers:
    """The service's handlers and what they act through."""

    merchants: Merchants
    standings: Standings
    orchestrator: ConversationAIOrchestrator
    held_back: HeldBack
    notices: Notices
    unreadable: Unreadable
    messages: MongoMessages
    conversations: MongoConversations
    ownership: MongoOwnership
    decisions: MongoDecisions
    publish: Publish
    metrics: AIMetrics
    clock: Clock
    human_pause: timedelta
    erasures: Erasures = field(default_factory=NoErasures)

    async def handle(self, event: AnyEvent) -> None:
        """Handle one event to its end. Raises Retryable, PyMongoError or KafkaError when it must be tried again."""
        if isinstance(event, ErasureRequested | DeauthorizationReceived):
            return  # not on the topics this service reads
        started = time.monotonic()
        merchant: Merchant | None = None
        outcome: Outcome = "failed"
        try:
            merchant = await self._merchant_of(event.data.account_id)
            if merchant is None:
                outcome = "unknown_account"
                log.debug("event.unknown_account", account=event.data.account_id, type=event.type)
            elif await self._disconnected(merchant):
                outcome = "disconnected"
            else:
                outcome = await self._unless_erased(merchant, event)
        finally:
            self.metrics.handled(
                merchant=merchant.id if merchant is not None else UNKNOWN,
                platform="manychat" if "manychat" in event.source else "instagram",
                event=type(event).__name__,
                outcome=outcome,
                seconds=time.monotonic() - started,
            )

    async def _merchant_of(self, account_id: str) -> Merchant | None:
        try:
            return await self.merchants.of_account(account_id)
        except MerchantNotReadable as error:
            raise Retryable(str(error), after=BROKEN_MERCHANT_SECONDS) from None

    async def _disconnected(self, merchant: Merchant) -> bool:
        return (await self.standings.of(merchant.account_id)).state == "disconnected"

    async def _unless_erased(self, merchant: Merchant, event: AnyEvent) -> Outcome:
        """Handle an event, but for one that was received before its customer was erased: it is counted and ignored."""
        try:
            await self.erasures.begin(event)
            return await self._handed_over(merchant, event) or await self._dispatch(merchant, event)
        except ConversationErased:
            await self.erasures.note_ignored(event)
            return "erased"

    async def _handed_over(self, merchant: Merchant, event: AnyEvent) -> Outcome | None:
        """Call an agent to what nobody here can read; None where the event is something else."""
        if event.topic != INTERACTIONS:
            return None
        interaction = cast("InteractionEvent", event)
        reason = reason_to_hand_over(interaction, merchant)
        return await self.unreadable.hand_over(merchant, not_read(interaction), reason) if reason is not None else None

    async def _dispatch(self, merchant: Merchant, event: AnyEvent) -> Outcome:
        match event:
            case MessageReceived() | PostbackReceived():
                return await self.on_message_received(merchant, event)
            case CommentReceived() | LiveCommentReceived():
                return await self.on_comment_received(merchant, event)
            case MessageEdited():
                return await self.on_message_edited(merchant, event)
            case MessageUnsent():
                return await self.on_message_unsent(merchant, event)
            case ReferralReceived():
                return await self.on_referral_received(event)
            case ReplyDelivered() | ReplyFailed() | ReplySuppressed() | ReplyOutcomeUnknown():
                return await self.on_reply_outcome(event)
            case HumanReplied():
                return await self.on_human_replied(merchant, event)
            case ConversationTakenOver() | ConversationReleased() | ConversationResolved():
                return await self.on_control(merchant, event)
            case MentionReceived() | FeedChanged() | StoryInsightsReceived():
                return await self.notices.handle(merchant, event)
            case _:
                # Echoes are delivery's to tell apart; reactions, reads, receipts, opt-ins, handovers, policies and
                # permissions are no words of a customer. What may be some, and is unknown, was handed over before.
                return "ignored"

    async def on_message_received(self, merchant: Merchant, event: MessageReceived | PostbackReceived) -> Outcome:
        """Answer a message, a tapped quick reply or a tapped button."""
        return await self._respond(merchant, event)

    async def on_comment_received(self, merchant: Merchant, event: CommentReceived | LiveCommentReceived) -> Outcome:
        """Answer a comment in public, during a live broadcast in private; the account's own never."""
        return await self._respond(merchant, event)

    async def _respond(self, merchant: Merchant, event: Answerable) -> Outcome:
        said = incoming(event)
        if said is None or is_own(event, merchant):
            return "ignored"
        said = replace(said, position=_first_position())
        if _is_announced(event) and await hold().later_within(brings(event.id), COPY_SECONDS):
            return "left"
        standing = await self.standings.of(merchant.account_id)
        if not can_answer(merchant, said, standing, self.clock.now()):
            return await self.held_back.take_in(merchant, said, standing)
        return (await self.orchestrator.respond(merchant, said)).outcome

    async def on_message_edited(self, merchant: Merchant, event: MessageEdited) -> Outcome:
        """Keep the text that the writer wants to have written; answer the message where only the edit tells of it.

        An edit without words only announces its message: delivery looks that up and publishes it.
        """
        data, text = event.data, (event.data.text or "").strip()
        if not text:
            return "ignored"
        if data.from_account:
            await self.conversations.reword_sent(data.conversation_id, data.mid, text, number=data.num_edit)
            return "observed"
        message = announced(event)
        edited = await self.messages.edit(message.id, text, number=data.num_edit, about=_about(merchant, event))
        if edited == Edited.ANNOUNCED:
            return await self._respond(merchant, message)
        if edited:
            await self.conversations.reword(data.conversation_id, message.id, text)
        return "observed"

    async def on_message_unsent(self, merchant: Merchant, event: MessageUnsent) -> Outcome:
        """Forget what a message that was taken back said, and what was learnt from it."""
        data = event.data
        if data.from_account:
            await self.conversations.erase_sent(
                data.mid,
                conversation=(data.conversation_id, merchant.id, data.account_id, data.contact_id),
                now=self.clock.now(),
            )
            return "observed"
        message_id = interaction_id(data.account_id, "msg", data.mid)
        await self.messages.erase(message_id, about=_about(merchant, event))
        await self.conversations.erase(data.conversation_id, message_id)
        if learnt := await self.decisions.learnt_from(message_id):
            await self.conversations.forget_lead(data.conversation_id, learnt)
            await self.decisions.forget_lead(message_id)  # last: a repetition has to find out what else is to go
        return "observed"

    async def on_referral_received(self, event: ReferralReceived) -> Outcome:
        """Note which link or ad brought a person back."""
        referral = event.data.referral.model_dump(exclude_none=True)
        await self.conversations.opened_by(event.data.conversation_id, referral, now=self.clock.now())
        return "observed"

    async def on_reply_outcome(
        self, event: ReplyDelivered | ReplyFailed | ReplySuppressed | ReplyOutcomeUnknown
    ) -> Outcome:
        """Note what became of a reply; what did not arrive needs a person, but for a courtesy."""
        data, now = event.data, self.clock.now()
        if data.kind in COURTESIES:
            return "ignored"
        match event:
            case ReplyDelivered(data=delivered) if delivered.origin == "human":
                await self.conversations.answered(data.conversation_id, data.reply_id, at=event.time, now=now)
                return "observed"
            case ReplyDelivered(data=delivered):
                await self.conversations.delivered(data.conversation_id, data.reply_id, delivered.message_ids, now=now)
                return "observed"
            case ReplyFailed(data=failed):
                state, reason = "failed", failed.reason
            case ReplySuppressed(data=suppressed):
                state, reason = "suppressed", suppressed.reason
            case ReplyOutcomeUnknown():
                state, reason = "unknown", "outcome_unknown"
        needed = None if (state, reason) in NOBODYS_BUSINESS else reason
        await self.conversations.not_delivered(
            data.conversation_id, data.reply_id, state=state, reason=needed, at=event.time, now=now
        )
        if isinstance(data, Failed | Suppressed):
            await self.held_back.wait_again(data)
        return "observed"

    async def on_human_replied(self, merchant: Merchant, event: HumanReplied) -> Outcome:
        """Be silent for a while: a person of the shop writes to this customer."""
        data = event.data
        line = Line(id=event.id, role="human", text=data.text or "", at=event.time, mid=data.mid)
        await self.ownership.person_wrote(
            line,
            conversation=(data.conversation_id, merchant.id, data.account_id, data.contact_id),
            until=event.time + merchant.quiet_time(self.human_pause),
            now=self.clock.now(),
        )
        return "observed"

    async def on_control(self, merchant: Merchant, event: ControlEvent) -> Outcome:
        """Let a person or Jawab answer from here on, or close the matter."""
        data, now = event.data, self.clock.now()
        match event:
            case ConversationTakenOver():
                await self.ownership.take_over(
                    conversation=(data.conversation_id, merchant.id, data.account_id, data.contact_id),
                    at=event.time,
                    until=event.time + merchant.quiet_time(self.human_pause),
                    now=now,
                )
                return "observed"
            case ConversationReleased():
                conversation = await self.ownership.release(data.conversation_id, at=event.time, now=now, log=data.log)
            case ConversationResolved():
                conversation = await self.ownership.resolve(data.conversation_id, at=event.time, now=now, log=data.log)
        said = left_waiting(conversation) if conversation is not None else None
        if conversation is None or said is None:
            return "observed"
        if not can_answer(merchant, said, await self.standings.of(merchant.account_id), now):
            return "observed"
        return (await self.orchestrator.resume(merchant, said, conversation)).outcome

    async def dead_lettered(self, record: ConsumerRecord, cause: str) -> None:
        """Call a person where a record that went to the dead letters leaves a customer without an answer.

        Nobody knows what an unreadable record was: its conversation, which is its key, is named to a person, too.
        Raises Retryable, PyMongoError, KafkaError: nobody was told then, and the call has to be repeated. A repetition
        publishes the same event.
        """
        where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        conversation_id = conversation_of(record.key)
        try:
            event: AnyEvent | None = ANY_EVENT.validate_json(record.value or b"")
        except ValidationError:
            event = None
        said = utterance(event) if event is not None else None
        if event is not None and (said is None or said.standby):
            log.error("event.given_up", **where, type=event.type, cause=cause)
            return
        if said is None and conversation_id is None:
            log.error("record.of_no_conversation", **where, cause=cause)
            return
        account = said.account_id if said is not None else (conversation_id or "").partition(":")[0]
        merchant = await self._merchant_of(account)
        log.error("customer.given_up", **where, conversation=conversation_id, cause=cause, known=merchant is not None)
        if merchant is None or await self._disconnected(merchant):
            return
        if event is not None and await self._is_erased(event):
            return
        now = self.clock.now()
        refuse_if_lost()
        if said is not None:
            await self.publish([gave_up(said, merchant, now=now)])
            await self.conversations.given_up(said, merchant_id=merchant.id, reason=DEAD_LETTERED, now=now)
        elif conversation_id is not None:
            place = f"{record.topic}:{record.partition}:{record.offset}"
            await self.publish([gave_up_unread(conversation_id, place, merchant, now=now)])
            await self.conversations.needs_person(conversation_id, reason=DEAD_LETTERED, now=now)

    async def _is_erased(self, event: AnyEvent) -> bool:
        try:
            await self.erasures.begin(event)
        except ConversationErased:
            await self.erasures.note_ignored(event)
            return True
        return False


def _is_announced(event: Answerable) -> bool:
    """Tell whether a message is known from an edit alone: the message itself, should it come, says more."""
    return isinstance(event, MessageReceived) and event.data.known_from == "edit"


def _about(merchant: Merchant, event: MessageEdited | MessageUnsent) -> dict[str, object]:
    """Return what is stored of a message that is edited or taken back before it came."""
    return {
        "conversation_id": event.data.conversation_id,
        "merchant_id": merchant.id,
        "channel": "direct_message",
        "at": event.time,
    }


def _first_position() -> LogPosition | None:
    """Return where the record of an interaction was first read in the log; None for a handler without a subscriber."""
    places = [place for place in positions() if place.topic == INTERACTIONS]
    return LogPosition(partition=places[-1].partition, offset=places[-1].offset) if places else None
