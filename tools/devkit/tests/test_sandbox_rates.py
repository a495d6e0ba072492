"""The sandbox counts what meets in any window, exactly, and shows it."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar.testing import AsyncTestClient

from devkit.sandbox.app import create_sandbox
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.rates import Rates
from devkit.sandbox.settings import SandboxSettings

ACCOUNT = "17841400000000001"


@given(
    gaps=st.lists(st.floats(0, 1.5, allow_subnormal=False), max_size=60),
    limit=st.integers(1, 5),
    seconds=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_a_call_is_above_the_limit_exactly_when_the_window_that_ends_with_it_holds_more(gaps, limit, seconds):
    rates, times, above = Rates(enforce=False), [], 0
    now = 1000.0
    for gap in gaps:
        now += gap
        times.append(now)
        above += sum(now - seconds < time <= now for time in times) > limit
        assert rates.allows("send", "a", limit=limit, seconds=seconds, now=now)
    assert rates.exceeded == above


@given(gaps=st.lists(st.floats(0, 1.5, allow_subnormal=False), max_size=60), limit=st.integers(1, 5))
def test_an_enforced_limit_lets_no_more_through_in_any_window(gaps, limit):
    rates, let = Rates(enforce=True), []
    now = 1000.0
    for gap in gaps:
        now += gap
        if rates.allows("send", "a", limit=limit, seconds=1.0, now=now):
            let.append(now)
    assert all(sum(end - 1.0 < time <= end for time in let) <= limit for end in let)
    assert rates.exceeded == len(gaps) - len(let)


def test_accounts_and_kinds_are_counted_apart_and_limits_can_be_others():
    rates = Rates(enforce=True)
    rates.set_limits({"send": (2, 10.0)})
    asked = [("send", "a"), ("send", "a"), ("send", "a"), ("send", "b"), ("read", "a")]
    let = [rates.allows(what, who, limit=1, seconds=1.0, now=5.0) for what, who in asked]
    assert let == [True, True, False, True, True]
    assert [(one["what"], one["who"], one["calls"], one["most"], one["exceeded"]) for one in rates.told()] == [
        ("send", "a", 3, 2, 1),
        ("send", "b", 1, 1, 0),
        ("read", "a", 1, 1, 0),
    ]
    rates.clear()
    assert (rates.exceeded, rates.told()) == (0, [])


@pytest.fixture
async def http() -> AsyncIterator[AsyncTestClient]:
    async with AsyncTestClient(create_sandbox(SandboxSettings(), now=lambda: 1_770_000_000.0)) as client:
        yield client


async def test_calls_above_a_limit_are_told_though_nothing_was_refused(http):
    for _ in range(3):
        answer = await http.get(
            f"/graph/v25.0/{ACCOUNT}/conversations",
            params={"user_id": "5", "platform": "instagram"},
            headers={"Authorization": "Bearer x"},
        )
        assert answer.status_code == 200
    told = (await http.get("/sandbox/rates")).json()
    assert (told["enforced"], told["exceeded"]) == (False, 1)
    (count,) = told["counts"]
    assert (count["what"], count["who"], count["limit"], count["seconds"]) == ("conversations", ACCOUNT, 2, 1)
    assert (count["calls"], count["most"], count["exceeded"]) == (3, 3, 1)
    assert count["first"] == count["last"] == 1_770_000_000.0


async def test_the_client_sets_limits_and_reads_the_counts(http):
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(http.app)) as client:
        sandbox = SandboxClient("http://sandbox", client)
        await sandbox.limit_rates(conversations=(5, 2.0))
        assert await sandbox.rates() == {"enforced": False, "exceeded": 0, "counts": []}
