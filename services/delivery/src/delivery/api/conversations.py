"""What the merchant's people do in a conversation: answer it, take it over, give it back, close it, look at it.

Everything that changes something becomes an event and takes effect where all else does, in the conversation's order:
a takeover is in the log when it is answered with 202, so no bot message is announced after that (docs/decisions/0008).
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from aiokafka.errors import KafkaError

from common.clock import Clock
from common.events import Event
from common.events.control import (
    Control,
    ControlEvent,
    ConversationReleased,
    ConversationResolved,
    ConversationTakenOver,
    LogPosition,
)
from common.events.ids import conversation_id, fingerprint
from common.events.replies import Reply, ReplyGenerated
from common.merchants import Merchant, Merchants
from common.tracing import continued
from delivery.api.acceptance import SOURCE, Acceptance, Accepted, NotAcknowledged, event_of, merchant_of
from delivery.api.conversation_requests import ControlBody, ReplyBody
from delivery.api.conversation_view import View
from delivery.contacts import Contact, Contacts
from delivery.ledger import Row
from delivery.outcomes import Publish
from delivery.rules.policy import Withhold

log = structlog.get_logger("conversations")

LogEnd = Callable[[str], Awaitable[LogPosition | None]]
"""Returns how far the log of a conversation's interactions reaches now; None where that is not known."""

Change = type[ConversationTakenOver] | type[ConversationReleased] | type[ConversationResolved]


@dataclass(frozen=True)
class Changed:
    """A change of who answers that is in the log, and until when it holds by itself."""

    event: ControlEvent
    until: datetime | None


class Conversations:
    """The conversations of merchants, for their people."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        acceptance: Acceptance,
        publish: Publish,
        clock: Clock,
        margin: timedelta,
        human_pause: timedelta,
        log_end: LogEnd,
    ) -> None:
        self._merchants = merchants
        self._contacts = contacts
        self._acceptance = acceptance
        self._publish = publish
        self._clock = clock
        self._margin = margin
        self._human_pause = human_pause
        self._log_end = log_end

    async def change(self, change: Change, merchant_id: str, contact_id: str, body: ControlBody, *, by: str) -> Changed:
        """Let a person or Jawab answer from now on. Raises like `merchant_of`, and NotAcknowledged."""
        merchant = await merchant_of(self._merchants, merchant_id, body.account_id, contact_id)
        log_end = await self._log_end(conversation_id(merchant.account_id, contact_id))
        now = self._clock.now()
        event = _control(change, merchant, contact_id, by=by, reason=body.reason, now=now, log_end=log_end)
        try:
            await self._publish([event])
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("control.not_acknowledged", error=type(error).__name__, conversation=event.subject)
            raise NotAcknowledged(error) from error
        ends = isinstance(event, ConversationTakenOver)
        return Changed(event, now + merchant.quiet_time(self._human_pause) if ends else None)

    async def reply(self, merchant_id: str, contact_id: str, body: ReplyBody, *, by: str, key: str) -> Accepted:
        """Accept an agent's reply under an idempotency key. Raises like `merchant_of` and `Acceptance.accept`.

        What the rules withhold takes nothing over: nobody would be answered by anybody then.
        """
        merchant = await merchant_of(self._merchants, merchant_id, body.account_id, contact_id)
        view = await self._view(merchant, contact_id)

        def events_of(reply: Reply, row: Row) -> Sequence[Event]:
            generated = event_of(ReplyGenerated, reply, row)
            if not body.takeover or isinstance(view.verdict_on(reply), Withhold):
                return [generated]
            taken = _control(
                ConversationTakenOver, merchant, contact_id, by=by, reason="replied", now=row.at, about=reply.reply_id
            )
            return [taken, generated]

        return await self._acceptance.accept(
            merchant, contact_id, body.said, origin="human", key=key, events_of=events_of
        )

    async def status(self, merchant_id: str, contact_id: str, reply: str) -> Row | None:
        """Return the row of a reply in the merchant's conversations with this contact, or None. Raises PyMongoError."""
        row = await self._acceptance.status(merchant_id, reply)
        return row if row is not None and row.contact_id in {contact_id, None} else None

    async def view(self, merchant_id: str, contact_id: str, account_id: str | None) -> View:
        """Return the conversation as it is now. Raises like `merchant_of`."""
        return await self._view(await merchant_of(self._merchants, merchant_id, account_id, contact_id), contact_id)

    async def _view(self, merchant: Merchant, contact_id: str) -> View:
        conversation = conversation_id(merchant.account_id, contact_id)
        contact = await self._contacts.find(conversation) or Contact(conversation)
        return View(merchant, contact, self._clock.now(), self._margin)


def _control(
    change: Change,
    merchant: Merchant,
    contact_id: str,
    *,
    by: str,
    reason: str,
    now: datetime,
    about: str | None = None,
    log_end: LogPosition | None = None,
) -> ControlEvent:
    conversation = conversation_id(merchant.account_id, contact_id)
    return change(
        id="ctl_" + fingerprint([conversation, change.__name__, about or secrets.token_hex(16)]),
        source=SOURCE,
        subject=conversation,
        time=now,
        partitionkey=conversation,
        traceparent=continued(None),
        data=Control(
            merchant_id=merchant.id,
            account_id=merchant.account_id,
            contact_id=contact_id,
            by=by,
            reason=reason,
            log=log_end,
        ),
    )
