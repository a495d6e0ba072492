"""A key has its requests a minute, no other key's are touched, and memory is bounded."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from common.request_rate import MAX_KEYS, MINUTE, RequestRate


class Clock:
    """Seconds that a test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_each_key_has_a_share_of_its_own():
    rate = RequestRate(2, now=Clock())
    assert [rate.exceeded("a") for _ in range(4)] == [False, False, True, True]
    assert not rate.exceeded("b")


def test_a_minute_later_the_key_may_again_and_not_twice_as_much_around_the_turn_of_a_minute():
    clock = Clock()
    rate = RequestRate(60, now=clock)
    clock.now = 60 * 17 - 0.5
    assert sum(not rate.exceeded("a") for _ in range(100)) == 60
    clock.now += 1
    assert sum(not rate.exceeded("a") for _ in range(100)) <= 1
    clock.now += MINUTE
    assert sum(not rate.exceeded("a") for _ in range(100)) >= 59


def test_no_more_keys_than_the_bound_are_remembered():
    rate = RequestRate(1, now=Clock())
    for number in range(MAX_KEYS + 500):
        assert not rate.exceeded(str(number))
    assert len(rate._counts) == MAX_KEYS
    assert rate.exceeded(str(MAX_KEYS + 499))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 40)), max_size=200), st.integers(1, 20))
def test_no_key_ever_gets_more_than_its_bound_in_a_clock_minute_nor_twice_it_in_any(steps, bound):
    clock = Clock()
    rate = RequestRate(bound, now=clock)
    allowed = defaultdict(list)
    for key, wait in steps:
        clock.now += wait
        if not rate.exceeded(key):
            allowed[key].append(clock.now)
    for times in allowed.values():
        for at in times:
            assert sum(at <= one < at + MINUTE for one in times) < 2 * bound + 1
            assert sum(one // MINUTE == at // MINUTE for one in times) <= bound
