"""When something happened. The platform writes seconds, milliseconds and strings of both; size tells them apart."""

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = 1_000_000_000
"""September 2001 in seconds: an earlier moment is a placeholder or a mistake, nothing happened there on Instagram."""

NUMBER = re.compile(r"\s*[0-9]{1,19}(\.[0-9]{1,9})?\s*")

MAX_CLOCK_DIFFERENCE = timedelta(hours=1)
"""How far the clocks of two machines may be apart: far more than any that is looked after."""

SCALES = ((10**11, 1_000_000), (10**14, 1_000), (10**17, 1))
"""Below each bound: microseconds in one unit (seconds, milliseconds, microseconds)."""


def moment(value: Any) -> datetime | None:
    """Return the moment a number, a string of digits or an ISO 8601 string means; None when it means none."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            return _iso(value)
        value = float(value) if "." in value else int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    for bound, scale in SCALES:
        if 0 < value < bound:
            microseconds = int(value * scale)
            return EPOCH + timedelta(microseconds=microseconds) if microseconds >= EARLIEST * 1_000_000 else None
    return None


def _iso(value: str) -> datetime | None:
    """Read e.g. 2026-11-21T18:04:05+0000; without an offset it is taken as UTC."""
    try:
        at = datetime.fromisoformat(value.strip())
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if at.timestamp() >= EARLIEST else None


def happened(*candidates: datetime | None, received_at: datetime) -> datetime:
    """Return the first moment that is known; `received_at` where none is, or where the moment cannot be meant.

    The moment is the platform's and `received_at` is ours. A moment that seems to lie ahead only says that our clock is
    behind, and delivery knows its own messages by the platform's times: only one that is further ahead than clocks
    differ is taken for a mistake.
    """
    known = next((at for at in candidates if at is not None), received_at)
    return known if known <= received_at + MAX_CLOCK_DIFFERENCE else received_at


def milliseconds(at: datetime) -> int:
    """Return a moment in milliseconds since the epoch."""
    return (at - EPOCH) // timedelta(milliseconds=1)
