"""The dead-letter topics: the original record, unchanged, with headers that say where it came from and why it is there.

The value is not wrapped: replaying a dead letter is publishing it again to the topic it came from.
"""

from datetime import datetime
from typing import Any

CAUSE = "jawab-cause"
ATTEMPTS = "jawab-attempts"
GROUP = "jawab-group"
TOPIC = "jawab-topic"
PARTITION = "jawab-partition"
OFFSET = "jawab-offset"
FAILED_AT = "jawab-failed-at"

MAX_CAUSE = 500


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
    }
