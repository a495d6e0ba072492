"""Accepts a reply that is requested over HTTP: a row in the ledger, then a record in Kafka.

Accepting is not sending. Only when both are there is it accepted; then it is sent in the conversation's order. The id
of a reply is derived from the idempotency key, so a repeated request sends once. A caller without a key gets one: when
Kafka does not acknowledge the record, it may be in the log all the same, and only a repetition with that key is safe.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from aiokafka.errors import KafkaError

from common.clock import Clock
from common.events import Event
from common.events.ids import fingerprint, reply_id
from common.events.replies import InThread, Origin, Reply, ReplyGenerated
from common.merchants import Merchant, Merchants
from common.tracing import continued
from delivery.ledger import Ledger, Row, opened
from delivery.outcomes import Publish
from delivery.parts import cuts_of, keys_of, pieces_of
from delivery.platforms.content_limits import breach
from delivery.platforms.routing import ordered

log = structlog.get_logger("acceptance")

SOURCE = "/delivery/api"


def event_of(kind: type[ReplyGenerated], reply: Reply, row: Row) -> ReplyGenerated:
    """Return the event that asks for a reply; asked for again it is the same, because its row is."""
    return kind(
        id=reply.reply_id,
        source=SOURCE,
        subject=reply.conversation_id,
        time=row.at,
        partitionkey=reply.conversation_id,
        traceparent=continued(None),
        data=reply,
    )


class UnknownMerchant(Exception):
    """No merchant here has that id."""


class UnknownAccount(Exception):
    """The merchant has no account of that id; both ids are its arguments."""


class OwnAccount(Exception):
    """The recipient is an account of the merchant, and no customer."""


class KeyUsedOtherwise(Exception):
    """The idempotency key already belongs to something else."""


class NotSendable(Exception):
    """No route takes what is to be sent; the message names field and limit."""


class NotAcknowledged(Exception):
    """Kafka did not acknowledge the records of a request: they may be in the log, and take effect, or not.

    `row` is the reply they are about, None for a takeover, a release or a resolution.
    """

    def __init__(self, cause: Exception, row: Row | None = None) -> None:
        super().__init__(type(cause).__name__)
        self.row = row


def new_key() -> str:
    """Return an idempotency key for a request that has none."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Accepted:
    """The reply's row, and whether an earlier request with the same key had made it."""

    row: Row
    repeated: bool


async def merchant_of(merchants: Merchants, merchant_id: str, account_id: str | None, contact_id: str) -> Merchant:
    """Return the merchant as seen by the account that is to speak, its main one where none is named.

    Raises UnknownMerchant, UnknownAccount, OwnAccount, MerchantNotReadable, PyMongoError.
    """
    by_main = await merchants.by_id(merchant_id)
    if by_main is None:
        raise UnknownMerchant(merchant_id)
    merchant = by_main.seen_by(account_id or by_main.account_id)
    if merchant is None:
        raise UnknownAccount(account_id, merchant_id)
    if contact_id in {account.account_id for account in merchant.accounts}:
        raise OwnAccount(contact_id)
    return merchant


class Acceptance:
    """Accepts replies, each once."""

    def __init__(self, *, ledger: Ledger, publish: Publish, clock: Clock) -> None:
        self._ledger = ledger
        self._publish = publish
        self._clock = clock

    async def accept(
        self,
        merchant: Merchant,
        contact_id: str,
        action: InThread,
        *,
        origin: Origin,
        key: str,
        events_of: Callable[[Reply, Row], Sequence[Event]],
    ) -> Accepted:
        """Accept an action into a customer's thread; `events_of` returns what is published for it, in order.

        Raises NotSendable, KeyUsedOtherwise, NotAcknowledged, PyMongoError.
        """
        breaches = [breach(action, route) for route in ordered(action, merchant.routes)]
        if breaches and breaches[0] is not None and all(breaches):
            raise NotSendable(breaches[0].detail)
        now = self._clock.now()
        reply = Reply(
            reply_id=reply_id(f"{origin}:{merchant.id}:{key}", 0),
            merchant_id=merchant.id,
            account_id=merchant.account_id,
            contact_id=contact_id,
            origin=origin,
            action=action,
            received_at_ms=round(now.timestamp() * 1000),
        )
        asked = fingerprint(action.model_dump(mode="json"))
        pieces = pieces_of(action)
        fresh = replace(opened(reply, keys_of(pieces), now, cuts_of(action, pieces)), asked=asked)
        found = await self._ledger.insert(fresh)
        row = found if isinstance(found, Row) else fresh
        if not row.erased and not _is_same(row, fresh):
            raise KeyUsedOtherwise
        if row.state == "claimed" and row.fence == 0:
            await self._append(events_of(reply, row), row)
        return Accepted(row, repeated=row is not fresh)

    async def _append(self, events: Sequence[Event], row: Row) -> None:
        try:
            await self._publish(events)
        except (KafkaError, OSError, TimeoutError) as error:
            # The row stays: a repetition with the same key finds it, and so does delivery if the record is in the log.
            log.warning("reply.not_acknowledged", error=type(error).__name__, reply=row.reply_id, origin=row.origin)
            raise NotAcknowledged(error, row) from error

    async def status(self, merchant_id: str, reply: str) -> Row | None:
        """Return the row of a merchant's reply; None where there is none, or it is another merchant's."""
        row = await self._ledger.find(reply)
        return row if row is not None and row.merchant_id == merchant_id else None


def _is_same(row: Row, asked: Row) -> bool:
    """Tell whether a row is what is asked for now: the same thing by the same account to the same person."""

    if (row.account_id, row.contact_id) != (asked.account_id, asked.contact_id):
        return False
    if row.asked is not None:
        return row.asked == asked.asked  # not by its parts: another version may cut the same text elsewhere

    def about(one: Row) -> tuple[object, ...]:
        return one.kind, one.message_tag, tuple(part.key for part in one.parts)

    return about(row) == about(asked)
