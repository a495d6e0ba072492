"""Settles public answers by the webhooks that bring the account's own comments back.

Every public answer comes back as a comment of the account's, as a message comes back as an echo. It names the comment
it stands below, so it is the answer with this text that was attempted there and whose outcome is not known yet.
"""

from collections.abc import Iterable
from datetime import datetime

import structlog

from common.clock import Clock
from common.events.interaction_data import Comment
from common.events.interactions import CommentReceived
from common.failpoints import failpoint
from common.merchants import Merchant
from delivery.fingerprints import text_key
from delivery.ledger import Ledger, Row
from delivery.metrics import DeliveryMetrics
from delivery.row_writes import write_arrival
from delivery.unnamed import earliest

log = structlog.get_logger("own_comments")


def is_own(comment: Comment, merchant: Merchant | None) -> bool:
    """Tell whether the account wrote a comment: the platform says so, or it bears the account's username."""
    if comment.from_account:
        return True
    username = merchant.username if merchant is not None else ""
    return bool(username) and (comment.username or "").casefold() == username.casefold()


def find_sender(rows: Iterable[Row], comment: Comment, at: datetime, key: str) -> tuple[Row, int] | None:
    """Return the part that a comment of the account's, dated `at`, must be, of the public answers that are under way.

    Without the comment it stands below it can be any, so it settles nothing.
    """
    fitting = [
        (part.attempted_at, row.reply_id, row, index)
        for row in rows
        if comment.parent_id is not None and row.public_reply_under == comment.parent_id
        for index, part in enumerate(row.parts)
        if part.key == key and part.state in {"attempting", "unknown"} and part.attempted_at is not None
        if (first := earliest(part)) is not None and first <= at
    ]
    if not fitting:
        return None
    _, _, row, index = min(fitting, key=lambda one: one[:2])
    return row, index


class OwnComments:
    """Takes in the account's own comments."""

    def __init__(self, *, ledger: Ledger, clock: Clock, metrics: DeliveryMetrics) -> None:
        self._ledger = ledger
        self._clock = clock
        self._metrics = metrics

    async def read(self, event: CommentReceived) -> None:
        """Mark the answer that a comment of the account's is as delivered. Doing it again changes nothing.

        Raises FactConflict, PyMongoError.
        """
        comment = event.data
        if not comment.text or not comment.text.strip():
            return
        key = text_key(comment.text)
        rows = await self._ledger.public_replies_under_way(comment.account_id, key)
        found = find_sender(rows, comment, event.time, key)
        if found is None:
            return
        row, index = found
        if await self._has_an_owner(comment, event.time, key):
            return
        await write_arrival(self._ledger, row, index, comment.comment_id, self._clock.now(), by_text=True)
        failpoint("delivery.after_own_comment_before_done")
        if row.state == "unknown":
            self._metrics.resolved.labels("comment").inc()
            log.info("reply.found", reply=row.reply_id, by="comment", part=index)

    async def _has_an_owner(self, comment: Comment, at: datetime, key: str) -> bool:
        """Tell whether a comment is an answer whose id is known: to another customer, in the same words, or earlier."""
        below = await self._ledger.public_replies_below(
            comment.account_id, comment.parent_id or "", at, key, (comment.comment_id,)
        )
        return any(comment.comment_id in row.message_ids for row in below)
