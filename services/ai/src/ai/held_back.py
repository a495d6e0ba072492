"""What a customer says while the account cannot answer: it is taken in, no model is asked, and a person is called once.

The platform still tells what customers write to an account whose token is gone or which Meta holds back; nothing that
Jawab decides could be sent. (Where ManyChat sends, it needs no token of ours: direct messages are answered then.)
Direct messages go on waiting in their conversation: once the account is connected again the customer's next message is
answered together with them, unless a person has dealt with them by then. So do those that were answered and whose
answer found no way out: that very answer stopped the account, or ManyChat does not know the customer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from ai.actions import events
from ai.announcing import Decisions as StoredDecisions
from ai.announcing import Publish
from ai.decisions import Decision
from ai.history import Unanswered, came_in
from ai.incoming import Incoming
from ai.language import detect
from ai.orchestrator import Messages as StoredMessages
from ai.recording import Recording
from common.accounts import Standing
from common.clock import Clock
from common.events.ids import decision_id
from common.events.outcomes import Failed, Suppressed
from common.events.replies import DirectMessage, OperatorNotification, ReplyGenerated
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchant

MESSAGING_WINDOW: Final = timedelta(hours=24)

DIRECT_MESSAGE: Final[str] = DirectMessage.model_fields["kind"].default


class Conversations(Recording, Protocol):
    """Keeps conversations, and calls a person to them."""

    async def given_up(self, said: Incoming, *, merchant_id: str, reason: str, now: datetime) -> None:
        """Call a person: what was said waits for nobody else."""
        ...

    async def needs_person(self, conversation_id: str, *, reason: str, now: datetime) -> None:
        """Call a person to a conversation."""
        ...

    async def wait_again(self, conversation_id: str, reply_id: str, messages: Sequence[Unanswered]) -> None:
        """Let messages wait for the answer to a later one, once for each reply."""
        ...


class Messages(StoredMessages, Protocol):
    """Keeps every message."""

    async def to_answer_again(self, ids: Sequence[str], *, since: datetime) -> list[Unanswered]:
        """Return those of these messages that may still be answered."""
        ...


class Decisions(StoredDecisions, Protocol):
    """Keeps decisions."""

    async def find(self, decision_id: str) -> Decision | None:
        """Return a decision by its id, or None."""
        ...


@dataclass(frozen=True)
class HeldBack:
    """Takes in what cannot be answered now. Every step can be repeated."""

    messages: Messages
    conversations: Conversations
    decisions: Decisions
    publish: Publish
    clock: Clock

    async def take_in(
        self, merchant: Merchant, said: Incoming, standing: Standing
    ) -> Literal["held_back", "republished", "observed"]:
        """Keep what was said and call a person, once a conversation and standing. Raises PyMongoError, KafkaError."""
        now = self.clock.now()
        stored = await self.messages.store(said, merchant_id=merchant.id, now=now)
        if not stored.fresh and (decision := await self.decisions.covering(said.id)) is not None:
            refuse_if_lost()
            await self.publish(decision.replies)
            await self.conversations.record_decision(decision, now=now)
            return "republished"
        if stored.unsent:
            return "observed"
        said = said.reworded(stored.text) if stored.text != said.text else said
        said = replace(said, position=stored.position)
        conversation = await self.conversations.record(
            said,
            merchant_id=merchant.id,
            language=detect(said.text),
            stored_at=stored.stored_at,
            closes=False,
            now=now,
        )
        came = came_in(stored.stored_at, said.received_at_ms, said.at)
        if said.standby or conversation.human_owned(came, said.position):
            return "observed"
        reason = reason_of(standing)
        if conversation.attention != reason:
            refuse_if_lost()
            await self.publish([call_for(said, merchant, standing, now=now)])
        if not said.in_thread:
            await self.conversations.given_up(said, merchant_id=merchant.id, reason=reason, now=now)
        elif conversation.attention != reason:
            await self.conversations.needs_person(said.conversation_id, reason=reason, now=now)
        return "held_back"

    async def wait_again(self, data: Failed | Suppressed) -> None:
        """Let the messages wait again whose reply could not be sent because the account has no way to send.

        Only what the customer wrote in the last 24 hours: the rest cannot be answered any more. Raises PyMongoError.
        """
        if not data.account_stopped or data.kind != DIRECT_MESSAGE or data.decision_id is None:
            return
        decision = await self.decisions.find(data.decision_id)
        if decision is None:
            return
        since = self.clock.now() - MESSAGING_WINDOW
        messages = await self.messages.to_answer_again(decision.covers, since=since)
        if messages:
            await self.conversations.wait_again(data.conversation_id, data.reply_id, messages)


def can_answer(merchant: Merchant, said: Incoming, standing: Standing, now: datetime) -> bool:
    """Tell whether an answer could be sent as the account stands now."""
    state = standing.state_at(now)
    # The key itself need not be known here; without the field nobody is found in ManyChat.
    by_manychat = "manychat" in merchant.routes and merchant.manychat_igsid_field is not None
    in_private = said.channel == "direct_message"
    return state == "active" or (state == "needs_reconnection" and in_private and by_manychat)


def reason_of(standing: Standing) -> str:
    """Return why a person is needed, as a stable code."""
    return standing.reason or standing.state


def call_for(said: Incoming, merchant: Merchant, standing: Standing, *, now: datetime) -> ReplyGenerated:
    """Return the event that calls a person; its id is one for the conversation and this standing of the account."""
    account = f"@{merchant.username}" if merchant.username else merchant.account_id
    detail = f": {standing.detail}" if standing.detail else ""
    text = (
        f"{merchant.name}: account {account} cannot answer ({standing.state.replace('_', ' ')}{detail}). "
        f"Conversation {said.conversation_id} waits for a person."
    )
    since = standing.since.isoformat() if standing.since is not None else ""
    (event,) = events(
        [OperatorNotification(reason=reason_of(standing), text=text)],
        decision=decision_id(said.conversation_id, f"held_back:{standing.state}:{since}"),
        said=said,
        merchant=merchant,
        origin="apology",
        now=now,
    )
    return event
