"""Who asks about the stages shares one look at Kafka with all who ask meanwhile: dashboards cannot become load."""

import asyncio

import pytest

from common.clock import SystemClock
from ingest.backlog import Backlog, BacklogUnknown


class Looks(Backlog):
    """Counts its looks; each lasts until it is let go, and fails if it is to."""

    def __init__(self):
        super().__init__({}, SystemClock())
        self.count, self.fails, self.go = 0, False, asyncio.Event()

    async def _read(self):
        self.count += 1
        await self.go.wait()
        if self.fails:
            raise OSError
        return {}


async def asked(looks, *published):
    """Return what comes of asking at once, each after so many publications; a look is under way meanwhile."""
    asking = [asyncio.create_task(looks.stages(published=number)) for number in published]
    while not looks.count:
        await asyncio.sleep(0)
    looks.go.set()
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_one_failed_look_answers_all_who_waited_for_it():
    looks = Looks()
    looks.fails = True
    answers = await asked(looks, *range(20))
    assert [type(answer) for answer in answers] == [BacklogUnknown] * 20
    assert looks.count == 1
    with pytest.raises(BacklogUnknown):
        await looks.stages(published=20)
    assert looks.count == 2


async def test_while_webhooks_come_in_all_who_wait_are_answered_by_the_next_look():
    looks = Looks()
    assert await asked(looks, *range(20)) == [{}] * 20
    assert looks.count <= 2


async def test_no_answer_is_older_than_what_was_published_before_the_question():
    looks = Looks()
    looks.go.set()
    for number in (1, 1, 2):
        await looks.stages(published=number)
    assert looks.count == 2
