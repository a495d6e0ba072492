"""Messages that a merchant's own systems ask to send: accepted over HTTP, sent in the conversation's order.

Accepting is not sending. A request becomes a row in the ledger and a record in Kafka, and only when both are there is
it accepted; then it waits its turn behind what the conversation is already owed.
"""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from common.events.replies import DirectMessage, ReplyRequested
from common.merchants import Merchants
from delivery.api.acceptance import Acceptance, Accepted, event_of, merchant_of
from delivery.api.fields import InstagramId, Line, Message, MessageTag
from delivery.ledger import Row
from delivery.rules.policy import is_human_agent


class SendRequest(BaseModel):
    """What the body of a send says."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=False)

    recipient_id: InstagramId = Field(
        alias="recipientId", description="The customer's Instagram-scoped id, digits as a string."
    )
    message: Message = Field(repr=False)
    message_tag: MessageTag | None = Field(default=None, alias="messageTag", description="A ManyChat message tag.")
    account_id: InstagramId | None = Field(
        default=None,
        alias="accountId",
        description="Which of the merchant's Instagram accounts sends it; its main one when not given.",
    )
    idempotency_key: Line | None = Field(
        default=None, alias="idempotencyKey", description="Two requests with the same key send one message."
    )

    @field_validator("message_tag")
    @classmethod
    def _is_for_programs(cls, value: str | None) -> str | None:
        if is_human_agent(value):
            raise ValueError("must not be HUMAN_AGENT: that tag is only for messages that a person writes")
        return value


class UtilityMessagesService:
    """Accepts messages and tells what became of them."""

    def __init__(self, *, merchants: Merchants, acceptance: Acceptance) -> None:
        self._merchants = merchants
        self._acceptance = acceptance

    async def send(self, merchant_id: str, request: SendRequest, *, key: str) -> Accepted:
        """Accept a message under an idempotency key. Raises like `merchant_of` and `Acceptance.accept`."""
        merchant = await merchant_of(self._merchants, merchant_id, request.account_id, request.recipient_id)
        return await self._acceptance.accept(
            merchant,
            request.recipient_id,
            DirectMessage(text=request.message, message_tag=request.message_tag),
            origin="api",
            key=key,
            events_of=lambda reply, row: [event_of(ReplyRequested, reply, row)],
        )

    async def status(self, merchant_id: str, reply: str) -> Row | None:
        """Return the row of a merchant's reply; None where there is none, or it is another merchant's."""
        return await self._acceptance.status(merchant_id, reply)
