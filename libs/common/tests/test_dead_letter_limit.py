"""Whose fault it is when records die, and what that stops."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.dead_letter_limit import (
    BUCKET_SECONDS,
    FEWEST,
    MIN_ACCOUNTS,
    WINDOW_SECONDS,
    DeadLetterLimit,
    Decision,
)
from common.kafka.keys import account_of

SHOP, BAKERY, FLORIST, CHEMIST = b"shop", b"bakery", b"florist", b"chemist"


def deaths_until_refused(limit: DeadLetterLimit, accounts: list[bytes], most: int = 2_000) -> tuple[int, Decision]:
    """Let records of these accounts die in turn until one may not; return how many died, and the last decision."""
    for count in range(most):
        account = accounts[count % len(accounts)]
        decision = limit.decide(account, 0.0)
        if decision is not Decision.PUBLISH:
            return count, decision
        limit.died(account, 0.0)
    return most, Decision.PUBLISH


def after(percent: float, **handled: int) -> DeadLetterLimit:
    """Return a limit that has seen so many records of each account handled."""
    limit = DeadLetterLimit(percent)
    for account, count in handled.items():
        for _ in range(count):
            limit.handled(account.encode(), 0.0)
    return limit


def decisions(limit: DeadLetterLimit, accounts: Iterable[bytes]) -> set[Decision]:
    found = set()
    for account in accounts:
        decision = limit.decide(account, 0.0)
        found.add(decision)
        if decision is Decision.PUBLISH:
            limit.died(account, 0.0)
    return found


def test_a_few_deaths_are_no_bad_deploy_however_large_their_share():
    assert deaths_until_refused(DeadLetterLimit(20), [SHOP]) == (FEWEST, Decision.WAIT)


@given(st.integers(0, 2000), st.sampled_from([1.0, 20.0, 50.0]))
def test_no_more_than_the_share_of_a_single_account_ever_dies(handled, percent):
    died, decision = deaths_until_refused(after(percent, shop=handled), [SHOP], most=5_000)
    assert died <= max(FEWEST, percent / 100 * (handled + died))
    assert decision is Decision.WAIT


def test_one_account_whose_platform_fails_it_does_not_stop_the_others():
    assert deaths_until_refused(after(20, bakery=1), [SHOP], most=500) == (500, Decision.PUBLISH)


@given(st.integers(1, MIN_ACCOUNTS - 1), st.dictionaries(st.sampled_from("vwxyz"), st.integers(0, 50)))
def test_no_tenant_with_fewer_accounts_than_the_evidence_needs_ever_stops_a_partition(tenants, handled):
    limit = after(20, **handled)
    dying = [b"dying%d" % number for number in range(tenants)]
    assert Decision.STOP not in decisions(limit, dying * 300)


@given(st.integers(MIN_ACCOUNTS, 6), st.integers(1, 5))
def test_accounts_that_are_not_most_of_those_active_stop_no_partition(dying, more):
    limit = after(20, **{f"well{number}": 1 for number in range(dying + more)})
    assert decisions(limit, [b"dying%d" % number for number in range(dying)] * 200) == {Decision.PUBLISH}


@given(st.integers(MIN_ACCOUNTS, 30), st.integers(0, 2))
def test_a_bad_deploy_stops_the_partition_after_a_few_deaths(dying, well):
    limit = after(20, **{f"well{number}": 1 for number in range(well)})
    died, decision = deaths_until_refused(limit, [b"dying%d" % number for number in range(dying)])
    assert decision is Decision.STOP
    assert died <= 2 * FEWEST


@given(st.integers(1, 100))
def test_a_fault_that_kills_the_records_of_all_stops_the_partition_at_the_share_of_the_others(handled):
    limit = after(20, bakery=handled)
    died, decision = deaths_until_refused(limit, [SHOP, BAKERY, FLORIST, CHEMIST])
    assert decision is Decision.STOP
    assert died <= 2 * (max(FEWEST, handled // 2) + 4)


def test_two_accounts_that_die_with_nobody_handled_beside_them_wait_for_evidence_and_stop_nothing():
    limit = DeadLetterLimit(20)
    assert deaths_until_refused(limit, [SHOP, BAKERY]) == (2 * FEWEST, Decision.WAIT)
    assert limit.decide(FLORIST, 0.0) is Decision.STOP, "the third account is the evidence"


def test_an_account_that_waits_goes_on_to_the_dead_letters_once_anothers_record_is_handled():
    limit = DeadLetterLimit(20)
    deaths_until_refused(limit, [SHOP])
    limit.handled(BAKERY, 0.0)
    assert limit.decide(SHOP, 0.0) is Decision.PUBLISH


def test_what_died_long_ago_is_forgotten():
    limit = DeadLetterLimit(20)
    for _ in range(FEWEST):
        limit.died(SHOP, 0.0)
    assert limit.decide(SHOP, WINDOW_SECONDS) is Decision.WAIT
    assert limit.decide(SHOP, WINDOW_SECONDS + BUCKET_SECONDS) is Decision.PUBLISH


def test_what_others_had_handled_long_ago_excuses_nobody():
    limit = after(20, bakery=50)
    later = WINDOW_SECONDS + BUCKET_SECONDS
    for _ in range(FEWEST):
        limit.died(SHOP, later)
    assert limit.decide(SHOP, later) is Decision.WAIT


def test_a_hundred_percent_never_stops():
    limit = DeadLetterLimit(100)
    assert deaths_until_refused(limit, [SHOP, BAKERY, FLORIST], most=500) == (500, Decision.PUBLISH)


@pytest.mark.parametrize("key", [b"17:4", b"17"])
def test_a_record_is_its_accounts_whose_conversation_it_belongs_to(key):
    assert account_of(key) == b"17"


def test_a_record_without_a_key_is_no_accounts():
    assert [account_of(key) for key in (b"", None)] == [b"", b""]
