"""What delivery learns from the conversations it does not write to: windows that open, echoes, read receipts, changes
of owner.
"""

import structlog

from common.clock import Clock
from common.events.control import ControlEvent, ConversationTakenOver
from common.events.interactions import (
    CommentReceived,
    EchoReceived,
    InteractionEvent,
    MessageEdited,
    MessageRead,
    PolicyEnforced,
)
from common.merchants import MerchantNotReadable, Merchants
from delivery import permissions
from delivery.contacts import Contacts
from delivery.echoes import EchoReader, Foreign
from delivery.message_lookup import MessageLookup, announces
from delivery.metrics import DeliveryMetrics
from delivery.own_comments import OwnComments, is_own
from delivery.patience import Patience
from delivery.platforms.operator import Notice
from delivery.read_receipts import ReadReceipts
from delivery.reports import Reports
from delivery.stopping import Stops
from delivery.subscribers import named_by

log = structlog.get_logger("observations")

NOTICED_LATE = "person_noticed_late"


class Observer:
    """Takes in interactions and control events. Most need no I/O at all."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        echoes: EchoReader,
        reads: ReadReceipts,
        own_comments: OwnComments,
        lookup: MessageLookup,
        reports: Reports,
        stops: Stops,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
    ) -> None:
        self._merchants = merchants
        self._contacts = contacts
        self._echoes = echoes
        self._reads = reads
        self._own_comments = own_comments
        self._lookup = lookup
        self._reports = reports
        self._stops = stops
        self._clock = clock
        self._metrics = metrics
        self._patience = patience

    async def observe(self, event: InteractionEvent) -> None:
        """Take in one interaction. Raises Retryable where an echo or a receipt has to wait for a call to end, and where
        an announced message cannot be looked up yet.
        """
        if isinstance(event, PolicyEnforced):
            await self._policy_enforced(event)
            return
        if isinstance(event, CommentReceived):
            await self._comment(event)
        permits = permissions.concern(event)
        self._lookup.note_seen(event)
        if event.data.contact_id is None or not (
            permits or announces(event) or isinstance(event, EchoReceived | MessageRead)
        ):
            return
        merchant = await self._merchants.of_account(event.data.account_id)
        if merchant is None:
            self._metrics.foreign_accounts.inc()
            return
        if isinstance(event, EchoReceived):
            await self._echoes.read(event, merchant)
        elif isinstance(event, MessageRead):
            await self._reads.read(event)
        elif announces(event):
            await self._lookup.look_up(event, merchant)
        if permits:
            await permissions.note(self._contacts, event)
        subscriber = named_by(event)
        if subscriber is not None:
            await self._contacts.met_subscriber(event.data.conversation_id, subscriber)

    async def _comment(self, event: CommentReceived) -> None:
        """Take in a comment: only the account's own answers matter here."""
        if event.data.parent_id is None:
            return
        try:
            own = event.data.from_account or is_own(event.data, await self._merchants.of_account(event.data.account_id))
        except MerchantNotReadable:
            return  # what the platform shows below the comment settles the answer then
        if own:
            await self._own_comments.read(event)

    async def _policy_enforced(self, event: PolicyEnforced) -> None:
        if await self._merchants.of_account(event.data.account_id) is None:
            self._metrics.foreign_accounts.inc()
        else:
            await self._stops.enforced(event.data.account_id, event.data.action or "", event.time)

    async def control(self, event: ControlEvent) -> None:
        """Note who answers a conversation from here on. A person's turn ends by itself after the quiet time."""
        control = event.data
        if not isinstance(event, ConversationTakenOver):
            await self._contacts.set_owner(control.conversation_id, "bot", by=control.by, since=event.time, until=None)
            return
        merchant = await self._merchants.of_account(control.account_id)
        pause = self._patience.human_pause
        until = event.time + (merchant.quiet_time(pause) if merchant is not None else pause)
        await self._contacts.set_owner(control.conversation_id, "human", by=control.by, since=event.time, until=until)
        log.info("conversation.taken_over", conversation=control.conversation_id, reason=control.reason)

    async def announcement_died(self, event: MessageEdited, cause: str) -> None:
        """Publish that a message cannot be read, whose announcement went to the dead letters. Raises KafkaError."""
        if await self._merchants.of_account(event.data.account_id) is not None:
            await self._lookup.give_up(event, cause)

    async def echo_died(self, event: EchoReceived, cause: str) -> None:
        """Take in an echo whose record went to the dead letters: a person who wrote is heeded all the same, late.

        Nothing is waited for any more. Jawab kept silent meanwhile, because a reply waits for what was observed before
        it; the merchant's people are told why. Raises Retryable, PyMongoError, KafkaError: to be repeated then.
        """
        merchant = await self._merchants.of_account(event.data.account_id)
        if merchant is None or event.data.contact_id is None:
            return
        whose = await self._echoes.read(event, merchant, last=True)
        log.error("echo.given_up", conversation=event.data.conversation_id, whose=type(whose).__name__, cause=cause)
        if isinstance(whose, Foreign):
            notice = Notice(
                reason=NOTICED_LATE,
                text=f"A message from the account could not be taken in until now ({cause}). Jawab treats it as a "
                "person's answer and is silent; please see whether the customer was left waiting.",
                conversation_id=event.data.conversation_id,
                account_id=event.data.account_id,
                contact_id=event.data.contact_id,
                reply_id="",
                at=self._clock.now(),
            )
            await self._reports.tell(merchant.id, notice)
