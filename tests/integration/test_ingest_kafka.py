"""Ingest on real Kafka: a 200 means that the events are in the log, and nothing else ever means it."""

import asyncio
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata
from litestar.testing import AsyncTestClient

from common.events import ANY_EVENT, AnyEvent
from common.events.interactions import INTERACTIONS
from common.events.privacy import PRIVACY
from common.events.replies import REPLIES
from common.kafka import topics
from devkit.kafka import EmbeddedKafka
from ingest.app import create_app
from ingest.settings import Settings

pytestmark = pytest.mark.kafka

SECRET = "integration-app-secret"
MIB = 1024 * 1024


@asynccontextmanager
async def ingest(kafka: EmbeddedKafka, **changed: Any) -> AsyncIterator[AsyncTestClient[Any]]:
    """Run ingest against the broker and wait until it is ready."""
    values: dict[str, Any] = {
        "environment": "development",
        "bootstrap_servers": kafka.bootstrap,
        "meta_app_secrets": SECRET,
        "verify_token": "token",
    }
    async with AsyncTestClient(create_app(Settings(**(values | changed)))) as client:
        await until_ready(client)
        yield client


async def until_ready(client: AsyncTestClient[Any]) -> None:
    for _ in range(150):
        if (await client.get("/readyz")).status_code == 200:
            return
        await asyncio.sleep(0.2)
    pytest.fail("ingest did not become ready within 30 s")


def webhook(account: str, *mids: str, text: str = "شلونكم") -> bytes:
    messaging = [
        {"sender": {"id": "7001"}, "recipient": {"id": account}, "message": {"mid": mid, "text": text}} for mid in mids
    ]
    return json.dumps({"object": "instagram", "entry": [{"id": account, "messaging": messaging}]}).encode()


async def send(client: AsyncTestClient[Any], raw: bytes) -> Any:
    signature = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    return await client.post("/webhooks/instagram", content=raw, headers={"X-Hub-Signature-256": signature})


