"""Passes counted together with other replicas, on a real Redis; and what happens while it is away."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from delivery.metrics import PaceMetrics
from delivery.pace import meters as module
from delivery.pace.meters import Meters, Pass
from delivery.pace.rate_limits import DEFAULTS, Limit, Meter
from delivery.pace.shared_count import CountAway, Place, SharedCount
from devkit.redis import EmbeddedRedis
from devkit.sandbox.rates import Rates

A, B = Meter("message", "a"), Meter("message", "b")
HOURLY = Meter("private_reply", "a")


@pytest.fixture
def server():
    with EmbeddedRedis() as running:
        yield running


class Times:
    """A clock that tests move; a replica's own, while the server keeps its time."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@asynccontextmanager
async def replicas(url, *limits, number=2, now=time.monotonic, timeout=10.0):
    """Yield so many replicas that count together, with other limits than the defaults.

    `timeout` is long where the server works: on a busy machine a short one would take it for away.
    """
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(number):
            metrics = PaceMetrics(CollectorRegistry())
            one = Meters(
                {**DEFAULTS, **dict(limits)},
                metrics=metrics,
                replicas=number,
                shared=SharedCount(url, timeout=timeout),
                now=now,
            )
            stack.push_async_callback(one.close)
            found.append(one)
        yield found


async def taken(meters, meter, most=1000):
    """Take passes until there are none; return them."""
    passes = []
    while len(passes) < most and isinstance(found := await meters.take(meter), Pass):
        passes.append(found)
    return passes


async def told(meters):
    """Wait until the shared count knows of what ended."""
    await asyncio.gather(*meters._telling)


async def test_replicas_have_one_limit_together_and_accounts_have_their_own(server):
    async with replicas(server.url, ("message", Limit(10, 1))) as (one, other):
        assert len(await taken(one, A, 6)) == 6
        assert len(await taken(other, A)) == 4
        assert isinstance(await one.take(A), float)
        assert len(await taken(other, B)) == 10


async def test_a_pass_that_was_not_used_is_anothers_and_one_that_was_comes_back_after_its_window(server):
    async with replicas(server.url, ("message", Limit(2, 1))) as (one, other):
        used, unused = await taken(one, A)
        unused.unused()
        await told(one)
        (second,) = await taken(other, A)
        began = time.monotonic()
        used.used()
        second.used()
        await told(one)
        await told(other)
        wait = await other.take(A)
        assert time.monotonic() - began + wait >= 1.0
        assert wait <= 1.01
        await asyncio.sleep(wait)
        assert isinstance(await other.take(A), Pass)
        assert time.monotonic() - began >= 1.0


async def test_while_all_calls_are_under_way_the_wait_is_a_window_and_no_lease(server):
    async with replicas(server.url, ("message", Limit(2, 1))) as (one, other):
        await taken(one, A)
        assert await other.take(A) == pytest.approx(1.0, abs=0.05)


async def test_a_pass_ends_once(server):
    async with replicas(server.url, ("message", Limit(1, 30))) as (one, other):
        (first,) = await taken(one, A)
        first.used()
        first.unused()
        await told(one)
        assert await taken(other, A) == []


async def test_a_replica_that_died_holds_its_passes_no_longer_than_a_lease(server, monkeypatch):
    lease = 0.5
    monkeypatch.setattr("delivery.pace.shared_count.LEASE_SECONDS", lease)
    async with replicas(server.url, ("message", Limit(1, 1))) as (one, other):
        began = time.monotonic()
        await taken(one, A)
        early = await taken(other, A)
        assert early == [] or time.monotonic() - began >= lease
        deadline = time.monotonic() + 60
        while not (found := early or await taken(other, A)):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert len(found) == 1


async def test_without_an_answer_each_keeps_to_its_share_after_one_window(server):
    now = Times()
    async with replicas(server.url, ("message", Limit(10, 1)), now=now, timeout=0.2) as (one, other):
        assert len(await taken(one, A)) == 10
        server.kill()
        rest = await one.take(A)
        assert rest == pytest.approx(1.0 + module.LOOK_FOR_IT, abs=0.1)
        assert isinstance(await other.take(A), float)
        now.ahead += rest + 0.1
        for each in (one, other):
            assert len(await taken(each, B)) == 5
        assert one._metrics.count_away._value.get() == 1


