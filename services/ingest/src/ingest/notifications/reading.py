"""Reading values of any type where one type is documented: an id that came as a number, a flag that came as text.

Each function returns None (or False) for what cannot be that thing. None of them raises, for any JSON value.
"""

from typing import Any

from common.bounds import MAX_INT64

LONGEST_ID = 512
"""Captured message ids have 164 characters; what is much longer is not an id."""

LARGEST_ID = 10**40


def identifier(value: Any) -> str | None:
    """Return an id as text. 17-digit ids also come as numbers; fractions, booleans and blanks are no ids."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= LARGEST_ID else None
    if isinstance(value, str) and value.strip() and len(value) <= LONGEST_ID:
        return value
    return None


def text(value: Any) -> str | None:
    """Return text; a number of a usual size becomes the text that shows it."""
    if isinstance(value, str):
        return value
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and abs(value) <= MAX_INT64 else None


def count(value: Any) -> int | None:
    """Return a whole number of at most 64 bits, which may have come as text or with a fraction of nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        digits = value.strip()
        if not (digits.removeprefix("-").isdigit() and digits.isascii() and len(digits) <= len(str(MAX_INT64))):
            return None
        value = int(digits)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > MAX_INT64:
        return None
    return value


def flag(value: Any) -> bool:
    """Tell whether something is set."""
    return value is True or (isinstance(value, int | str) and value in (1, "1", "true", "True"))


def mapping(value: Any) -> dict[str, Any]:
    """Return an object, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and one value as a list of it; None as an empty list."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def id_of(party: Any) -> str | None:
    """Return the id of `{"id": …}`, or of an id that stands there by itself."""
    return identifier(party.get("id")) if isinstance(party, dict) else identifier(party)
