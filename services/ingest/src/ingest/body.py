"""From raw bytes to a JSON object that is safe to carry through the whole system.

The bounds are ours and the same on every Python: nesting deeper than `MAX_NESTING` could not be read back by the
consumers' parser, and half a surrogate pair (an emoji cut in two by the sender) cannot be written as UTF-8.
"""

import json
from typing import Any, NoReturn

from pydantic_core import from_json

MAX_BODY_BYTES = 8 * 1024 * 1024
MAX_NESTING = 150
LONGEST_INTEGER = 300


class BadBody(Exception):
    """The bytes are no JSON object. `reason` is a metric label, `detail` a line for the sender."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def json_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises BadBody when it is empty, not JSON, no object, or nested too deeply."""
    if not raw.strip():
        raise BadBody("empty", "the body is empty: a JSON object is expected")
    try:
        value = from_json(raw, allow_inf_nan=False)
    except ValueError:
        value = _patiently(raw)
    if not isinstance(value, dict):
        raise BadBody("not_an_object", f"the body is JSON but not an object: it is {_kind(value)}")
    if raw.count(b"{") + raw.count(b"[") > MAX_NESTING and deeper_than(value, MAX_NESTING):
        raise _too_deep()
    return value


def _patiently(raw: bytes) -> Any:
    """Read what the fast parser refuses although it is JSON: lone surrogates, enormous integers, a byte order mark."""
    try:
        value = json.loads(raw.decode("utf-8-sig"), parse_constant=_refuse, parse_int=_integer)
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise BadBody("not_json", "the body is not JSON in UTF-8") from None
    if deeper_than(value, MAX_NESTING):
        raise _too_deep()
    return mended(value)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


def _too_deep() -> BadBody:
    return BadBody("too_deep", f"the body is nested more than {MAX_NESTING} levels deep")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    names: dict[type, str] = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names[type(value)]


def deeper_than(value: Any, limit: int) -> bool:
    """Tell whether lists and objects are nested more than `limit` levels deep, without recursion."""
    level = _containers([value])
    for _ in range(limit):
        if not level:
            return False
        level = [inner for outer in level for inner in _containers(outer)]
    return bool(level)


def _containers(whole: Any) -> list[Any]:
    parts = whole.values() if isinstance(whole, dict) else whole
    return [part for part in parts if isinstance(part, dict | list)]


def mended(value: Any) -> Any:
    """Return `value` with each lone surrogate replaced by U+FFFD. The nesting must have been checked."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [mended(part) for part in value]
    if isinstance(value, dict):
        return {mended(name): mended(part) for name, part in value.items()}
    return value
