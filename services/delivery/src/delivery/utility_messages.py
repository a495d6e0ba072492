"""Messages that a merchant's own systems ask to send: accepted over HTTP, sent in the conversation's order.

Accepting is not sending. A request becomes a row in the ledger and a record in Kafka, and only when both are there is
it accepted; then it waits its turn behind what the conversation is already owed.
"""

import secrets
from dataclasses import dataclass
from typing import Annotated

import structlog
from aiokafka.errors import KafkaError
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from common.clock import Clock
from common.events.ids import reply_id
from common.events.replies import DirectMessage, Reply, ReplyRequested
from common.merchants import Merchants
from common.tracing import continued
from delivery.ledger import Ledger, Row, opened
from delivery.outcomes import Publish
from delivery.parts import keys_of, pieces_of
from delivery.policy import is_human_agent

log = structlog.get_logger("utility_messages")

SOURCE = "/delivery/api"
LONGEST_MESSAGE = 10_000

Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class SendRequest(BaseModel):
    """What the body of a send says."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)

    recipient_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] = Field(
        alias="recipientId", description="The customer's Instagram-scoped id, digits as a string."
    )
    message: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_MESSAGE)] = Field(repr=False)
    message_tag: Line | None = Field(default=None, alias="messageTag", description="A ManyChat message tag.")
    account_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] | None = Field(
        default=None,
        alias="accountId",
        description="Which of the merchant's Instagram accounts sends it; its main one when not given.",
    )
    idempotency_key: Line | None = Field(
        default=None, alias="idempotencyKey", description="Two requests with the same key send one message."
    )

    @field_validator("message")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must be more than white space")
        return value

    @field_validator("message_tag")
    @classmethod
    def _is_for_programs(cls, value: str | None) -> str | None:
        if is_human_agent(value):
            raise ValueError("must not be HUMAN_AGENT: that tag is only for messages that a person writes")
        return value


class UnknownMerchant(Exception):
    """No merchant here has that id."""


class UnknownAccount(Exception):
    """The merchant has no account of that id."""


class KeyUsedOtherwise(Exception):
    """The idempotency key already belongs to another message."""


class NotAccepted(Exception):
    """Kafka did not take the message, so nothing was accepted."""


@dataclass(frozen=True)
class Accepted:
    """The message's row, and whether an earlier request with the same key had made it."""

    row: Row
    repeated: bool


class UtilityMessagesService:
    """Accepts messages and tells what became of them."""

    def __init__(self, *, merchants: Merchants, ledger: Ledger, publish: Publish, clock: Clock) -> None:
        self._merchants = merchants
        self._ledger = ledger
        self._publish = publish
        self._clock = clock

    async def send(self, merchant_id: str, request: SendRequest) -> Accepted:
        """Accept a message. Raises UnknownMerchant, UnknownAccount, KeyUsedOtherwise, NotAccepted, PyMongoError."""
        by_main = await self._merchants.by_id(merchant_id)
        if by_main is None:
            raise UnknownMerchant(merchant_id)
        merchant = by_main.seen_by(request.account_id or by_main.account_id)
        if merchant is None:
            raise UnknownAccount(request.account_id)
        now = self._clock.now()
        key = request.idempotency_key or secrets.token_hex(16)
        reply = Reply(
            reply_id=reply_id(f"api:{merchant_id}:{key}", 0),
            merchant_id=merchant_id,
            account_id=merchant.account_id,
            contact_id=request.recipient_id,
            origin="api",
            action=DirectMessage(text=request.message, message_tag=request.message_tag),
            received_at_ms=round(now.timestamp() * 1000),
        )
        fresh = opened(reply, keys_of(pieces_of(reply.action)), now)
        found = await self._ledger.insert(fresh)
        row = found if isinstance(found, Row) else fresh
        if isinstance(found, Row):
            _same_message(found, request, merchant.account_id)
        if row.state == "claimed" and row.fence == 0:
            await self._append(_event(reply, row), row)
        return Accepted(row, repeated=isinstance(found, Row))

    async def _append(self, event: ReplyRequested, row: Row) -> None:
        try:
            await self._publish([event])
        except (KafkaError, OSError, TimeoutError) as error:
            # Should the record be in the log after all, delivery makes the row again under the same id.
            await self._ledger.discard(row)
            log.warning("utility_message.not_accepted", error=type(error).__name__, reply=row.reply_id)
            raise NotAccepted(type(error).__name__) from error

    async def status(self, merchant_id: str, reply: str) -> Row | None:
        """Return the row of a merchant's reply; None where there is none, or it is another merchant's."""
        row = await self._ledger.find(reply)
        return row if row is not None and row.merchant_id == merchant_id else None


def _event(reply: Reply, row: Row) -> ReplyRequested:
    return ReplyRequested(
        id=reply.reply_id,
        source=SOURCE,
        subject=reply.conversation_id,
        time=row.at,
        partitionkey=reply.conversation_id,
        traceparent=continued(None),
        data=reply,
    )


def _same_message(row: Row, request: SendRequest, account_id: str) -> None:
    """Raise KeyUsedOtherwise where a repeated key comes with another message, tag, recipient or account."""
    if row.erased:
        return
    keys = keys_of(pieces_of(DirectMessage(text=request.message)))
    asked = (account_id, request.recipient_id, request.message_tag, keys)
    if (row.account_id, row.contact_id, row.message_tag, tuple(part.key for part in row.parts)) != asked:
        raise KeyUsedOtherwise
