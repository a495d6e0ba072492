"""The whole cleanup service on real Kafka and the MongoDB wire: a request comes in by its topic, its page says so."""

import asyncio
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from litestar.testing import AsyncTestClient
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from cleanup.app import create_app
from cleanup.settings import Settings
from common.events.privacy import ErasureRequested, PrivacyRequest
from common.kafka.broker import kafka_broker, publish
from common.mongo import CONTACTS, MESSAGES, database
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
    finally:
        await broker.stop()
        await stored.close()
    assert before.status_code == 404
    assert left == 0
    assert ready.status_code == 200
    assert 'cleanup_privacy_requests_total{result="erased"} 1.0' in figures


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
