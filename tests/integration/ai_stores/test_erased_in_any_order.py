"""Messages, copies, replays, backlogs and erasures in any order: what is old stays gone, what is new is answered."""

import asyncio
from dataclasses import replace

import pytest
from ai_scene import CommandCount, Scene, message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import AsyncMongoClient
from test_erased import Record, eraser, requested

from common.erasures import MongoErasures
from common.kafka.hold import hand
from common.mongo import COLLECTIONS, MESSAGES, database

pytestmark = pytest.mark.mongo

STEPS = st.tuples(st.sampled_from(["write", "append", "catch_up", "copy", "replay", "erase"]), st.integers(0, 7))


class Shop:
    """A log, a service that reads it, and what should be there by now."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.log: list[str] = []
        self.read = 0
        self.erased: set[str] = set()
        self.erasures = 0
        self.seen = 0

    def answered(self) -> list[str]:
        """Return what the published replies answer, in order."""
        return [event.data.in_reply_to.rpartition(":")[2] for event in self.scene.published]  # type: ignore[attr-defined]

    async def handle(self, offset: int) -> None:
        hand(Record(offset))
        await self.scene.handle(message(f"words of {self.log[offset]}", mid=self.log[offset]))
        assert not self.erased.intersection(self.answered()[self.seen :])
        self.seen = len(self.scene.published)

    async def catch_up(self) -> None:
        while self.read < len(self.log):
            self.read += 1
            await self.handle(self.read - 1)

    async def step(self, what: str, which: int) -> None:
        if what in {"write", "append"}:
            self.log.append(f"m{len(self.log)}")
        elif what == "copy" and self.log:
            self.log.append(self.log[which % len(self.log)])
        elif what == "replay" and self.read:
            await self.handle(which % self.read)
        elif what == "erase":
            self.erasures += 1
            await eraser(self.scene.db, len(self.log)).erase(requested(f"code{self.erasures}"))
            self.erased |= set(self.log)
        if what in {"write", "copy", "catch_up"}:
            await self.catch_up()

    async def check(self) -> None:
        await self.catch_up()
        stored = {each["_id"].rpartition(":")[2] async for each in self.scene.db[MESSAGES].find({})}
        assert stored == set(self.log) - self.erased
        assert set(self.answered()) >= set(self.log) - self.erased
        assert len({event.id for event in self.scene.published}) == len(set(self.answered()))


def test_whatever_comes_in_whatever_order_nothing_erased_is_stored_or_answered_again(mongo_url: str):
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(STEPS, max_size=12))
    def play(steps: list[tuple[str, int]]) -> None:
        async def act() -> None:
            async with AsyncMongoClient(mongo_url, tz_aware=True) as client:
                db = database(client)
                for collection in COLLECTIONS:
                    await db[collection.name].delete_many({})
                scene = Scene(db, CommandCount())
                scene.handlers = replace(scene.handlers, erasures=MongoErasures(db, keep=0))
                shop = Shop(scene)
                for what, which in steps:
                    await shop.step(what, which)
                await shop.check()

        asyncio.run(act())

    play()
