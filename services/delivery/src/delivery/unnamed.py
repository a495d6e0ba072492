"""Whose a message is of which the ledger knows no id: the part with its fingerprint that was attempted at that time.

The platform dates its messages by its own clock. An attempt is dated by the platform's clock, too, where that was known
when it was made; else by a clock that may be minutes away from it, and more is allowed for.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from delivery.ledger import Part, Row, State

CLOCKS_DIFFER = timedelta(seconds=60)
"""How long before its attempt the platform may date a message: an estimate of its clock, and some."""

SHOWN_LATER = timedelta(seconds=300)
"""How long after its attempt the platform may date what it sent; well above a call's time."""

CLOCK_UNKNOWN = timedelta(seconds=300)
"""By how much more an attempt may be dated wrongly that was made while the platform's clock was not known."""


def earliest(part: Part) -> datetime | None:
    """Return the first moment at which the platform may date the message of a part; None where it was not attempted."""
    if part.attempted_at is None:
        return None
    return part.attempted_at - CLOCKS_DIFFER - _error(part)


def may_be_dated(part: Part, at: datetime) -> bool:
    """Tell whether the platform may date the message of an attempted part at `at`."""
    if part.attempted_at is None:
        return False
    return -CLOCKS_DIFFER - _error(part) <= at - part.attempted_at <= SHOWN_LATER + _error(part)


def _error(part: Part) -> timedelta:
    return timedelta() if part.at_platform_time else CLOCK_UNKNOWN


def find_unnamed(rows: Iterable[Row], key: str, at: datetime) -> tuple[Row, int] | None:
    """Return the part that a message with this text, shown by the platform at `at`, must be.

    Of the parts without an id that may be dated so it is the one attempted last before that moment. An attempt made
    after it fits only by the difference of two clocks, so it comes last. A reply that was given to an agent waits for
    nothing: it takes what no other reply can have sent.
    """
    fitting = [
        (_distance(part.attempted_at, at, row.state), row.reply_id, row, index)
        for row in rows
        for index, part in enumerate(row.parts)
        if part.key == key
        and part.message_id is None
        and part.state != "waiting"
        and part.attempted_at is not None
        and may_be_dated(part, at)
    ]
    if not fitting:
        return None
    _, _, row, index = min(fitting, key=lambda one: one[:2])
    return row, index


def _distance(attempted_at: datetime, at: datetime, state: State) -> tuple[bool, bool, timedelta]:
    return attempted_at > at, state == "handed_to_human", abs(at - attempted_at)