async def read(kafka: EmbeddedKafka, topic: str, account: str) -> list[AnyEvent]:
    """Return the events of one account that are in a topic now, partition by partition."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", max_partition_fetch_bytes=10 * MIB
    )
    await consumer.start()
    try:
        await consumer.topics()
        declared = next(t for t in topics.TOPICS if t.name == topic)
        partitions = [TopicPartition(topic, number) for number in range(declared.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        found: list[AnyEvent] = []
        for partition in partitions:
            await consumer.seek_to_beginning(partition)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    event = ANY_EVENT.validate_json(record.value)
                    assert record.key == event.partitionkey.encode()
                    if event.subject.startswith(f"{account}:"):
                        found.append(event)
        return found
    finally:
        await consumer.stop()


async def test_an_acknowledged_batch_is_in_the_log_in_its_order(kafka):
    mids = [f"m-{n}" for n in range(1000)]
    async with ingest(kafka) as client:
        answer = await send(client, webhook("batch", *mids))
    assert (answer.status_code, answer.json()["events"]) == (200, 1000)
    assert [event.data.mid for event in await read(kafka, INTERACTIONS, "batch")] == mids


async def test_the_largest_webhook_fits_through_kafka(kafka):
    frame = len(webhook("large", "m-1", text=""))
    raw = webhook("large", "m-1", text="x" * (8 * MIB - frame))
    assert len(raw) == 8 * MIB
    async with ingest(kafka) as client:
        assert (await send(client, raw)).status_code == 200
        assert (await send(client, raw + b" ")).status_code == 413
    [event] = await read(kafka, INTERACTIONS, "large")
    assert len(event.data.text) == 8 * MIB - frame


async def test_while_the_broker_is_frozen_the_answer_is_503_and_afterwards_all_is_well(kafka):
    acknowledged: list[str] = []
    async with ingest(kafka, ack_deadline=1.0) as client:
        assert (await send(client, webhook("frozen", "before"))).status_code == 200
        acknowledged.append("before")
        kafka.pause()
        try:
            answers, seconds = [], []
            for n in range(5):
                began = time.monotonic()
                answers.append(await send(client, webhook("frozen", f"during-{n}")))
                seconds.append(time.monotonic() - began)
            stats = await client.get("/api/queue/stats")
            ready = await client.get("/readyz")
        finally:
            kafka.resume()
        assert [answer.status_code for answer in answers] == [503] * 5
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
        assert max(seconds) < 3
        assert (stats.status_code, "Kafka" in stats.json()["detail"]) == (503, True)
        assert ready.status_code == 503
        await until_ready(client)
        for n in range(5):
            for _ in range(60):
                answer = await send(client, webhook("frozen", f"during-{n}"))
                if answer.status_code == 200:
                    acknowledged.append(f"during-{n}")
                    break
                await asyncio.sleep(0.5)
    assert acknowledged == ["before", *(f"during-{n}" for n in range(5))]
    found = await read(kafka, INTERACTIONS, "frozen")
    assert set(acknowledged) <= {event.data.mid for event in found}
    ids = {(event.id, event.data.mid) for event in found}
    assert len(ids) == len({event.data.mid for event in found}), "sent again, a message has the same id"


async def test_without_a_broker_it_runs_and_says_so():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        settings = Settings(
            environment="development",
            bootstrap_servers=f"127.0.0.1:{held.getsockname()[1]}",
            meta_app_secrets=SECRET,
            verify_token="token",
        )
        async with AsyncTestClient(create_app(settings)) as client:
            assert (await send(client, webhook("nobody", "m"))).status_code == 503
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert "Kafka" in ready.json()["checks"]["kafka"]["reason"]
            assert (await client.get("/livez")).status_code == 200
            stats = await client.get("/api/queue/stats")
            assert (stats.status_code, "Kafka" in stats.json()["detail"]) == (503, True)


async def stats_of(client: AsyncTestClient[Any]) -> dict[str, dict[str, float]]:
    answer = await client.get("/api/queue/stats")
    assert answer.status_code == 200, answer.text
    stages: dict[str, dict[str, float]] = answer.json()["stages"]
    return stages


async def test_the_stages_are_what_the_groups_have_committed(kafka):
    hour_ago = int(time.time() * 1000) - 3_600_000
    async with ingest(kafka) as client:
        first = await stats_of(client)
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        try:
            for topic in (REPLIES, PRIVACY, f"{REPLIES}.dlq"):
                for _ in range(3):
                    await producer.send_and_wait(topic, b"{}", key=b"k", partition=0, timestamp_ms=hour_ago)
        finally:
            await producer.stop()
        await send(client, webhook("stages", "m-1", "m-2"))
        seen = await stats_of(client)
        assert seen["process-webhook"]["completed"] == 1
        assert seen["ai-response"]["waiting"] == first["ai-response"]["waiting"] + 2
        assert seen["message-delivery"]["waiting"] == first["message-delivery"]["waiting"] + 3
        assert seen["message-delivery"]["failed"] == first["message-delivery"]["failed"] + 3
        assert seen["message-delivery"]["oldest_age_seconds"] == pytest.approx(3600, abs=60)
        assert seen["cleanup"]["oldest_age_seconds"] == pytest.approx(3600, abs=60)
        assert (await client.get("/api/queue/health")).status_code == 503

        note = json.dumps({"in_progress": 2, "oldest_ms": int(time.time() * 1000) - 7000})
        end = int(first["message-delivery"]["waiting"]) + 3
        await commit(kafka, "delivery", TopicPartition(REPLIES, 0), OffsetAndMetadata(end - 2, note))
        await send(client, webhook("stages", "m-3"))
        seen = await stats_of(client)
        assert seen["message-delivery"]["in_progress"] == 2
        assert seen["message-delivery"]["oldest_age_seconds"] == pytest.approx(7, abs=30)


async def commit(kafka: EmbeddedKafka, group: str, partition: TopicPartition, at: OffsetAndMetadata) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    consumer.assign([partition])
    await consumer.start()
    try:
        await consumer.commit({partition: at})
    finally:
        await consumer.stop()
