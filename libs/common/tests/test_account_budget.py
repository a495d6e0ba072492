"""What one account may use of what all share: a flood of one leaves the others theirs, in every budget there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.account_budget import WAITING_SHARE, WORKING_SHARE, AccountBudget, RecordBudget
from common.kafka.dead_letter_limit import DeadLetterLimit, Decision
from common.kafka.slots import Slots

LOUD, QUIET = b"loud", b"quiet"
MIB = 1024 * 1024
SHARES = st.sampled_from([WAITING_SHARE, 0.5, 1.0, WORKING_SHARE])
AMOUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 50)), max_size=200)


def flood(budget: AccountBudget[bytes], account: bytes, amount: int = 1) -> int:
    """Use as much as an account may, and return how much that is."""
    while budget.admits(account, amount):
        budget.take(account, amount)
    return budget.taken_by(account)


def _places() -> tuple[bool, bool]:
    slots = Slots(128)
    while slots.take(("t", LOUD)):
        pass
    return slots.taken < 128, slots.take(("t", QUIET))


def _records() -> tuple[bool, bool]:
    budget = RecordBudget(max_records=5000, max_bytes=32 * MIB)
    while budget.admits("p", LOUD, 1000):
        budget.take("p", LOUD, 1000)
    return budget.records.taken < 5000, budget.admits("p", QUIET, 1000)


def _bytes() -> tuple[bool, bool]:
    budget = RecordBudget(max_records=5000, max_bytes=32 * MIB)
    while budget.admits("p", LOUD, 60_000):
        budget.take("p", LOUD, 60_000)
    return budget.bytes.taken < 32 * MIB, budget.admits("p", QUIET, 60_000) and budget.admits("another", QUIET, 9 * MIB)


def _dead_letters() -> tuple[bool, bool]:
    limit = DeadLetterLimit(20)
    decision = Decision.PUBLISH
    for _ in range(1000):
        decision = limit.decide(LOUD, 0.0)
        if decision is not Decision.PUBLISH:
            break
        limit.died(LOUD, 0.0)
    return decision is Decision.WAIT, limit.decide(QUIET, 0.0) is Decision.PUBLISH


@pytest.mark.parametrize("budget", [_places, _records, _bytes, _dead_letters])
def test_a_flood_of_one_account_is_bounded_and_the_others_next_record_is_admitted_at_once(budget):
    bounded, admitted = budget()
    assert bounded
    assert admitted


@given(st.integers(1, 500), SHARES, AMOUNTS)
def test_no_budget_is_exceeded_by_more_than_one_amount_and_nobody_is_refused_while_it_has_room(total, share, wanted):
    budget: AccountBudget[int] = AccountBudget(total, share=share)
    for account, amount in wanted:
        if budget.admits(account, amount):
            assert budget.left > 0
            budget.take(account, amount)
        elif budget.taken_by(account) == 0:
            assert budget.left <= 0
    assert budget.taken <= total + max((amount for _, amount in wanted), default=0) - 1


@given(st.integers(100, 5000), SHARES, st.integers(1, 6))
def test_accounts_that_flood_leave_room_for_one_more(total, share, loud):
    budget: AccountBudget[bytes] = AccountBudget(total, share=share)
    for number in range(loud):
        flood(budget, b"loud%d" % number)
    if share < WORKING_SHARE or loud == 1:
        assert budget.admits(QUIET)


def test_the_shares_are_what_their_names_say():
    assert flood(AccountBudget(128, share=WORKING_SHARE), LOUD) == pytest.approx(96, abs=1)
    assert flood(AccountBudget(5000, share=WAITING_SHARE), LOUD) == pytest.approx(1000, abs=1)


@given(AMOUNTS)
def test_what_is_given_back_leaves_no_trace_and_nobody_gives_back_what_they_did_not_take(wanted):
    budget: AccountBudget[int] = AccountBudget(100, share=1)
    for account, amount in wanted:
        budget.take(account, amount)
    for account, amount in wanted:
        budget.release(account, amount)
    assert budget.taken == 0
    assert not budget._each
    with pytest.raises(ValueError, match="given back"):
        budget.release(0)


def test_the_largest_record_there_is_goes_before_nobody_but_never_waits_for_ever():
    budget = RecordBudget(max_records=10, max_bytes=MIB)
    assert budget.admits("p", LOUD, 9 * MIB)
    budget.take("p", LOUD, 9 * MIB)
    assert not budget.admits("another", QUIET, 1)
    budget.release("p", LOUD, 9 * MIB)
    assert budget.admits("another", QUIET, 1)


def test_more_is_fetched_only_when_half_of_an_accounts_share_is_free():
    budget: AccountBudget[bytes] = AccountBudget(5000, share=WAITING_SHARE)
    taken = flood(budget, LOUD)
    assert not budget.is_half_free(LOUD)
    budget.release(LOUD, taken // 3)
    assert not budget.is_half_free(LOUD)
    budget.release(LOUD, taken // 3)
    assert budget.is_half_free(LOUD)


@given(st.integers(200, 2000), st.integers(1, 5))
def test_the_records_of_any_number_of_accounts_in_full_partitions_leave_room_for_another_partition(total, full):
    budget = RecordBudget(max_records=total, max_bytes=total * MIB)
    for partition in range(full):
        for account in range(300):
            if budget.admits(partition, b"%d" % account, MIB // 2):
                budget.take(partition, b"%d" % account, MIB // 2)
    assert budget.admits("another", QUIET, 1000)
