"""A day of traffic with all limits on, in virtual time: the real pacing against a platform that counts every window.

`python services/delivery/tests/test_simulated_day.py` prints the pace that was reached where more was wanted.
"""

import asyncio
import random
import sys
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry

from common.errors import Paced
from delivery.metrics import PaceMetrics
from delivery.pace.pacing import Pacing, pacing
from delivery.pace.rate_limits import DEFAULTS, LimitName, Meter
from devkit.sandbox.rates import Rates
from devkit.virtual_time import in_virtual_time

DAY = 24 * 3600.0
ACCOUNTS = 30
PLACES = 50
LATENCY = (0.004, 0.040)
"""Seconds a call takes: at a platform on the same machine. What a longer way costs, `test_a_long_way` says."""
BETWEEN = (0.001, 0.006)
"""Seconds between the turn and the call: what the ledger takes to say `attempting`."""

Flood = tuple[LimitName, int]


@dataclass
class Day:
    """What happened: at the platform, and to those who waited."""

    latency: tuple[float, float] = LATENCY
    platform: Rates = field(default_factory=lambda: Rates(enforce=False))
    floods: dict[tuple[str, Flood], list[float]] = field(default_factory=lambda: defaultdict(list))
    waits: list[float] = field(default_factory=list)
    calls: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.pacing: Pacing = pacing(DEFAULTS, places=PLACES, metrics=PaceMetrics(CollectorRegistry()), now=loop.time)
        self.now = loop.time

    async def send(self, name: LimitName, account: str, who: str, *, first: bool = True) -> float:
        """Send once it may be, coming back whenever told to; return when the platform had it."""
        turn = self.pacing.turn()
        meter, limit = Meter(name, account), DEFAULTS[name]
        while True:
            try:
                await turn.take("graph", account, [meter], first=first, who=who)
                break
            except Paced as told:
                await asyncio.sleep(told.after)
        try:
            await asyncio.sleep(self.chance.uniform(*BETWEEN))
            with turn.calling():
                lasts = self.chance.uniform(*self.latency)
                there = self.chance.uniform(0, lasts)
                await asyncio.sleep(there)
                self.calls += 1
                arrived = self.now()
                self.platform.allows(name, account, limit=limit.calls, seconds=limit.seconds, now=arrived)
                await asyncio.sleep(lasts - there)
        finally:
            turn.leave()
        return arrived

    async def flood(self, account: str, flood: Flood, at: float, *, first: bool = True) -> None:
        """Want very many at once."""
        name, many = flood
        await asyncio.sleep(at)
        sends = (self.send(name, account, f"{account}-{name}-{at:.3f}-{n}", first=first) for n in range(many))
        self.floods[account, flood] = sorted(await asyncio.gather(*sends))

    async def chat(self, account: str, answers: int) -> None:
        """Answer customers through the day, who all want it now."""
        for n in range(answers):
            await asyncio.sleep(self.chance.expovariate(answers / DAY))
            asked = self.now()
            arrived = await self.send("message", account, f"{account}-answer-{asked:.6f}-{n}")
            self.waits.append(arrived - asked)

    def reached(self) -> dict[tuple[str, Flood], float]:
        """Return the pace of each flood as a share of the allowed: the shortest time it could take, by its time."""
        shares = {}
        for (account, flood), arrivals in self.floods.items():
            limit = DEFAULTS[flood[0]]
            shortest = (len(arrivals) - 1) // limit.calls * limit.seconds
            shares[account, flood] = shortest / (arrivals[-1] - arrivals[0])
        return shares


def account(number: int) -> str:
    return f"178414000000000{number:02}"


async def a_day(latency: tuple[float, float] = LATENCY) -> Day:
    day = Day(latency)
    tasks = [day.chat(account(n), 60) for n in range(ACCOUNTS)]
    # Three reels go viral, one of them twice; what is left of the first wave meets the second.
    tasks += [day.flood(account(n), ("private_reply", 2000), 3600.0 * (2 + n)) for n in range(3)]
    tasks += [day.flood(account(0), ("private_reply", 3000), 3600.0 * 12)]
    # A broadcast of one merchant while everybody is answered, and bursts of every kind.
    tasks += [day.flood(account(4), ("message", 4000), 3600.0 * 9, first=False)]
    tasks += [day.flood(account(n), ("media", 300), 3600.0 * n) for n in range(5, 8)]
    tasks += [day.flood(account(n), ("conversation", 100), 3600.0 * 10 + n) for n in range(10, 14)]
    tasks += [day.flood(account(n), ("comment", 200), 3600.0 * 11 + n) for n in range(14, 17)]
    tasks += [day.flood(account(n), ("manychat_content", 1000), 3600.0 * 13 + n) for n in range(18, 21)]
    tasks += [day.flood(account(21), ("manychat_other", 300), 3600.0 * 14)]
    await asyncio.gather(*tasks)
    await day.pacing.close()
    return day


@pytest.fixture(scope="module")
def day():
    return in_virtual_time(a_day())


def test_no_limit_is_ever_exceeded(day):
    assert [one for one in day.platform.told() if one["exceeded"]] == []


def test_everything_was_sent_and_nothing_twice(day):
    assert day.calls == ACCOUNTS * 60 + sum(many for _, (_, many) in day.floods)


def test_where_more_was_wanted_the_pace_is_at_least_95_percent_of_what_is_allowed(day):
    too_slow = {flood: share for flood, share in day.reached().items() if share < 0.95}
    assert too_slow == {}
    assert max(day.reached().values()) <= 1.0


def test_nobodys_answer_waited_for_anothers_flood(day):
    """Longer than a place takes to become free, with all of them under way."""
    assert max(day.waits) < LATENCY[1] * 2 + BETWEEN[1] * 2


def test_a_long_way_to_the_platform_costs_its_share_of_each_window_and_no_limit():
    """A call counts until a window after its end: of a second's limit that gives a sixth away, of an hour's nothing."""

    async def scene():
        day = Day((0.05, 0.2))
        await asyncio.gather(
            day.flood(account(1), ("media", 200), 1.0), day.flood(account(2), ("private_reply", 1600), 2.0)
        )
        return day

    day = in_virtual_time(scene())
    assert day.platform.exceeded == 0
    shares = {flood[0]: share for (_, flood), share in day.reached().items()}
    assert shares["media"] > 0.8
    assert shares["private_reply"] > 0.99


if __name__ == "__main__":
    spent = in_virtual_time(a_day())
    for (who, (name, many)), share in sorted(spent.reached().items(), key=lambda one: one[1]):
        sys.stdout.write(f"{share:6.1%}  {name:18} {many:5} of {who}\n")
    sys.stdout.write(f"{spent.calls} calls, {spent.platform.exceeded} above a limit, ")
    sys.stdout.write(f"longest wait of an answer {max(spent.waits) * 1000:.0f} ms\n")
