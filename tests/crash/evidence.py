"""Collects what is known after a run: the sandbox world's journal, Kafka's records and commits, stored decisions.

Everything is read past the proxies and by means that an operator has too. Reading Kafka is also how it is known when a
run has come to rest: by the commits of the groups, and not by what the services say of themselves.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from customers import Sent
from history import Became, Cursor, DeadLetter, Generated, History, Position, Taken
from oracle import TAG
from pymongo import AsyncMongoClient

from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.replies import REPLIES, REQUESTED
from common.kafka.dead_letters import CAUSE, OFFSET, PARTITION, TOPIC
from common.kafka.topics import TOPICS
from common.mongo import DECISIONS, DELIVERIES, MESSAGES
from devkit.sandbox.client import SandboxClient

GROUPS: Mapping[str, tuple[str, ...]] = {
    "ai": (INTERACTIONS, OUTCOMES, CONTROL),
    "delivery": (REPLIES, REQUESTED, INTERACTIONS, CONTROL),
}
"""Which group reads which topics."""
EFFECTS = {
    ("manychat", "sendContent"): "message",
    ("graph", "message"): "message",
    ("graph", "private_reply"): "private_reply",
    ("graph", "comment_reply"): "comment_reply",
    ("operator", "notification"): "notification",
}
SAYINGS = ("message.received", "postback.received", "comment.received", "livecomment.received")
COURTESIES = frozenset({"typing", "mark_seen"})
"""Kinds of replies that say nothing: one that was withheld is no end of anything."""
HOW_FOUND = {"reply.found": "", "reply.proven_absent": "sent_again"}
READ_MS = 1000
EMPTY_READS = 3


@dataclass(frozen=True)
class Backlog:
    """What every group has committed, and where its partitions end."""

    committed: Mapping[str, Mapping[Cursor, int]]
    ends: Mapping[Cursor, int]

    @property
    def waiting(self) -> int:
        """How many records are not committed."""
        return sum(
            max(0, self.ends[cursor] - upto)
            for committed in self.committed.values()
            for cursor, upto in committed.items()
        )


class KafkaEvidence:
    """Reads commits and records, past the proxy."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._remembered: dict[str, dict[tuple[int, int], Any]] = {}

    async def remember(self, topic: str) -> None:
        """Read a topic whose beginning is about to be deleted, for `records`. Raises KafkaError or OSError."""
        await self._read([topic])

    async def backlog(self) -> Backlog:
        """Return what is committed and what there is. Raises KafkaError or OSError while Kafka is away."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            await consumer.start()
            commits = {group: await admin.list_consumer_group_offsets(group) for group in GROUPS}
            listed = [TopicPartition(t.name, p) for t in TOPICS for p in range(t.partitions)]
            ends: Mapping[TopicPartition, int] = await consumer.end_offsets(listed)
        finally:
            await consumer.stop()
            await admin.close()
        committed = {
            group: {
                (tp.topic, tp.partition): max(0, commits[group][tp].offset) if tp in commits[group] else 0
                for tp in listed
                if tp.topic in topics
            }
            for group, topics in GROUPS.items()
        }
        return Backlog(committed, {(tp.topic, tp.partition): end for tp, end in ends.items()})

    async def records(self, topics: Sequence[str]) -> dict[str, list[Any]]:
        """Return every record of some topics, each partition's in its order, also those that were deleted since."""
        await self._read(topics)
        return {topic: [record for _, record in sorted(self._remembered[topic].items())] for topic in topics}

    async def _read(self, topics: Sequence[str]) -> None:
        """Remember every record of some topics. Aborted transactions are none; their offsets are passed over."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, auto_offset_reset="earliest", isolation_level="read_committed"
        )
        await consumer.start()
        try:
            left = {TopicPartition(t.name, p) for t in TOPICS if t.name in topics for p in range(t.partitions)}
            consumer.assign(left)
            await consumer.seek_to_beginning()
            ends = await consumer.end_offsets(left)
            empty = 0
            while left and empty < EMPTY_READS:
                batch = await consumer.getmany(timeout_ms=READ_MS, max_records=5000)
                empty = 0 if batch else empty + 1
                for tp, records in batch.items():
                    known = self._remembered.setdefault(tp.topic, {})
                    known |= {(record.partition, record.offset): record for record in records}
                left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
        finally:
            await consumer.stop()
        for topic in topics:
            self._remembered.setdefault(topic, {})
        if left:
            raise KafkaError(f"{len(left)} partitions could not be read to their end")


async def gather(
    sent: Sent,
    kafka: KafkaEvidence,
    sandbox: SandboxClient,
    mongo_url: str,
    home: Path,
    *,
    grace: float,
    foreign: Sequence[Position] = (),
    skew: float = 0.0,
) -> History:
    """Return what is known after a run."""
    backlog = await kafka.backlog()
    sources = (INTERACTIONS, REPLIES, REQUESTED, OUTCOMES, CONTROL)
    topics = (*sources, *(f"{topic}.dlq" for topic in sources))
    records = await kafka.records(topics)
    journal = await read_journal(sandbox)
    events = {tag: (id_, position) for tag, id_, position in sayings(records[INTERACTIONS])}
    said = [replace(one, event_id=events[one.tag][0]) if one.tag in events else one for one in sent.said.values()]
    return History(
        said=tuple(said),
        people=tuple(sent.people.values()),
        taken=tuple(taken(journal)),
        generated=tuple(generated([*records[REPLIES], *records[REQUESTED]], await covers(mongo_url))),
        became=tuple(became(records[OUTCOMES])),
        dead=tuple(dead(topic, record) for topic in topics if topic.endswith(".dlq") for record in records[topic]),
        appended=dict(events.values()),
        committed=backlog.committed,
        ends=backlog.ends,
        reads=GROUPS,
        found_by=dict(settled_by(home)),
        model_calls=sum(entry["api"] == "openai" and entry["effect"] for entry in journal),
        assignments=assignments(home),
        announced=await announced(mongo_url),
        taken_in=await taken_in(mongo_url),
        erased=tuple(sent.erased),
        stored=await stored(mongo_url),
        foreign=tuple(foreign),
        skew=skew,
        grace=grace,
    )


async def read_journal(sandbox: SandboxClient) -> list[dict[str, Any]]:
    """Return everything the sandbox world recorded; notifications with their bodies."""
    entries: list[dict[str, Any]] = []
    seen = 0
    while True:
        told = await sandbox.journal(seen, bodies=True)
        entries += told["entries"]
        seen = told["next"]
        if seen >= told["last"]:
            return entries


def taken(entries: Iterable[Mapping[str, Any]]) -> Iterator[Taken]:
    """Yield the calls that had an effect for a customer or a person of the shop."""
    for entry in entries:
        kind = EFFECTS.get((entry["api"], entry["kind"]))
        if kind is None or not entry["effect"]:
            continue
        request = entry.get("request")
        reply = str(request.get("reply_id", "")) if isinstance(request, dict) and kind == "notification" else ""
        comment = str(entry["detail"].get("comment", ""))
        number, time, contact, text = entry["number"], entry["time"], entry["contact"], entry["text"]
        yield Taken(number, time, kind, contact, text, comment, reply)


def sayings(records: Iterable[Any]) -> Iterator[tuple[str, str, Position]]:
    """Yield tag, event id and place of the first append of everything customers said."""
    seen: set[str] = set()
    for record in records:
        event = read(record.value)
        if not any(name in event.get("type", "") for name in SAYINGS) or event["id"] in seen or _is_ours(event["data"]):
            continue
        tag = TAG.search(json.dumps(event["data"].get("original", {})))
        if tag is not None:
            seen.add(event["id"])
            yield tag.group(), event["id"], (record.topic, record.partition, record.offset)


def _is_ours(data: Mapping[str, Any]) -> bool:
    """Tell whether the account itself wrote it: its public answers come back as comments."""
    return bool(data.get("from_account")) or data.get("contact_id") in {None, data.get("account_id")}


def generated(records: Iterable[Any], covers: Mapping[str, frozenset[str]]) -> Iterator[Generated]:
    """Yield each reply that was decided, once, but for courtesies; `covers` are the interactions by decision."""
    seen: set[str] = set()
    for record in records:
        data = read(record.value).get("data", {})
        reply_id, action = data.get("reply_id", ""), data.get("action", {})
        if not reply_id or reply_id in seen or action.get("kind") in COURTESIES:
            continue
        seen.add(reply_id)
        answers = covers.get(data.get("decision_id") or "", frozenset()) | {data.get("in_reply_to") or ""} - {""}
        yield Generated(
            reply_id,
            data.get("contact_id") or "",
            data.get("origin", ""),
            action.get("kind", ""),
            action.get("text", ""),
            answers,
            (record.topic, record.partition, record.offset),
            data.get("decision_id") or "",
            action.get("comment_id", ""),
        )


def became(records: Iterable[Any]) -> Iterator[Became]:
    """Yield what became of replies."""
    for record in records:
        event = read(record.value)
        found = re.search(r"\.reply\.(\w+)\.v1$", event.get("type", ""))
        if found is None:
            continue
        state = "unknown" if found.group(1) == "outcomeunknown" else found.group(1)
        data = event["data"]
        yield Became(data["reply_id"], state, data.get("reason", ""), record.timestamp / 1000)


def dead(topic: str, record: Any) -> DeadLetter:
    """Return one dead letter."""
    event = read(record.value)
    headers = {name: (value or b"").decode(errors="replace") for name, value in record.headers}
    contact = event.get("data", {}).get("contact_id") or ""
    origin = (headers.get(TOPIC, ""), int(headers.get(PARTITION, "0")), int(headers.get(OFFSET, "0")))
    return DeadLetter(topic, event.get("id", ""), headers.get(CAUSE, ""), contact, origin)


def read(value: bytes | None) -> dict[str, Any]:
    """Read an event, leniently: what cannot be read is empty."""
    try:
        event = json.loads(value or b"")
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def settled_by(home: Path) -> Iterator[tuple[str, str]]:
    """Yield how delivery's logs say that replies of unknown outcome were settled."""
    for log in sorted(home.glob("delivery*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if '"reply.' not in line:
                continue
            event = read(line.encode())
            how = HOW_FOUND.get(event.get("event", ""))
            if how is not None and event.get("reply"):
                yield event["reply"], how or str(event.get("by", "found"))


def assignments(home: Path) -> int:
    """Return how often the logs say that a consumer was given partitions."""
    return sum(log.read_text(errors="replace").count('"partitions.assigned"') for log in home.glob("*.log"))


async def covers(mongo_url: str) -> dict[str, frozenset[str]]:
    """Return which interactions each stored decision answers."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url, serverSelectionTimeoutMS=10_000) as client:
        decisions = client.get_default_database()[DECISIONS].find({}, {"covers": 1})
        return {one["_id"]: frozenset(one.get("covers", ())) async for one in decisions}


async def taken_in(mongo_url: str) -> dict[str, float]:
    """Return when each message was first stored, in seconds since 1970."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True, serverSelectionTimeoutMS=10_000) as client:
        messages = client.get_default_database()[MESSAGES].find({}, {"stored_at": 1})
        return {one["_id"]: one["stored_at"].timestamp() async for one in messages if "stored_at" in one}


async def announced(mongo_url: str) -> dict[str, tuple[float, ...]]:
    """Return when the ledger says that each reply's parts were last announced, in seconds since 1970."""
    async with AsyncMongoClient[dict[str, Any]](mongo_url, tz_aware=True, serverSelectionTimeoutMS=10_000) as client:
        rows = client.get_default_database()[DELIVERIES].find({}, {"parts.attempted_at": 1})
        return {
            row["_id"]: tuple(at.timestamp() for part in row.get("parts", ()) if (at := part.get("attempted_at")))
            async for row in rows
        }


async def stored(mongo_url: str) -> dict[str, tuple[str, ...]]:
    """Return in which collections a text with a tag stands, by tag: every field of every document is looked at."""
    found: dict[str, set[str]] = defaultdict(set)
    async with AsyncMongoClient[dict[str, Any]](mongo_url, serverSelectionTimeoutMS=10_000) as client:
        database = client.get_default_database()
        for name in await database.list_collection_names():
            async for document in database[name].find({}):
                for tag in TAG.findall(json.dumps(document, default=str)):
                    found[tag].add(name)
    return {tag: tuple(sorted(names)) for tag, names in found.items()}
