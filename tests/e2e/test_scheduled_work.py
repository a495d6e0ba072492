"""Retention and the renewal of tokens run without Kubernetes: in one of cleanup's processes, also after a SIGKILL."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from common.mongo import JOBS, MESSAGES, database

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]


async def jobs(stack, outside) -> dict[str, Any]:
    told = (await outside.client.get(f"{stack.url('ingest')}/api/queue/stats", timeout=10)).json()
    return told.get("stages", {}).get("cleanup", {}).get("jobs", {})


async def until(condition, within: float = 120.0) -> Any:
    async with asyncio.timeout(within):
        while not (found := await condition()):
            await asyncio.sleep(0.25)
        return found


async def test_the_jobs_run_are_shown_and_survive_the_death_of_their_holder(stack, outside):
    async def all_done() -> dict[str, Any] | None:
        shown = await jobs(stack, outside)
        well = {"retention", "tokens", "erasures"} <= shown.keys()
        return shown if well and all(job["outcome"] == "ok" for job in shown.values()) else None

    shown = await until(all_done)
    assert all(job["last_success"] and job["next_run"] and not job["overdue"] for job in shown.values())

    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.environment()["MONGODB_URL"], tz_aware=True)
    db = database(client)
    replica = stack.start_replica("cleanup")
    try:
        old = datetime.now(UTC) - timedelta(days=400)
        await db[MESSAGES].insert_one({"_id": "old", "conversation_id": "1:old", "at": old})
        lease = await db[JOBS].find_one({"_id": "lease"})
        await db[JOBS].update_one({"_id": "job:retention"}, {"$set": {"next_run": old}})
        stack.kill("cleanup")

        async def deleted_by_another() -> bool:
            now = await db[JOBS].find_one({"_id": "lease"})
            return now["term"] > lease["term"] and await db[MESSAGES].find_one({"_id": "old"}) is None

        await until(deleted_by_another)
    finally:
        stack.start_service("cleanup")
        stack.remove(replica)
        await client.close()
