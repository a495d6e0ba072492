"""Writes rows over what others made of them meanwhile: facts onto whatever is there, plans over what was read alone."""

from collections.abc import Callable
from datetime import datetime

from common.errors import Permanent, Retryable
from delivery.ledger import Ledger, Row, State, after_arrival, is_same_attempt

MOST_TRIES = 8


class FactConflict(Retryable):
    """What happened could not be written yet: the row changed again and again."""


async def write_fact(ledger: Ledger, row: Row, change: Callable[[Row], Row | None]) -> Row:
    """Write what happened, onto whatever the row has become meanwhile, and return the row as it is then.

    `change` returns the row with the fact, or None when the row says it already or has no use for it. Raises
    FactConflict when the row keeps changing under the writer, Permanent when it vanished (never sent again then).
    """
    for _ in range(MOST_TRIES):
        changed = change(row)
        if changed is None:
            return row
        if await ledger.put(changed, over=row):
            return changed
        found = await ledger.find(row.reply_id)
        if found is None:
            raise Permanent(f"{row.reply_id}: its row in the ledger vanished while it was being sent")
        row = found
    raise FactConflict(f"{row.reply_id}: what happened could not be written")


async def write_arrival(
    ledger: Ledger, row: Row, index: int, message_id: str | None, now: datetime, *, by_text: bool = False
) -> Row:
    """Write that a part arrived, whoever owns the row by now. Raises like `write_fact`."""
    return await write_fact(ledger, row, lambda latest: after_arrival(latest, index, message_id, now, by_text=by_text))


async def write_about(
    ledger: Ledger, row: Row, index: int, change: Callable[[Row], Row], *, only: State | None = None
) -> Row:
    """Write what became of the attempt that `row` is at, unless its part is at another one by now.

    `only` asks for a state too: what an overtaken owner knows must not undo what its successor wrote.
    """
    attempt = row.parts[index].attempts

    def apply(latest: Row) -> Row | None:
        if not is_same_attempt(latest, index, attempt) or (only is not None and latest.state != only):
            return None
        return change(latest)

    return await write_fact(ledger, row, apply)


async def put_or_read(ledger: Ledger, row: Row, *, over: Row) -> Row:
    """Store `row` over the one it was made from, or return what stands there instead.

    Raises Permanent where the row vanished while something may have been sent, Retryable where nothing had been.
    """
    if await ledger.put(row, over=over):
        return row
    found = await ledger.find(row.reply_id)
    if found is None and any(part.attempts for part in over.parts):
        raise Permanent(f"{row.reply_id}: its row in the ledger vanished while it was being sent")
    if found is None:
        raise Retryable(f"{row.reply_id}: its row in the ledger was withdrawn before anything was sent")
    return found
