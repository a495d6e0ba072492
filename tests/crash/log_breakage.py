"""Appends what is none of ours to Kafka's logs, forges commits and deletes beginnings, past the proxies."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from evidence import GROUPS, KafkaEvidence
from history import Position
from log_steps import FORGED_WITHIN, ForeignRecords, ForgeCommits, Forgery, Log, Shape, Transaction, Truncate

from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.replies import REPLIES, REQUESTED
from common.kafka.topics import CONVERSATION_PARTITIONS, MAX_RECORD_BYTES

TOPIC_OF: Mapping[Log, str] = {
    "interactions": INTERACTIONS,
    "generated": REPLIES,
    "requested": REQUESTED,
    "outcomes": OUTCOMES,
    "control": CONTROL,
}
LARGE_HEADER = 4 * 1024 * 1024
AHEAD = 100_000
"""Offsets beyond the committed one that a forged note says are done."""
BACK = 20
"""Offsets by which a rewound group reads again in each partition."""
TRY_AGAIN_SECONDS = 0.5

Headers = list[tuple[str, bytes]]


class LogBreakage:
    """Breaks logs and commits. `foreign` is where its records lie, in the order in which they were appended."""

    def __init__(self, bootstrap: str, evidence: KafkaEvidence, counts: Counter[str]) -> None:
        self.foreign: list[Position] = []
        self._bootstrap = bootstrap
        self._evidence = evidence
        self._counts = counts
        self._numbers = count()

    async def append_foreign(self, fault: ForeignRecords) -> None:
        """Append records that are none of ours, where their key belongs or one a partition. Raises KafkaError, OSError.

        What lies elsewhere than its key says is moved there first, and would die under another offset.
        """
        topic = TOPIC_OF[fault.log]
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, max_request_size=MAX_RECORD_BYTES)
        try:
            await producer.start()
            for number in range(fault.count):
                key, value, headers = record_of(fault.shape, next(self._numbers))
                partition = number % CONVERSATION_PARTITIONS if key is None else None
                appended = await producer.send_and_wait(topic, value, key=key, partition=partition, headers=headers)
                self.foreign.append((topic, appended.partition, appended.offset))
                self._counts["foreign records"] += 1
        finally:
            await producer.stop()

    async def transact(self, fault: Transaction) -> None:
        """Append an unreadable record to every partition in a transaction. Raises KafkaError, OSError."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap, transactional_id=f"foreign-{next(self._numbers)}"
        )
        try:
            await producer.start()
            await producer.begin_transaction()
            topic = TOPIC_OF[fault.log]
            appended = [
                await producer.send_and_wait(topic, b"{", partition=partition)
                for partition in range(CONVERSATION_PARTITIONS)
            ]
            if fault.committed:
                await producer.commit_transaction()
                self.foreign += [(topic, one.partition, one.offset) for one in appended]
            else:
                await producer.abort_transaction()
            self._counts["transactions"] += 1
        finally:
            await producer.stop()

    async def truncate(self, fault: Truncate) -> None:
        """Delete what every group has committed. Raises KafkaError, OSError.

        The evidence reads it before: what was deleted happened all the same.
        """
        topic = TOPIC_OF[fault.log]
        committed = (await self._evidence.backlog()).committed
        upto = {
            TopicPartition(topic, partition): min(
                offsets[topic, partition] for offsets in committed.values() if (topic, partition) in offsets
            )
            for partition in range(CONVERSATION_PARTITIONS)
        }
        await self._evidence.remember(topic)
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            await admin.delete_records({tp: RecordsToDelete(offset) for tp, offset in upto.items() if offset > 0})
        finally:
            await admin.close()
        self._counts["logs truncated"] += 1

    async def forge(self, fault: ForgeCommits) -> None:
        """Replace every commit of a group whose members are all gone, once Kafka knows that they are.

        Raises TimeoutError when that is not within `FORGED_WITHIN` seconds.
        """
        async with asyncio.timeout(FORGED_WITHIN):
            while True:
                try:
                    await self._forge(fault)
                    break
                except (KafkaError, OSError):  # a member that was killed is one until its session ends
                    await asyncio.sleep(TRY_AGAIN_SECONDS)
        self._counts["commits forged"] += 1

    async def _forge(self, fault: ForgeCommits) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, group_id=fault.group, enable_auto_commit=False)
        try:
            await admin.start()
            await consumer.start()
            topics = GROUPS[fault.group]
            consumer.assign([TopicPartition(topic, p) for topic in topics for p in range(CONVERSATION_PARTITIONS)])
            committed = await admin.list_consumer_group_offsets(fault.group)
            if replaced := dict(forged(fault.forgery, committed)):
                await consumer.commit(replaced)
        finally:
            await consumer.stop()
            await admin.close()


def record_of(shape: Shape, number: int) -> tuple[bytes | None, bytes | None, Headers]:
    """Return key, value and headers of a foreign record."""
    key, event = (
        f"17841400000000001:{number}".encode(),
        {"specversion": "1.0", "id": f"foreign-{number}", "source": "/elsewhere"},
    )
    unknown = json.dumps({**event, "type": "org.elsewhere.thing.v9", "data": {}}).encode()
    shapes: Mapping[Shape, tuple[bytes | None, bytes | None, Headers]] = {
        "empty": (None, b"", []),
        "tombstone": (key, None, []),
        "no_key": (None, unknown, []),
        "other_key": (b"\xff\xfe not a conversation", unknown, []),
        "no_json": (key, b"\x00\x01\xff{", []),
        "unknown_type": (key, unknown, []),
        "header_bytes": (key, unknown, [("trace", b"\xff\xfe\x80"), ("", b""), ("trace", b"again")]),
        "large_header": (key, unknown, [("picture", b"\xff" * LARGE_HEADER)]),
    }
    return shapes[shape]


def forged(
    forgery: Forgery, committed: Mapping[TopicPartition, OffsetAndMetadata]
) -> Iterator[tuple[TopicPartition, OffsetAndMetadata]]:
    """Yield what to commit in place of what is committed."""
    known = {tp: at for tp, at in sorted(committed.items()) if at.offset >= 0}
    notes = [at.metadata for at in known.values() if at.metadata]
    for number, (tp, at) in enumerate(known.items()):
        match forgery:
            case "ahead":
                yield tp, OffsetAndMetadata(at.offset, note_ahead(number, at.offset))
            case "copied":
                others = [note for note in notes if note != at.metadata] or [note_ahead(number, at.offset)]
                yield tp, OffsetAndMetadata(at.offset, others[number % len(others)])
            case "rewound":
                yield tp, OffsetAndMetadata(max(0, at.offset - BACK), at.metadata)


def note_ahead(number: int, offset: int) -> str:
    """Return a note that says that far more is done than there is, in one of the forms that there were."""
    forms: tuple[Mapping[str, object], ...] = (
        {"done_to": offset + AHEAD, "but": ""},
        {"ahead": AHEAD, "but": ""},
        {"ahead": AHEAD, "but": "", "mark": [max(0, offset - 1), 0, 0]},
        {"ahead": AHEAD, "but": "0-zzzzzz", "mark": [0, 0, 0]},
    )
    return json.dumps(forms[number % len(forms)], separators=(",", ":"))
