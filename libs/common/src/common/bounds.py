"""What the last place an outside value reaches can store: every door refuses or leaves out what is beyond it. Pure.

MongoDB's integers have 64 bits and the names of its fields hold no NUL (BSON specification 1.1); pymongo raises
OverflowError and InvalidDocument otherwise. A record that nothing can store dies in its consumer, so the bound belongs
where the value comes in.
"""

import re
from typing import Annotated, Any

from pydantic import Field

MIN_INT64, MAX_INT64 = -(2**63), 2**63 - 1
MAX_INT64_DIGITS = len(str(MAX_INT64))

MAX_ID_DIGITS = 32
"""Instagram's ids have 15 to 18 digits, ManyChat's fewer; settings, merchants and the HTTP API allow as many."""

Int64 = Annotated[int, Field(ge=MIN_INT64, le=MAX_INT64)]
"""An integer that MongoDB can store."""

FIELD_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The names of MongoDB fields that come from outside: no NUL, no `$`, no dot, nothing that a query could mean."""


def digits_of(value: Any) -> str | None:
    """Return the digits of a positive whole number that came as a number or as text, else None.

    How many digits are too many is the caller's question. Blanks around text do not count; only zeros are no number.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(min(value, ENORMOUS)) if value > 0 else None
    if not isinstance(value, str):
        return None
    written = value.strip()
    return written if written.isascii() and written.isdigit() and written.strip("0") else None


ENORMOUS = 10**64
"""Longer than any id. Python refuses to write integers of more than 4,300 digits: larger ones are written as this."""


def int64_of(digits: str | None) -> int | None:
    """Return the number that ASCII digits mean where MongoDB can store it, else None."""
    if digits is None or not (digits.isascii() and digits.isdigit()):
        return None
    significant = digits.lstrip("0") or "0"
    if len(significant) > MAX_INT64_DIGITS:
        return None
    number = int(significant)
    return number if number <= MAX_INT64 else None


def is_field_name(name: Any) -> bool:
    """Return whether a name that came from outside may name a field of a stored document."""
    return isinstance(name, str) and FIELD_NAME.fullmatch(name) is not None


def is_whole_text(text: str) -> bool:
    """Return whether a text can be written in UTF-8: half a surrogate pair (an emoji cut in two) cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
