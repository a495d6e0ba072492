"""The whole cleanup service on real Kafka and the MongoDB wire: a request comes in by its topic, its page says so."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from litestar.testing import AsyncTestClient
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from cleanup.app import create_app
from cleanup.erasure import Eraser
from cleanup.log_reader import KafkaLogReader
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords
from cleanup.second_passes import SecondPasses
from cleanup.settings import Settings
from common.clock import ManualClock
from common.events.privacy import PRIVACY, ErasureRequested, PrivacyRequest
from common.kafka.broker import kafka_broker, publish
from common.mongo import CONTACTS, MESSAGES, TOMBSTONES, Database, database
from common.tombstones import Position
from devkit.kafka import EmbeddedKafka

NOW = datetime.now(UTC)


@pytest.mark.kafka
@pytest.mark.mongo
async def test_a_request_on_the_topic_becomes_an_erasure_and_a_page(kafka: EmbeddedKafka, mongo_url: str):
    settings = Settings(
        environment="development", bootstrap_servers=kafka.bootstrap, mongodb_url=SecretStr(mongo_url), port=0
    )
    stored: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongo_url, tz_aware=True)
    await database(stored)[CONTACTS].insert_one({"_id": "178:7001", "updated_at": NOW})
    data = PrivacyRequest(code="service-code", user_id="7001", account_id="178")
    event = ErasureRequested(
        id="service-code", source="/test", subject="service-code", time=NOW, partitionkey="service-code", data=data
    )
    broker = kafka_broker(settings, client_id="test")
    await broker.start()
    try:
        async with AsyncTestClient(create_app(settings)) as http:
            before = await http.get("/privacy/service-code", headers={"accept": "application/json"})
            await publish(broker, [event], timeout=10)
            async with asyncio.timeout(30):
                while True:
                    after = await http.get("/privacy/service-code", headers={"accept": "application/json"})
                    if after.json()["status"] == "erased":
                        break
                    await asyncio.sleep(0.05)
            ready = await http.get("/readyz")
            figures = (await http.get("/metrics")).text
        left = await database(stored)[CONTACTS].count_documents({})
        passes = await second_passes(database(stored), settings)
        found = await database(stored)[TOMBSTONES].find_one({"_id": "service-code"})
    finally:
        await broker.stop()
        await stored.close()
    assert passes == [1, 0]
    assert found is not None
    assert found["second_pass_at"] is not None
    assert sum(len(each["ends"]) for each in found["cut"]) == 60
    assert before.status_code == 404
    assert left == 0
    assert ready.status_code == 200
    assert 'cleanup_privacy_requests_total{result="erased"} 1.0' in figures


async def second_passes(db: Database, settings: Settings) -> list[int]:
    """Make the second passes of two hours later, twice; the request is read again from its topic."""
    metrics, reader = CleanupMetrics(CollectorRegistry()), KafkaLogReader(settings)
    clock = ManualClock(datetime.now(UTC) + timedelta(hours=2))
    eraser = Eraser(db, ErasureRecords(db), environment_account=None, metrics=metrics, clock=clock)
    passes = SecondPasses(db, eraser, reader, metrics=metrics, clock=clock)
    try:
        request = Position(PRIVACY, 0, 0)
        assert await reader.value_at(request) is not None
        assert await reader.value_at(Position(PRIVACY, 0, 10**6)) is None
        return [await passes.run(), await passes.run()]
    finally:
        await reader.close()


@pytest.mark.mongo
async def test_the_retention_job_deletes_and_ends_with_nought(mongo_url: str):
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(mongo_url, tz_aware=True)
    messages = database(client)[MESSAGES]
    await messages.insert_many(
        [
            {"_id": "old", "conversation_id": "178:1", "at": NOW - timedelta(days=41)},
            {"_id": "new", "conversation_id": "178:1", "at": NOW - timedelta(days=39)},
        ]
    )
    environment = {
        **os.environ,
        "JAWAB_ENV": "development",
        "MONGODB_URL": mongo_url,
        "RETENTION_MESSAGES_DAYS": "40",
    }
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "cleanup", "retention"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    left = [document["_id"] async for document in messages.find({})]
    await client.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert '"event": "retention.done"' in done.stdout
    assert left == ["new"]
