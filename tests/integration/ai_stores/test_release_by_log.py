"""What came in before a conversation was given back is the agent's, what came in after it is Jawab's: by the log."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from ai_scene import NOW, WHO, Scene, event, message

from common.events.control import (
    Control,
    ConversationReleased,
    ConversationResolved,
    ConversationTakenOver,
    LogPosition,
)
from common.events.interactions import INTERACTIONS
from common.kafka.hold import Position, hand, hold

SKEWS = (-120, -90, 0, 90, 120)
PARTITION = 3


class Record:
    """A record that lies at an offset of the conversation's interactions."""

    owned = True
    partition = PARTITION
    line = None

    def __init__(self, *offsets: int, topic: str = INTERACTIONS) -> None:
        self.positions = [Position(topic, PARTITION, offset, 0) for offset in offsets]

    def later(self, wanted: Any) -> bool:
        return False

    async def later_within(self, wanted: Any, seconds: float) -> bool:
        return False


@contextmanager
def at(*offsets: int) -> Iterator[None]:
    before = hold()
    hand(Record(*offsets))  # type: ignore[arg-type]
    try:
        yield
    finally:
        hand(before)


def control(kind: Any, id_: str, when: timedelta, api: int, offset: int | None = None) -> Any:
    log = LogPosition(partition=PARTITION, offset=offset) if offset is not None else None
    data = Control(merchant_id="dar", by="ali", **WHO, log=log)
    return event(kind, data, id_, NOW + when + timedelta(seconds=api))


def said(mid: str, when: timedelta, ingest: int) -> Any:
    moment = NOW + when
    received = int((moment + timedelta(seconds=ingest)).timestamp() * 1000)
    return message(f"text of {mid}", mid=mid, at=moment, received_at_ms=received)


@pytest.mark.parametrize("give_back", [ConversationReleased, ConversationResolved])
@pytest.mark.parametrize(("api", "ingest"), [(api, ingest) for api in SKEWS for ingest in (-120, 0, 120)])
async def test_whatever_the_clocks_say_the_log_decides_which_message_is_whose(
    scene: Scene, api: int, ingest: int, give_back: Any
):
    minute = timedelta(minutes=1)
    await scene.handle(control(ConversationTakenOver, "t1", timedelta(), api))
    scene.clock.advance(3 * minute)
    with at(10):
        await scene.handle(said("m1", 3 * minute, ingest))
    await scene.handle(control(give_back, "r1", 3 * minute + timedelta(seconds=10), api, offset=11))
    assert scene.published == []
    with at(10, 10):
        await scene.handle(said("m1", 3 * minute, ingest))  # redelivered: it was the agent's
    assert scene.published == []
    with at(11):
        await scene.handle(said("m2", 3 * minute + timedelta(seconds=15), ingest))
    assert len(scene.published) == 1


@pytest.mark.parametrize("api", SKEWS)
async def test_a_message_that_is_read_before_the_release_it_came_in_after_is_answered_with_it(scene: Scene, api: int):
    minute = timedelta(minutes=1)
    await scene.handle(control(ConversationTakenOver, "t1", timedelta(), api))
    scene.clock.advance(3 * minute)
    with at(10):
        await scene.handle(said("m1", 3 * minute, 0))
    with at(11):
        await scene.handle(said("m2", 3 * minute + timedelta(seconds=15), 0))
    assert scene.published == []
    await scene.handle(control(ConversationReleased, "r1", 3 * minute + timedelta(seconds=10), api, offset=11))
    assert len(scene.published) == 1


async def test_an_older_release_that_is_read_again_gives_nothing_back_to_jawab(scene: Scene):
    minute = timedelta(minutes=1)
    await scene.handle(control(ConversationTakenOver, "t1", timedelta(), 0))
    scene.clock.advance(3 * minute)
    await scene.handle(control(ConversationReleased, "r1", minute, 0, offset=5))
    await scene.handle(control(ConversationTakenOver, "t2", 2 * minute, 0))
    with at(10):
        await scene.handle(said("m1", 2 * minute + timedelta(seconds=5), 0))
    await scene.handle(control(ConversationReleased, "r2", 3 * minute, 0, offset=11))
    await scene.handle(control(ConversationReleased, "r1", minute, 0, offset=5))
    with at(10):
        await scene.handle(said("m1", 2 * minute + timedelta(seconds=5), 0))
    assert scene.published == []


@pytest.mark.parametrize("ingest", [-120, 0, 120])
async def test_without_a_place_in_the_log_a_message_that_was_written_after_the_release_is_answered(
    scene: Scene, ingest: int
):
    """A release of an earlier version has none; the platform's clock tells when a message was written."""
    minute = timedelta(minutes=1)
    await scene.handle(control(ConversationTakenOver, "t1", timedelta(), 0))
    scene.clock.advance(3 * minute)
    await scene.handle(control(ConversationReleased, "r1", 3 * minute, 0))
    await scene.handle(said("m2", 3 * minute + timedelta(seconds=15), ingest))
    assert len(scene.published) == 1
