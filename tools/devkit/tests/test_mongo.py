"""The embedded MongoDB server keeps what it has acknowledged and can do what Jawab relies on."""

import asyncio
import itertools
import socket
import sys
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.errors import PyMongoError

from devkit.cache import cache_dir
from devkit.mongo import EmbeddedMongo
from devkit.mongo_checks import ABILITIES, Collection, expect, missing_abilities
from devkit.mongo_servers import MongoUnavailable, has_fast
from devkit.process import ProcessDied

SERVERS = ["fast", "wheel"] if has_fast(cache_dir()) else ["wheel"]
"""The fast server is built by who wants it; the wheel's is what every machine gets."""


@pytest.fixture(scope="module", params=SERVERS)
def mongo(request, tmp_path_factory):
    """Each of the two servers in turn, as far as this machine has them."""
    server = EmbeddedMongo(tmp_path_factory.mktemp("mongo"), fast=request.param == "fast")
    try:
        server.start()
    except MongoUnavailable as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.mark.mongo
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_server_always_writes_through(mongo):
    """Without this option acknowledged writes die with the process, journaled ones too."""
    assert "--sync-on-commit" in Path(f"/proc/{mongo.pid}/cmdline").read_text().split("\0")


@pytest.mark.mongo
async def test_acknowledged_writes_outlive_a_killed_server_and_clients_find_it_again(mongo):
    acknowledged: list[int] = []
    enough = asyncio.Event()

    async def write(kept: Collection) -> None:
        for number in itertools.count():
            await kept.insert_one({"_id": number})
            acknowledged.append(number)
            if len(acknowledged) == 50:
                enough.set()

    durable = WriteConcern(w="majority", j=True)
    async with AsyncMongoClient(mongo.url, serverSelectionTimeoutMS=1000, retryWrites=False) as client:
        kept = client.get_default_database()["kept"].with_options(write_concern=durable)
        writing = asyncio.ensure_future(write(kept))
        await asyncio.wait_for(enough.wait(), 30)
        await asyncio.to_thread(mongo.kill)
        await asyncio.wait([writing], timeout=30)
        assert isinstance(writing.exception(), PyMongoError)
        await asyncio.to_thread(mongo.restart)
        found = [document["_id"] async for document in kept.find()]
    assert set(acknowledged) <= set(found)
    assert len(found) <= len(acknowledged) + 1


@pytest.mark.mongo
async def test_the_server_can_do_all_jawab_relies_on_and_the_trial_leaves_nothing(mongo):
    assert await missing_abilities(mongo.url) == []
    async with AsyncMongoClient(mongo.url, serverSelectionTimeoutMS=5000) as client:
        assert not [name for name in await client.list_database_names() if name.startswith("jawab_check")]


@pytest.mark.mongo
async def test_a_missing_ability_is_one_readable_line(mongo):
    async def time_travel(collection: Collection) -> None:
        """documents can be read before they are written"""
        expect(await collection.find_one({"_id": 1}), {"_id": 1})

    lines = await missing_abilities(mongo.url, (*ABILITIES[:1], time_travel))
    assert lines == ["documents can be read before they are written: no (expected {'_id': 1}, found None)"]


@pytest.mark.mongo
def test_the_server_names_itself_its_database_and_its_memory(mongo):
    assert mongo.url.startswith(f"mongodb://127.0.0.1:{mongo.port}/jawab?")
    assert mongo.fast is (mongo.name == "secantusd-rs")
    assert 0 < mongo.rss_bytes() < 500 << 20


@pytest.mark.mongo
def test_a_server_that_cannot_start_says_why(mongo, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = EmbeddedMongo(tmp_path, taken.getsockname()[1], fast=mongo.fast)
        with pytest.raises(ProcessDied, match=r"(?s)MongoDB ended with exit code.*[Aa]ddress already in use"):
            server.start()
    assert not server.running
