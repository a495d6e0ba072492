"""The dead-letter topics: the original record, unchanged, with headers that say where it came from and why it is there.

The value is not wrapped: replaying a dead letter is publishing it again to the topic it came from.
"""

import json
from datetime import datetime
from typing import Any

from common.tombstones import Position

CAUSE = "jawab-cause"
ATTEMPTS = "jawab-attempts"
GROUP = "jawab-group"
TOPIC = "jawab-topic"
PARTITION = "jawab-partition"
OFFSET = "jawab-offset"
FAILED_AT = "jawab-failed-at"
TRACE = "jawab-traceparent"
DROPPED = "jawab-dropped-bytes"
"""Set where the value was too large for the dead-letter topic: it is empty there."""

MAX_CAUSE = 500
MAX_DIGITS = 19
MAX_TRACE = 55
"""A W3C traceparent has 55 characters."""


def headers_of(record: Any, *, group: str, cause: str, attempts: int, at: datetime) -> dict[str, str]:
    """Return a dead letter's headers: the record's own (as text) and where and why it died."""
    own = {name: value.decode(errors="replace") for name, value in record.headers if value is not None}
    return {
        **own,
        CAUSE: cause[:MAX_CAUSE],
        ATTEMPTS: str(attempts),
        GROUP: group,
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        FAILED_AT: at.isoformat(),
        **_trace(record.value),
    }


def origin_of(record: Any) -> Position | None:
    """Return where a dead letter that was published again to its topic lay first; None for any other record."""
    told = {name: value for name, value in record.headers if name in {TOPIC, PARTITION, OFFSET} and value is not None}
    if told.get(TOPIC) != record.topic.encode():
        return None
    partition, offset = told.get(PARTITION, b""), told.get(OFFSET, b"")
    if not (partition.isdigit() and offset.isdigit() and len(partition) < MAX_DIGITS and len(offset) < MAX_DIGITS):
        return None
    return Position(record.topic, int(partition), int(offset))


def _trace(value: bytes | None) -> dict[str, str]:
    """Return the event's trace, so that a dead letter can be followed back to its webhook; nothing if it has none."""
    try:
        trace = json.loads(value or b"").get("traceparent")
    except (ValueError, AttributeError, RecursionError):
        return {}
    return {TRACE: trace[:MAX_TRACE]} if isinstance(trace, str) else {}
