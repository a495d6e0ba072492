"""A customer is erased by Meta's callback while all runs: nothing old comes back, and what is new is answered."""

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest
from pymongo import AsyncMongoClient

from common.mongo import COLLECTIONS, MESSAGES, Database, database
from devkit.signing import signed_request

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]


@pytest.fixture
async def db(stack) -> AsyncIterator[Database]:
    client = AsyncMongoClient(stack.environment()["MONGODB_URL"], tz_aware=True)
    yield database(client)
    await client.close()


async def erase(stack, outside, contact: str, *, within: float = 30) -> dict[str, object]:
    """Ask as Meta does, and wait until the page says that it is done."""
    asked = signed_request({"user_id": contact, "algorithm": "HMAC-SHA256"}, stack.environment()["META_APP_SECRET"])
    url = f"{stack.url('ingest')}/webhooks/instagram/data-deletion"
    page = (await outside.client.post(url, data={"signed_request": asked})).json()["url"]
    told: dict[str, object] = {}
    for _ in range(int(within / 0.1)):
        try:
            told = (await outside.client.get(page, headers={"accept": "application/json"})).json()
        except httpx2.TransportError:
            told = {"status": "cleanup is down"}
        if told["status"] in {"erased", "nobody"}:
            return told
        await outside.pause(0.1)
    pytest.fail(f"not erased: {told}")


async def kept_of(db: Database, contact: str) -> list[str]:
    """Return the collections in which anything names the customer."""
    return [
        one.name for one in COLLECTIONS if any(contact in str(each) for each in await db[one.name].find({}).to_list())
    ]


async def until_stored(outside, db: Database, contact: str) -> None:
    for _ in range(200):
        if any(contact in each["conversation_id"] for each in await db[MESSAGES].find({}).to_list()):
            return
        await outside.pause(0.05)
    pytest.fail("the message was never stored")


async def test_what_the_model_thinks_about_is_not_sent_and_what_comes_later_is_answered(stack, outside, simulator, db):
    contact = simulator.contact()
    first = simulator.text(contact, "My name is Zainab, my number 0770 000 0000, is size M there?")
    rule = await outside.sandbox.add_fault(api="openai", behaviour="slow", seconds=8, text="Zainab")
    try:
        assert await outside.send(first) == 200
        await until_stored(outside, db, contact)
        await erase(stack, outside, contact)
        await outside.settled()
    finally:
        await outside.sandbox.remove_fault(rule)
    assert await outside.deliveries(contact) == []
    assert await kept_of(db, contact) == []
    assert await outside.send(first) == 200  # Meta delivers it again
    await outside.settled()
    assert await outside.deliveries(contact) == []
    assert await kept_of(db, contact) == []
    assert await outside.send(simulator.text(contact, "Hello, do you have it in blue?")) == 200
    await outside.settled()
    assert [one.kind for one in await outside.deliveries(contact)] == ["message"]


async def test_the_echo_of_a_reply_that_was_under_way_silences_nobody(stack, outside, simulator, db):
    contact = simulator.contact()
    await outside.sandbox.behave(echo_delay_seconds=8)
    try:
        assert await outside.send(simulator.text(contact, "Do you have it in red?")) == 200
        for _ in range(200):
            if await outside.deliveries(contact):
                break
            await outside.pause(0.1)
        await erase(stack, outside, contact)
        for _ in range(200):
            if not (await outside.sandbox.posting())["waiting"]:
                break
            await outside.pause(0.1)
        await outside.pause(0.5)
        await outside.settled()
    finally:
        await outside.sandbox.behave(echo_delay_seconds=0)
    assert await kept_of(db, contact) == []
    assert await outside.send(simulator.text(contact, "And in green?")) == 200
    await outside.settled()
    assert len(await outside.deliveries(contact)) == 2


@pytest.mark.parametrize(
    "place",
    [
        "cleanup.after_tombstone_before_erasing",
        "cleanup.between_deletions=1",
        "cleanup.between_deletions=3",
        "cleanup.after_erasing_before_done",
    ],
)
async def test_a_killed_erasure_is_finished_by_the_next_process(stack, outside, simulator, db, place):
    contact = simulator.contact()
    assert await outside.send(simulator.text(contact, "My number is 0770 000 0000")) == 200
    await outside.settled()
    before = len(await outside.deliveries(contact))
    stack.stop_service("cleanup")
    stack.start_service("cleanup", {"JAWAB_FAILPOINT": place})
    asking = asyncio.create_task(erase(stack, outside, contact, within=90))
    await asyncio.to_thread(stack.wait_ended, "cleanup", 60)
    stack.start_service("cleanup")
    assert (await asking)["status"] == "erased"
    assert await kept_of(db, contact) == []
    assert await outside.send(simulator.text(contact, "Hello, do you have it in blue?")) == 200
    await outside.settled()
    assert len(await outside.deliveries(contact)) == before + 1
