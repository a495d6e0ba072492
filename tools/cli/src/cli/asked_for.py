"""What was asked for over HTTP, in its own words. The ledger keeps no texts; the topics have them for 14 days."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from aiokafka.errors import KafkaError

from cli import records
from cli.failures import Failure
from cli.moments import to_ms
from cli.records import Range, Record
from cli.timeline import ASKED
from common.events.replies import REPLIES, REQUESTED
from delivery.ledger import Row

AROUND = timedelta(minutes=1)
"""How far the times of a row and of its record may lie apart."""

MOST_RANGES = 10
PATIENCE_SECONDS = 15.0


async def texts(connection: Mapping[str, Any], conversation: str, rows: Iterable[Row]) -> dict[str, str] | None:
    """Return the texts of replies by their ids, as far as Kafka still has them; None where it could not be asked.

    Only what was asked for close to the times of `rows` is read, and of those the latest.
    """
    found: dict[str, str] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            for range_ in ranges(conversation, rows):
                found |= told_in(await records.read(connection, (REPLIES, REQUESTED), range_))
    except (KafkaError, OSError, TimeoutError, Failure):
        return found or None
    return found


def ranges(conversation: str, rows: Iterable[Row]) -> list[Range]:
    """Return what to read of a conversation for these rows: ranges that do not overlap, the latest first."""
    made: list[Range] = []
    for at in sorted((row.at for row in rows if row.origin in ASKED), reverse=True):
        since, until = to_ms(at - AROUND), to_ms(at + AROUND)
        if made and until >= made[-1].since_ms:
            made[-1] = Range(since, made[-1].until_ms, conversation)
        else:
            made.append(Range(since, until, conversation))
    return made[:MOST_RANGES]


def told_in(found: Sequence[Record]) -> dict[str, str]:
    """Return what the replies in these records say, by their ids; what says nothing in words is named."""
    told: dict[str, str] = {}
    for record in found:
        try:
            reply = json.loads(record.value)["data"]
            told[reply["reply_id"]] = reply["action"].get("text") or f"[{reply['action']['kind'].replace('_', ' ')}]"
        except (ValueError, LookupError, TypeError, AttributeError):
            continue  # not one of ours
    return told
