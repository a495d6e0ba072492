"""Events that would not fit into one Kafka record: what can be spared is the copy of the original, never the item.

The largest webhook is smaller than the largest record, but an event repeats in its fields what the original says, and
numbers may be written longer than they came. Only bodies of a megabyte and more can come near the bound.
"""

import base64
import zlib
from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from common.events.ids import fingerprint
from common.events.interactions import InteractionEvent
from common.kafka.topics import MAX_RECORD_BYTES

ROOM_BESIDE_VALUE = 16 * 1024
"""For the key, the headers and what Kafka adds to a batch."""

MAX_EVENT_BYTES = MAX_RECORD_BYTES - ROOM_BESIDE_VALUE
SUSPECT_BODY_BYTES = 1024 * 1024


def fitted(
    events: Sequence[InteractionEvent], body_bytes: int, *, limit: int = MAX_EVENT_BYTES
) -> tuple[list[InteractionEvent], int]:
    """Return `events` with every one inside `limit` bytes, and how many had their original reduced for it."""
    if body_bytes < min(SUSPECT_BODY_BYTES, limit // 8):
        return list(events), 0
    fitting = [reduced(event, limit) for event in events]
    return fitting, sum(new is not old for new, old in zip(fitting, events, strict=True))


def reduced(event: InteractionEvent, limit: int) -> InteractionEvent:
    """Return the event itself, or with its original compressed, or with no more than a note of what it was."""
    if len(event.to_json()) <= limit:
        return event
    original = to_json(event.data.original)
    about = {"bytes": len(original), "fingerprint": fingerprint(event.data.original)}
    packed = base64.b64encode(zlib.compress(original)).decode()
    smaller = _with_original(event, {"reduced": "zlib+base64", "data": packed, **about})
    if len(smaller.to_json()) <= limit:
        return smaller
    return _with_original(event, {"reduced": "left out", **about})


def _with_original(event: InteractionEvent, original: dict[str, Any]) -> InteractionEvent:
    data = event.data.model_copy(update={"original": original})
    return event.model_copy(update={"data": data})
