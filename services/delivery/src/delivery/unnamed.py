"""Whose a message is of which the ledger knows no id: the part with its fingerprint that was attempted at that time."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from delivery.ledger import Row, State


def find_unnamed(rows: Iterable[Row], key: str, at: datetime, *, early: float, late: float) -> tuple[Row, int] | None:
    """Return the part that a message with this text, shown by the platform at `at`, must be.

    Of the parts without an id that were attempted between `late` seconds before and `early` seconds after that moment
    it is the one attempted last before it. An attempt made after it fits only by the difference of two clocks, so it
    comes last. A reply that was given to a person waits for nothing: it takes what no other reply can have sent.
    """
    fitting = [
        (_distance(part.attempted_at, at, row.state), row.reply_id, row, index)
        for row in rows
        for index, part in enumerate(row.parts)
        if part.key == key
        and part.message_id is None
        and part.state != "waiting"
        and part.attempted_at is not None
        and -early <= (at - part.attempted_at).total_seconds() <= late
    ]
    if not fitting:
        return None
    _, _, row, index = min(fitting, key=lambda one: one[:2])
    return row, index


def _distance(attempted_at: datetime, at: datetime, state: State) -> tuple[bool, bool, timedelta]:
    return attempted_at > at, state == "handed_to_human", abs(at - attempted_at)
