"""`jawab privacy` on real Kafka and the MongoDB wire: it asks as Meta does, and cleanup does the rest."""

import asyncio
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from pymongo import AsyncMongoClient

from cli.app import run
from common.events.privacy import PRIVACY, ErasureRequested
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, PRIVACY_AUDIT, database
from devkit.kafka import EmbeddedKafka

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]

ACCOUNT, CONTACT, NEIGHBOUR = "17841400000700001", "99000000000000071", "99000000000000072"
TEXT = "my address is 5 Palm Street"
AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def jawab(
    kafka: EmbeddedKafka,
    mongo_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MONGODB_URL": mongo_url,
        "INSTAGRAM_PAGE_ID": ACCOUNT,
    }.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


def in_database(mongo_url: str, act: Callable[[Any], Any]) -> Any:
    async def run_it() -> Any:
        async with AsyncMongoClient(mongo_url, tz_aware=True) as client:
            return await act(database(client))

    return asyncio.run(run_it())


def seed(mongo_url: str) -> None:
    async def act(db: Any) -> None:
        for contact in (CONTACT, NEIGHBOUR):
            conversation = f"{ACCOUNT}:{contact}"
            of_it = {"conversation_id": conversation, "at": AT}
            await db[MESSAGES].insert_one({"_id": f"m{contact}", "text": TEXT, **of_it})
            await db[DECISIONS].insert_one({"_id": f"d{contact}", "replies": ['{"id": "r"}'], **of_it})
            await db[DELIVERIES].insert_one({"_id": f"r{contact}", "state": "delivered", **of_it})
            for name in (CONVERSATIONS, CONTACTS):
                await db[name].insert_one({"_id": conversation, "updated_at": AT})

    in_database(mongo_url, act)


def requests(kafka: EmbeddedKafka) -> list[ErasureRequested]:
    async def act() -> list[ErasureRequested]:
        consumer = AIOKafkaConsumer(PRIVACY, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        await consumer.start()
        try:
            (place,) = consumer.assignment() or [None]
            end = (await consumer.end_offsets([place]))[place]
            found: list[ErasureRequested] = []
            while len(found) < end:
                batches = await consumer.getmany(timeout_ms=500)
                found += [ErasureRequested.from_json(one.value) for batch in batches.values() for one in batch]
            return found
        finally:
            await consumer.stop()

    return asyncio.run(act())


def audit(mongo_url: str) -> list[dict[str, Any]]:
    async def act(db: Any) -> list[dict[str, Any]]:
        return await db[PRIVACY_AUDIT].find({}).to_list()

    return in_database(mongo_url, act)


def test_a_dry_run_and_what_is_not_confirmed_ask_for_nothing(jawab, kafka, mongo_url):
    seed(mongo_url)
    before = len(requests(kafka))
    code, out, _ = jawab("privacy", "erase", CONTACT, "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["customers"][0]["found"] == {
        MESSAGES: 1,
        DECISIONS: 1,
        DELIVERIES: 1,
        CONVERSATIONS: 1,
        CONTACTS: 1,
    }
    code, _, said = jawab("privacy", "erase", CONTACT)
    assert (code, "--yes" in said) == (1, True)
    assert len(requests(kafka)) == before
    assert audit(mongo_url) == []


def test_an_erasure_is_asked_for_on_the_topic_and_written_down_without_a_name(jawab, kafka, mongo_url, tmp_path):
    seed(mongo_url)
    file = tmp_path / "ids.txt"
    file.write_text(f"{CONTACT}\n{NEIGHBOUR}\n", encoding="utf-8")
    before = len(requests(kafka))
    code, out, _ = jawab("privacy", "erase", "--file", str(file), "--by", "Huda", "--yes", "--json")
    assert code == 0
    codes = {one["customer"]: one["code"] for one in json.loads(out)["customers"]}
    made = requests(kafka)[before:]
    assert {one.data.user_id: one.data.code for one in made} == codes
    assert {one.data.account_id for one in made} == {None}
    noted = audit(mongo_url)
    assert {one["_id"] for one in noted} == set(codes.values())
    assert {(one["by"], one["action"]) for one in noted} == {("Huda", "erase")}
    assert CONTACT not in str(noted)
    assert NEIGHBOUR not in str(noted)


def test_an_export_holds_all_of_one_person_and_nothing_of_another(jawab, mongo_url, tmp_path):
    seed(mongo_url)
    file = tmp_path / "out.json"
    code, _, said = jawab("privacy", "export", CONTACT, "--output", str(file), "--by", "Huda")
    assert (code, said.count("\n") >= 1) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    whole = file.read_text(encoding="utf-8")
    (customer,) = json.loads(whole)["customers"]
    assert {name: len(documents) for name, documents in customer["stored"].items()} == {
        MESSAGES: 1,
        DECISIONS: 1,
        DELIVERIES: 1,
        CONVERSATIONS: 1,
        CONTACTS: 1,
    }
    assert customer["stored"][DECISIONS][0]["replies"] == [{"id": "r"}]
    assert NEIGHBOUR not in whole
    assert [one["action"] for one in audit(mongo_url)] == ["export"]
    code, _, said = jawab("privacy", "export", CONTACT, "--output", str(file))
    assert (code, "name a new file" in said) == (1, True)


def test_a_code_that_nobody_knows_is_said(jawab):
    code, _, said = jawab("privacy", "status", "none")
    assert (code, "no request has this code" in said) == (1, True)
