"""What delivery learns from the conversations it does not write to: windows that open, echoes, changes of owner."""

import structlog

from common.clock import Clock
from common.events.control import ControlEvent, ConversationTakenOver
from common.events.interactions import EchoReceived, InteractionEvent
from common.merchants import Merchants
from delivery import window
from delivery.contacts import Contacts
from delivery.echoes import EchoReader
from delivery.metrics import DeliveryMetrics
from delivery.patience import Patience

log = structlog.get_logger("observations")


class Observer:
    """Takes in interactions and control events. Most need no I/O at all."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        echoes: EchoReader,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
    ) -> None:
        self._merchants = merchants
        self._contacts = contacts
        self._echoes = echoes
        self._clock = clock
        self._metrics = metrics
        self._patience = patience

    async def observe(self, event: InteractionEvent) -> None:
        """Take in one interaction. Raises Retryable where an echo has to wait for a call to end."""
        opens = window.opens(event)
        if event.data.contact_id is None or not (opens or isinstance(event, EchoReceived)):
            return
        merchant = await self._merchants.of_account(event.data.account_id)
        if merchant is None:
            self._metrics.foreign_accounts.inc()
            return
        if isinstance(event, EchoReceived):
            await self._echoes.read(event, merchant.id)
        else:
            await self._contacts.customer_acted(event.data.conversation_id, event.time)

    async def control(self, event: ControlEvent) -> None:
        """Note who answers a conversation from here on. A person's turn ends by itself after the pause."""
        control = event.data
        if not isinstance(event, ConversationTakenOver):
            await self._contacts.set_owner(control.conversation_id, "bot", by=control.by, since=event.time, until=None)
            return
        until = event.time + self._patience.human_pause
        await self._contacts.set_owner(control.conversation_id, "human", by=control.by, since=event.time, until=until)
        log.info("conversation.taken_over", conversation=control.conversation_id, reason=control.reason)
