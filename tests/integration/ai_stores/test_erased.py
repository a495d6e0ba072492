"""A customer is erased while ai works for them: nothing old is stored, said or answered again; what is new is."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from ai_scene import NOW, Scene, message, outcome
from prometheus_client import CollectorRegistry

from ai.completion import Completion
from cleanup import erasure
from cleanup.erasure import Eraser
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords
from cleanup.second_pass import erase_old
from cleanup.tombstones import TombstoneWriter
from common.clock import ManualClock
from common.erasures import ConversationErased, MongoErasures
from common.errors import Paced
from common.events.interactions import INTERACTIONS
from common.events.outcomes import HumanReplied, HumanReply
from common.events.privacy import PRIVACY, ErasureRequested, PrivacyRequest
from common.kafka.hold import hand
from common.mongo import COLLECTIONS, CONVERSATIONS, DECISIONS, MERCHANTS, MESSAGES, TOMBSTONES, Database
from common.tombstones import Position

pytestmark = pytest.mark.mongo

LATER = NOW + timedelta(minutes=10)


class Ends:
    """A Kafka whose topics end where a test says."""

    def __init__(self, end: int) -> None:
        self.end = end

    async def ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        return {topic: [self.end] for topic in topics}

    async def value_at(self, position: Position) -> bytes | None:
        return None


class Record:
    """A record at one offset, with nothing behind it."""

    owned, partition, line = True, 0, None

    def __init__(self, offset: int, topic: str = INTERACTIONS) -> None:
        # No two records of a partition are written at one moment here: a copy of a record keeps its own.
        self.positions = (Position(topic, 0, offset, round(NOW.timestamp() * 1000) + offset),)

    def later(self, wanted: Any) -> bool:
        return False

    async def later_within(self, wanted: Any, seconds: float) -> bool:
        return False

    async def wait_for(self, awaited: asyncio.Future[Any]) -> Any:
        return await awaited


def with_erasures(scene: Scene) -> Scene:
    scene.handlers = replace(scene.handlers, erasures=MongoErasures(scene.db, keep=0))
    return scene


@pytest.fixture
def erasing(scene: Scene) -> Scene:
    return with_erasures(scene)


def eraser(db: Database, end: int, at: datetime = NOW) -> Eraser:
    metrics = CleanupMetrics(CollectorRegistry())
    return Eraser(
        db, ErasureRecords(db), environment_account="1", metrics=metrics, clock=ManualClock(at), reader=Ends(end)
    )


def requested(code: str = "code", account_id: str | None = None) -> ErasureRequested:
    data = PrivacyRequest(code=code, user_id="5", account_id=account_id)
    return ErasureRequested(id=code, source="/test", subject=code, time=NOW, partitionkey=code, data=data)


async def stored(db: Database) -> dict[str, int]:
    names = [one.name for one in COLLECTIONS if one.name not in {MERCHANTS, TOMBSTONES, "erasures"}]
    return {name: number for name in names if (number := await db[name].count_documents({}))}


async def ignored(db: Database) -> int:
    return sum([each.get("ignored", 0) async for each in db[TOMBSTONES].find({})])


async def at(scene: Scene, offset: int, event: Any) -> None:
    hand(Record(offset))
    await scene.handle(event)


async def test_an_answer_that_the_model_was_thinking_about_is_neither_stored_nor_published(erasing: Scene):
    thinking, think = asyncio.Event(), asyncio.Event()
    answer = erasing.model.complete

    async def slowly(messages: Any, **more: Any) -> Completion:
        thinking.set()
        await think.wait()
        return await answer(messages, **more)

    erasing.model.complete = slowly  # type: ignore[method-assign]
    at_work = asyncio.create_task(at(erasing, 4, message("my name is Zainab, 0770 123")))
    await asyncio.wait_for(thinking.wait(), 10)
    await eraser(erasing.db, 5).erase(requested())
    think.set()
    await asyncio.wait_for(at_work, 10)
    assert await stored(erasing.db) == {}
    assert erasing.published == []
    assert await ignored(erasing.db) == 1


async def test_a_late_copy_and_a_replay_are_ignored_and_counted(erasing: Scene):
    await at(erasing, 0, message())
    await eraser(erasing.db, 1).erase(requested())
    erasing.published.clear()
    await at(erasing, 7, message())  # the platform delivers it again, behind the cut
    await at(erasing, 0, message(mid="m2"))  # a replay of a record that had not been handled
    await at(erasing, 8, message(mid="m2"))  # and the copy of that
    assert await stored(erasing.db) == {}
    assert erasing.published == []
    assert await ignored(erasing.db) == 3
    assert erasing.model.calls == 1


async def test_what_an_erased_customer_does_makes_no_tombstone_grow_without_end(
    erasing: Scene, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("common.erasures.MAX_SEEN", 5)
    await at(erasing, 0, message())
    await eraser(erasing.db, 100).erase(requested())
    for offset in range(1, 20):
        await at(erasing, offset, message(mid=f"old{offset}"))
    tombstone = await erasing.db[TOMBSTONES].find_one({"_id": "code"})
    assert tombstone is not None
    assert len(tombstone["seen"]) <= 6
    assert tombstone["ignored"] == 19


@pytest.mark.parametrize("broken", [{"$unset": {"cut": 1}}, {"$set": {"seen": 5}}, {"$unset": {"customer": 1}}])
async def test_a_broken_tombstone_stops_no_other_customer_and_its_last_readable_version_is_in_force(
    erasing: Scene, broken: dict[str, Any]
):
    await at(erasing, 0, message())
    await eraser(erasing.db, 1).erase(requested())
    erasing.published.clear()
    await at(erasing, 7, message())  # read while it is whole
    await erasing.db[TOMBSTONES].update_one({"_id": "code"}, broken)
    await MongoErasures(erasing.db).announce()
    await at(erasing, 8, message())
    assert erasing.published == []
    erasing.handlers = replace(erasing.handlers, erasures=MongoErasures(erasing.db, keep=0))  # as after a restart
    await at(erasing, 9, message(mid="m9"))
    assert erasing.published != []


@pytest.mark.parametrize("clock", [timedelta(minutes=-2), timedelta(0), timedelta(minutes=2)])
async def test_what_the_customer_writes_afterwards_is_a_new_conversation_whatever_the_clocks_say(
    erasing: Scene, clock: timedelta
):
    await at(erasing, 0, message("remember my size", mid="m1"))
    await eraser(erasing.db, 1, NOW + clock).erase(requested())
    erasing.published.clear()
    await at(erasing, 1, message("hello again", mid="m2", at=NOW))
    assert erasing.texts() == ["answer"]
    conversation = await erasing.conversation()
    assert [line["text"] for line in conversation["recent"]] == ["hello again", "answer"]


async def test_what_comes_during_the_erasure_waits_for_its_end(erasing: Scene, monkeypatch: pytest.MonkeyPatch):
    async def in_between(place: str) -> None:
        hand(Record(9))
        with pytest.raises(Paced):
            await erasing.handle(message(mid="m2"))

    waited: list[asyncio.Task[None]] = []
    monkeypatch.setattr(
        erasure, "failpoint", lambda place: waited.append(asyncio.get_running_loop().create_task(in_between(place)))
    )
    await at(erasing, 0, message())
    run = eraser(erasing.db, 1)
    run._settle = 0.3
    await run.erase(requested())
    await asyncio.gather(*waited[:1])
    await at(erasing, 9, message(mid="m2"))
    assert (await erasing.conversation())["counters"]["received"] == 1


class Killed(BaseException):
    """The process died here."""


@pytest.mark.parametrize("dies_at", range(6))
async def test_an_erasure_that_is_killed_between_any_two_steps_is_finished_by_the_next_try(
    erasing: Scene, monkeypatch: pytest.MonkeyPatch, dies_at: int
):
    await at(erasing, 0, message())
    passed = [0]

    def dies(place: str) -> None:
        passed[0] += 1
        if passed[0] == dies_at + 1:
            raise Killed(place)

    monkeypatch.setattr(erasure, "failpoint", dies)
    with pytest.raises(Killed):
        await eraser(erasing.db, 1).erase(requested())
    hand(Record(1))
    with pytest.raises(Paced):  # half erased is no time to begin anew
        await erasing.handle(message(mid="m2"))
    # More was appended meanwhile: what came behind the first cut is new for the next try, too.
    assert await eraser(erasing.db, 2).erase(requested()) == "erased"
    assert await stored(erasing.db) == {}
    await at(erasing, 0, message())
    assert await stored(erasing.db) == {}
    await at(erasing, 1, message(mid="m2"))
    assert (await erasing.conversation())["counters"]["received"] == 1


async def test_an_erasure_that_stopped_half_way_leaves_nobody_without_an_answer_for_ever(
    erasing: Scene, monkeypatch: pytest.MonkeyPatch
):
    def dies(place: str) -> None:
        raise Killed(place)

    monkeypatch.setattr(erasure, "failpoint", dies)
    with pytest.raises(Killed):
        await eraser(erasing.db, 1).erase(requested())
    monkeypatch.undo()
    impatient = MongoErasures(erasing.db, keep=0, max_wait=0.05)
    erasing.handlers = replace(erasing.handlers, erasures=impatient)
    async with asyncio.timeout(10):
        while not erasing.published:
            try:
                await at(erasing, 1, message(mid="m2"))
            except Paced:
                await asyncio.sleep(0.01)
    assert erasing.texts() == ["answer"]
    hand(Record(0))
    with pytest.raises(ConversationErased):  # what is old stays old
        await impatient.begin(message())


async def test_nothing_of_a_neighbour_or_of_another_account_is_ignored(erasing: Scene):
    await eraser(erasing.db, 5).erase(requested(account_id="2"))
    await at(erasing, 0, message())
    neighbour = message(mid="m3").model_copy(update={"partitionkey": "1:6"})
    neighbour = neighbour.model_copy(update={"data": neighbour.data.model_copy(update={"contact_id": "6"})})
    await eraser(erasing.db, 5).erase(requested("other"))
    await at(erasing, 1, neighbour)
    assert await erasing.db[CONVERSATIONS].distinct("_id") == ["1:6"]
    assert await ignored(erasing.db) == 0


async def test_a_request_that_is_read_again_leaves_the_new_conversation_alone(erasing: Scene):
    await at(erasing, 0, message())
    await eraser(erasing.db, 1).erase(requested())
    await at(erasing, 1, message("hello again", mid="m2"))
    before = await stored(erasing.db)
    assert await eraser(erasing.db, 2).erase(requested()) == "erased"
    assert await stored(erasing.db) == before


async def test_the_same_request_made_again_erases_what_came_since(erasing: Scene):
    for offset, mid in ((0, "m1"), (1, "m2")):
        await at(erasing, offset, message(mid=mid))
        hand(Record(offset, PRIVACY))
        await eraser(erasing.db, offset + 1).erase(requested())
        assert await stored(erasing.db) == {}
    hand(Record(0, PRIVACY))
    await at(erasing, 2, message(mid="m3"))
    hand(Record(1, PRIVACY))
    await eraser(erasing.db, 3).erase(requested())
    assert (await stored(erasing.db))[MESSAGES] == 1
    await at(erasing, 3, message(mid="m1"))
    assert await erasing.db[MESSAGES].distinct("_id") == ["1:msg:m3"]


async def test_the_second_pass_erases_what_a_process_that_stood_still_stored_and_nothing_new(erasing: Scene):
    await at(erasing, 0, message())
    kept = {name: await erasing.db[name].find({}).to_list() for name in (MESSAGES, DECISIONS, CONVERSATIONS)}
    await eraser(erasing.db, 1).erase(requested())
    for name in (MESSAGES, DECISIONS):
        await erasing.db[name].insert_many(kept[name])
    metrics = CleanupMetrics(CollectorRegistry())
    found = await TombstoneWriter(erasing.db).find("code")
    assert found is not None
    await at(erasing, 1, message("hello again", mid="m2"))
    assert await erase_old(erasing.db, ["1:5"], found.tombstone, metrics) == 2
    assert [each["_id"] async for each in erasing.db[MESSAGES].find({})] == ["1:msg:m2"]
    assert [each["covers"] async for each in erasing.db[DECISIONS].find({})] == [["1:msg:m2"]]
    assert [line["text"] for line in (await erasing.conversation())["recent"]] == ["hello again", "answer"]
    assert await erase_old(erasing.db, ["1:5"], found.tombstone, metrics) == 0


async def test_the_second_pass_erases_all_of_it_where_nothing_is_new(erasing: Scene):
    await at(erasing, 0, message())
    kept = {name: await erasing.db[name].find({}).to_list() for name in (MESSAGES, DECISIONS, CONVERSATIONS)}
    await eraser(erasing.db, 1).erase(requested())
    for name, documents in kept.items():
        await erasing.db[name].insert_many(documents)
    found = await TombstoneWriter(erasing.db).find("code")
    assert found is not None
    await erase_old(erasing.db, ["1:5"], found.tombstone, CleanupMetrics(CollectorRegistry()))
    assert await stored(erasing.db) == {}


async def test_an_agents_answer_from_before_is_not_stored_again_and_one_from_after_is(erasing: Scene):
    await at(erasing, 0, message())
    await eraser(erasing.db, 3).erase(requested())
    said = outcome(HumanReplied, HumanReply, "x", mid="e1", text="yes, madam")
    hand(Record(2, "replies.delivered.v1"))
    await erasing.handle(said)
    assert await stored(erasing.db) == {}
    hand(Record(3, "replies.delivered.v1"))
    await erasing.handle(said)
    assert await stored(erasing.db) == {CONVERSATIONS: 1}


async def test_the_tombstone_names_nobody(erasing: Scene):
    contact = "17841499999999999"
    told = message()
    told = told.model_copy(update={"data": told.data.model_copy(update={"contact_id": contact})})
    await at(erasing, 0, told)
    asked = requested()
    asked = asked.model_copy(update={"data": asked.data.model_copy(update={"user_id": contact})})
    await eraser(erasing.db, 1).erase(asked)
    whole = str([await erasing.db[one.name].find({}).to_list() for one in COLLECTIONS])
    assert contact not in whole
    assert "m1" not in [str(value) for value in whole.split()]
