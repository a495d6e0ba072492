"""The dead-letter topics: the original record, unchanged, with headers that say where it came from and why it is there.

The value is not wrapped: replaying a dead letter is publishing it again to the topic it came from. What a record brings
along is bounded only by Kafka, and the headers come on top, so a letter has smaller forms for a topic that refuses it.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.kafka.raw_records import Headers
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
DROPPED_HEADERS = "jawab-dropped-headers"
"""How many of the record's own headers are left out."""

OURS = frozenset({CAUSE, ATTEMPTS, GROUP, TOPIC, PARTITION, OFFSET, FAILED_AT, TRACE, DROPPED, DROPPED_HEADERS})

MAX_CAUSE = 500
MAX_DIGITS = 19
MAX_TRACE = 55
"""A W3C traceparent has 55 characters."""

MAX_HEADERS = 64
MAX_HEADERS_BYTES = 8 * 1024
MAX_KEY_BYTES = 1024
"""Of the record's own: what is beyond is left out."""


@dataclass(frozen=True)
class Letter:
    """A dead letter as it is written."""

    key: bytes | None
    value: bytes | None
    headers: Headers


def letters_of(record: Any, *, group: str, cause: str, attempts: int, at: datetime) -> Sequence[Letter]:
    """Return a dead letter in its forms, the whole one first, then smaller ones.

    The second has neither value nor headers of its own, the last nothing but where the record lies and why it died.
    """
    own = _bounded(record.headers)
    left_out = len(record.headers) - len(own)
    place = {
        CAUSE: cause[:MAX_CAUSE],
        ATTEMPTS: str(attempts),
        GROUP: group,
        TOPIC: record.topic,
        PARTITION: str(record.partition),
        OFFSET: str(record.offset),
        FAILED_AT: at.isoformat(),
    }
    story = place | _trace(record.value)
    dropped = {DROPPED: str(len(record.value or b""))}
    # Kafka's clients refuse a record without key and value.
    value = record.value if record.key is not None else record.value or b""
    key = record.key if record.key is None or len(record.key) <= MAX_KEY_BYTES else None
    none_of_its_own = {DROPPED_HEADERS: str(len(record.headers))} if record.headers else {}
    return (
        Letter(record.key, value, own + _encoded(story | ({DROPPED_HEADERS: str(left_out)} if left_out else {}))),
        Letter(key, b"", _encoded(story | dropped | none_of_its_own)),
        Letter(None, b"", _encoded(place | dropped)),
    )


def _bounded(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """Return the first of a record's own headers, as many as are bounded."""
    bounded: list[tuple[str, bytes | None]] = []
    room = MAX_HEADERS_BYTES
    for name, value in headers:
        if len(bounded) == MAX_HEADERS:
            break
        size = len(name.encode()) + len(value or b"")
        if size <= room and name not in OURS:
            bounded.append((name, value))
            room -= size
    return bounded


def _encoded(headers: dict[str, str]) -> list[tuple[str, bytes | None]]:
    return [(name, value.encode(errors="replace")) for name, value in headers.items()]


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
