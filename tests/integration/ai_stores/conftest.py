"""The ai service on the MongoDB wire; the modules beside this one are found by their own names."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from common.mongo import Database, database, ensure_indexes

sys.path.insert(0, str(Path(__file__).parent))

from ai_scene import CommandCount, Scene


@pytest.fixture
def count() -> CommandCount:
    return CommandCount()


@pytest.fixture
async def db(mongo_url: str, count: CommandCount) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url, tz_aware=True, event_listeners=[count])
    await ensure_indexes(database(client), owner="ai")
    yield database(client)
    await client.close()


@pytest.fixture
def scene(db: Database, count: CommandCount) -> Scene:
    return Scene(db, count)
