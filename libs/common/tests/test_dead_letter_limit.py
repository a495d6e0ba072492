"""When too many records die."""

from hypothesis import given
from hypothesis import strategies as st

from common.kafka.dead_letter_limit import BUCKET_SECONDS, FEWEST, WINDOW_SECONDS, DeadLetterLimit
from common.kafka.keys import account_of

SHOP, BAKERY, FLORIST = b"shop", b"bakery", b"florist"


def deaths_until_stopped(limit: DeadLetterLimit, accounts: list[bytes], most: int = 2_000) -> int:
    """Let records of these accounts die in turn."""
    for count in range(most):
        account = accounts[count % len(accounts)]
        if limit.would_exceed(account, 0.0):
            return count
        limit.died(account, 0.0)
    return most


def after(percent: float, **handled: int) -> DeadLetterLimit:
    """Return a limit that has seen so many records of each account handled."""
    limit = DeadLetterLimit(percent)
    for account, count in handled.items():
        for _ in range(count):
            limit.handled(account.encode(), 0.0)
    return limit


def test_a_few_deaths_are_no_bad_deploy_however_large_their_share():
    assert deaths_until_stopped(DeadLetterLimit(20), [SHOP]) == FEWEST


@given(st.integers(0, 2000), st.sampled_from([1.0, 20.0, 50.0]))
def test_no_more_than_the_share_of_a_single_account_ever_dies(handled, percent):
    died = deaths_until_stopped(after(percent, shop=handled), [SHOP])
    assert died <= max(FEWEST, percent / 100 * (handled + died))


def test_one_account_whose_platform_fails_it_does_not_stop_the_others():
    assert deaths_until_stopped(after(20, bakery=1), [SHOP], most=500) == 500


@given(st.integers(1, 100))
def test_a_fault_that_kills_the_records_of_all_stops_the_partition_at_the_share_of_the_others(handled):
    limit = after(20, bakery=handled)
    died = deaths_until_stopped(limit, [SHOP, BAKERY])
    assert died <= 2 * (max(FEWEST, handled // 4) + 1)


def test_accounts_that_die_with_nobody_handled_beside_them_are_not_told_from_a_bad_deploy():
    assert deaths_until_stopped(after(20, shop=3), [SHOP, BAKERY]) == FEWEST
    assert deaths_until_stopped(DeadLetterLimit(20), [SHOP, BAKERY, FLORIST]) == FEWEST


def test_what_died_long_ago_is_forgotten():
    limit = DeadLetterLimit(20)
    for _ in range(FEWEST):
        limit.died(SHOP, 0.0)
    assert limit.would_exceed(SHOP, WINDOW_SECONDS)
    assert not limit.would_exceed(SHOP, WINDOW_SECONDS + BUCKET_SECONDS)


def test_what_others_had_handled_long_ago_excuses_nobody():
    limit = after(20, bakery=50)
    later = WINDOW_SECONDS + BUCKET_SECONDS
    for _ in range(FEWEST):
        limit.died(SHOP, later)
    assert limit.would_exceed(SHOP, later)


def test_a_hundred_percent_never_stops():
    assert deaths_until_stopped(DeadLetterLimit(100), [SHOP, BAKERY], most=500) == 500


def test_a_record_is_its_accounts_whose_conversation_it_belongs_to():
    assert [account_of(key) for key in (b"17:4", b"17", b"", None)] == [b"17", b"17", b"", b""]