async def test_an_hours_limit_goes_on_within_the_share_that_is_left(server):
    """Nobody could wait an hour out: what this replica sent before is counted, its share is kept to."""
    async with replicas(server.url, ("private_reply", Limit(10, 3600)), timeout=0.2) as (one, other):
        for sent in (*await taken(one, HOURLY, 3), *await taken(other, HOURLY, 1)):
            sent.used()
        server.kill()
        assert len(await taken(one, HOURLY)) == 2
        assert len(await taken(other, HOURLY)) == 4


async def test_a_count_that_comes_back_empty_is_told_what_every_replica_sent(server):
    now = Times()
    async with replicas(server.url, ("private_reply", Limit(10, 3600)), now=now, timeout=0.2) as (one, other):
        for sent in await taken(one, HOURLY, 4):
            sent.used()
        server.kill()
        assert len(await taken(other, HOURLY, 2)) == 2
        assert len(await taken(one, HOURLY, 1)) == 1
        server.start()
        now.ahead += module.LOOK_FOR_IT + 0.1
        assert len(await taken(one, HOURLY)) == 0  # its share is used up, and the others may not have noticed yet
        assert len(await taken(other, HOURLY)) == 3
        now.ahead += module.LONGEST_REST + module.LOOK_FOR_IT + 0.1
        await one.take(A)
        await other.take(A)
        assert len(await taken(one, HOURLY)) == 0
        assert len(await taken(other, HOURLY)) == 0
        assert one._metrics.count_away._value.get() == 0


async def test_a_server_that_hangs_delays_one_question_only(server):
    timeout = 2.0
    async with replicas(server.url, ("private_reply", Limit(10, 3600)), timeout=timeout) as (one, _):
        await taken(one, HOURLY, 1)
        server.pause()
        began = time.monotonic()
        found = await asyncio.gather(*(one.take(HOURLY) for _ in range(4)))
        assert time.monotonic() - began < 3 * timeout  # four that each waited would take four of them
        assert all(isinstance(each, Pass) for each in found)


async def test_nothing_is_lost_where_there_never_was_a_server():
    async with replicas("valkey://127.0.0.1:1", ("private_reply", Limit(10, 3600))) as (one, _):
        assert len(await taken(one, HOURLY)) == 5
        with pytest.raises(CountAway):
            await one._shared.give_back(Place(A, "x"))


async def test_two_replicas_reach_the_pace_and_never_exceed_it(server):
    """In real time: a second's limit, wanted by both all the time, until it has been used up more than twice."""
    platform, limit, made = Rates(enforce=False), Limit(50, 1), []
    async with replicas(server.url, ("message", limit)) as both:
        give_up = time.monotonic() + 60.0

        async def want(meters):
            while len(made) < 120 and time.monotonic() < give_up:
                found = await meters.take(A)
                if isinstance(found, Pass):
                    await asyncio.sleep(0.005)
                    platform.allows("message", "a", limit=limit.calls, seconds=limit.seconds, now=time.monotonic())
                    found.used()
                    made.append(found)
                else:
                    await asyncio.sleep(min(found, 0.02))

        await asyncio.gather(*(want(meters) for meters in both for _ in range(10)))
    (count,) = platform.told()
    assert count["exceeded"] == 0
    assert count["calls"] >= 120


@pytest.mark.parametrize("how", ["restarted", "emptied"])
async def test_a_count_that_lost_all_in_a_moment_when_nobody_asked_is_told_what_was_sent(server, how):
    """The client connects anew without a word, and an empty window looks like an hour in which nothing was sent."""
    async with replicas(server.url, ("private_reply", Limit(10, 3600))) as (one, other):
        for meters, most in ((one, 5), (other, 5)):
            for sent in await taken(meters, HOURLY, most):
                sent.used()
            await told(meters)
        if how == "restarted":
            server.kill()
            server.start()
        else:
            await one._shared._client.flushall()
        again = [len(await taken(meters, HOURLY)) for meters in (other, one, other, one)]
    assert sum(again) == 0


async def test_a_count_that_forgot_nothing_is_told_nothing_again(server):
    async with replicas(server.url, ("private_reply", Limit(1000, 3600))) as (one, other):
        for _ in range(30):
            for meters in (one, other):
                (sent,) = await taken(meters, HOURLY, 1)
                sent.used()
        assert [meters._counting for meters in (one, other)] == ["shared", "shared"]
        assert not any(own.lost for meters in (one, other) for own in meters._own.values())
