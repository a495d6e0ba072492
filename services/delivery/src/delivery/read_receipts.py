"""Marks replies as seen when the customer has read them.

Instagram says up to which message the customer has read (`mid`), Messenger up to which moment (`watermark`). Read
receipts come in any order, more than once, and sometimes before the answer of the call that sent what was read.

Decision: a receipt marks everything that was sent up to the message it names, with the earliest moment at which it is
known to have been read; so neither order nor repetition matters. One that names a message nobody here knows waits while
a call is under way, because its answer may name it; after that the receipt's own moment counts: whatever had been sent
by then was on the customer's screen.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from common.errors import Retryable
from common.events.interactions import MessageRead
from delivery.first_seen import FirstSeen
from delivery.ledger import Ledger, Row
from delivery.patience import Patience


class ReadReceipts:
    """Takes in what customers have read."""

    def __init__(self, *, ledger: Ledger, patience: Patience, first_seen: FirstSeen) -> None:
        self._ledger = ledger
        self._first_seen = first_seen
        self._patience = patience

    async def read(self, event: MessageRead) -> None:
        """Take in one receipt; the account's own tells nothing of the customer.

        Raises Retryable while a call is under way that may have sent what was read.
        """
        receipt = event.data
        if receipt.from_account:
            return
        if receipt.mid is not None:
            upto = await self._sent(receipt.conversation_id, receipt.account_id, receipt.mid, event.time)
        elif receipt.watermark_ms is not None:
            upto = datetime.fromtimestamp(receipt.watermark_ms / 1000, UTC)
        else:
            upto = event.time
        await self._ledger.mark_seen(receipt.conversation_id, upto=upto, at=event.time)

    async def _sent(self, conversation_id: str, account_id: str, mid: str, read_at: datetime) -> datetime:
        """Return when a message was sent, by the ledger's clock; the moment of reading where it is not the ledger's."""
        rows = await self._ledger.possible_senders(conversation_id, account_id, read_at, mid, ())
        sent_at = _sent_at(rows, mid)
        if sent_at is None and any(self._is_under_way(row) for row in rows):
            raise Retryable("read receipt: a call that may have sent it is under way", after=self._patience.poll)
        return sent_at or read_at

    def _is_under_way(self, row: Row) -> bool:
        return any(
            part.state == "attempting" and self._first_seen.seconds(row, index) < self._patience.in_flight
            for index, part in enumerate(row.parts)
        )


def _sent_at(rows: Sequence[Row], mid: str) -> datetime | None:
    return next((part.attempted_at for row in rows for part in row.parts if part.message_id == mid), None)
