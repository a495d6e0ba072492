"""When too many records die."""

from hypothesis import given
from hypothesis import strategies as st

from common.kafka.dead_letter_limit import BUCKET_SECONDS, FEWEST, WINDOW_SECONDS, DeadLetterLimit


def deaths_until_stopped(limit: DeadLetterLimit, handled: int, most: int = 10_000) -> int:
    for _ in range(handled):
        limit.handled(0.0)
    for count in range(most):
        if limit.would_exceed(0.0):
            return count
        limit.died(0.0)
    return most


def test_a_few_deaths_are_no_bad_deploy_however_large_their_share():
    assert deaths_until_stopped(DeadLetterLimit(20), handled=0) == FEWEST


@given(st.integers(0, 2000), st.sampled_from([1.0, 20.0, 50.0]))
def test_no_more_than_the_share_ever_dies(handled, percent):
    died = deaths_until_stopped(DeadLetterLimit(percent), handled)
    assert died <= max(FEWEST, percent / 100 * (handled + died))


def test_what_died_long_ago_is_forgotten():
    limit = DeadLetterLimit(20)
    for _ in range(FEWEST):
        limit.died(0.0)
    assert limit.would_exceed(WINDOW_SECONDS)
    assert not limit.would_exceed(WINDOW_SECONDS + BUCKET_SECONDS)


def test_a_hundred_percent_never_stops():
    assert deaths_until_stopped(DeadLetterLimit(100), handled=0, most=500) == 500
