"""What is stored of one customer: read for an export, counted before an erasure. Names the collections once."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from cli import records
from cli.records import Range
from common.kafka.topics import SOURCES
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, Database

BY_CONVERSATION = (MESSAGES, DECISIONS, DELIVERIES)
BY_ID = (CONVERSATIONS, CONTACTS)
TOPICS = tuple(
    name for topic in SOURCES if topic.keyed_by == "conversation" for name in (topic.name, topic.dead_letters)
)


def _which(conversations: Sequence[str]) -> dict[str, dict[str, Any]]:
    among = {"$in": list(conversations)}
    return {name: {"conversation_id": among} for name in BY_CONVERSATION} | {name: {"_id": among} for name in BY_ID}


async def count(db: Database, conversations: Sequence[str]) -> dict[str, int]:
    """Return how many documents each collection has of these conversations. Raises PyMongoError."""
    return {name: await db[name].count_documents(which) for name, which in _which(conversations).items()}


async def export(db: Database, conversations: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return every document of these conversations, by collection. Raises PyMongoError."""
    found = _which(conversations)
    return {name: [_opened(each) async for each in db[name].find(which)] for name, which in found.items()}


def conversations_in(stored: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the conversations that exported documents belong to."""
    named = {str(each["conversation_id"]) for name in BY_CONVERSATION for each in stored.get(name, ())}
    return sorted(named | {str(each["_id"]) for name in BY_ID for each in stored.get(name, ())})


async def export_log(connection: Mapping[str, Any], conversations: Sequence[str]) -> list[dict[str, Any]]:
    """Return every record that Kafka still has of these conversations. Raises Failure, KafkaError."""
    found = []
    for conversation in conversations:
        for record in await records.read(connection, TOPICS, Range(since_ms=0, key=conversation)):
            place = f"{record.topic}:{record.partition}:{record.offset}"
            found.append({"place": place, "written_ms": record.timestamp_ms, "value": _value(record.value)})
    return found


def _opened(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the events inside it readable: a decision holds its replies as JSON in text."""
    replies = document.get("replies")
    if not isinstance(replies, list):
        return document
    return {**document, "replies": [_value(one.encode()) if isinstance(one, str) else one for one in replies]}


def _value(value: bytes) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return {"base64": base64.b64encode(value).decode()}
