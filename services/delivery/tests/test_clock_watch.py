"""The clocks of others are watched, also where nothing is sent."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from math import isnan

import pytest
from prometheus_client import CollectorRegistry

from common.clock import SystemClock, monotonic
from common.health import Unhealthy
from common.platform_clock import PlatformClock, RemoteClock
from delivery import clock_watch
from delivery.clock_watch import ClockWatch
from delivery.metrics import DeliveryMetrics


class Api:
    """An outside API that answers, dated `behind` seconds ago."""

    def __init__(self, name, behind=0.0, answers=True):
        self.name, self.clock = name, RemoteClock()
        self.behind, self.answers = behind, answers
        self.asked = []

    async def call(self, method, path, *, name):
        self.asked.append((method, path, name))
        if not self.answers:
            await asyncio.Event().wait()
        sent = monotonic()
        date = format_datetime(datetime.now(UTC) - timedelta(seconds=self.behind), usegmt=True)
        self.clock.observe(date, sent, monotonic())


class Db:
    def __init__(self, behind=0.0, error=None):
        self.behind, self.error = behind, error

    async def command(self, name):
        if self.error is not None:
            raise self.error
        return {"localTime": datetime.now(UTC) - timedelta(seconds=self.behind)}


class Watched:
    def __init__(self, *apis, db=None, max_offset=300.0):
        self.registry = CollectorRegistry()
        self.clock = PlatformClock(SystemClock(), [api.clock for api in apis])
        self.watch = ClockWatch(
            clock=self.clock,
            apis=apis,
            db=db or Db(),
            metrics=DeliveryMetrics(self.registry),
            max_offset=max_offset,
        )

    def offset(self, peer):
        return self.registry.get_sample_value("delivery_clock_offset_seconds", {"peer": peer})


async def test_the_offset_of_every_peer_is_reported():
    watched = Watched(Api("graph", behind=90), Api("manychat", behind=-30), db=Db(behind=5))
    await watched.watch.look()
    assert watched.offset("graph") == pytest.approx(90, abs=2)
    assert watched.offset("manychat") == pytest.approx(-30, abs=2)
    assert watched.offset("mongodb") == pytest.approx(5, abs=1)
    assert not watched.clock.trusted


async def test_a_peer_that_does_not_tell_the_time_has_no_offset():
    watched = Watched(Api("graph"), db=Db(error=ConnectionError()))
    await watched.watch.look()
    assert isnan(watched.offset("mongodb"))
    assert watched.clock.trusted


async def test_the_first_replies_wait_for_the_platforms_clock_only_for_a_while(monkeypatch):
    monkeypatch.setattr(clock_watch, "FIRST_SECONDS", 0.01)
    watched = Watched(Api("graph", answers=False))
    await asyncio.wait_for(watched.watch.first_look(), 5)
    assert watched.clock.offset is None
    await watched.watch.check()


async def test_a_machine_whose_clock_is_beyond_every_tolerance_is_not_ready():
    watched = Watched(Api("graph", behind=200), max_offset=300)
    await watched.watch.look()
    await watched.watch.check()
    far = Watched(Api("graph", behind=400), max_offset=300)
    await far.watch.look()
    with pytest.raises(Unhealthy, match="ahead of the platform") as caught:
        await far.watch.check()
    assert "NTP" in caught.value.fix


async def test_an_answer_that_nobody_can_read_ends_no_watch(monkeypatch):
    """Who watches runs beside what consumes: what it raised would stop the service from sending."""
    monkeypatch.setattr(clock_watch, "EVERY_SECONDS", 0.0)
    api, looks = Api("graph"), []

    async def call(method, path, *, name):
        looks.append(name)
        raise OverflowError("a date of another calendar")

    api.call = call
    watching = asyncio.create_task(Watched(api).watch.watch_regularly())
    async with asyncio.timeout(5):
        while len(looks) < 3:
            assert not watching.done()
            await asyncio.sleep(0)
    watching.cancel()
