"""The arithmetic of a limit: whatever arrives when, no window at the platform ever holds more."""

import math

from hypothesis import given
from hypothesis import strategies as st

from delivery.pace.allowance import Allowance, cooling_of
from devkit.sandbox.rates import Rates


@given(chance=st.randoms(use_true_random=False), calls=st.integers(1, 4), seconds=st.sampled_from([0.5, 1.0, 5.0]))
def test_no_window_at_the_platform_holds_more_however_long_calls_take_to_get_there(chance, calls, seconds):
    """Three accounts; a call arrives anywhere between its beginning and its end, or is not made after all."""
    allowances = [Allowance(calls, seconds) for _ in range(3)]
    events, now = [], 0.0
    for _ in range(60):
        now += chance.uniform(0, seconds)
        lasts, share, made = chance.uniform(0, 2 * seconds), chance.random(), chance.random() < 0.8
        events.append((now, "begin", chance.randrange(3), lasts, share, made))
    arrived: list[tuple[float, int]] = []
    while events:
        events.sort(key=lambda event: event[0])
        now, what, who, *rest = events.pop(0)
        if what == "begin":
            lasts, share, made = rest
            number = allowances[who].take(now)
            if number is None:
                continue
            if made:
                arrived.append((now + lasts * share, who))
            events.append((now + lasts, "end" if made else "give_back", who, number))
        elif what == "end":
            allowances[who].end(rest[0], now)
        else:
            allowances[who].give_back(rest[0])
    platform = Rates(enforce=False)
    for at, who in sorted(arrived):
        platform.allows("send", str(who), limit=calls, seconds=seconds, now=at)
    assert platform.exceeded == 0


@given(calls=st.integers(1, 20), seconds=st.sampled_from([1.0, 60.0]), wanted=st.integers(1, 100))
def test_whoever_asks_again_when_told_reaches_the_whole_pace(calls, seconds, wanted):
    allowance, now = Allowance(calls, seconds), 0.0
    for _ in range(wanted):
        now += allowance.wait(now)
        number = allowance.take(now)
        assert number is not None
        allowance.end(number, now)
    assert now <= (wanted - 1) // calls * cooling_of(seconds) + 1e-6


@given(calls=st.integers(1, 5), took=st.integers(0, 12), ahead=st.integers(0, 20))
def test_the_wait_of_somebody_further_back_is_when_their_turn_comes(calls, took, ahead):
    allowance = Allowance(calls, 1.0)
    for _ in range(took):
        number = allowance.take(0.0, beyond=True)
        allowance.end(number, 0.0)
    told, now = allowance.wait(0.0, ahead), 0.0
    for _ in range(ahead + 1):
        now += allowance.wait(now)
        number = allowance.take(now)
        allowance.end(number, now)
    assert math.isclose(told, now, abs_tol=1e-6)


def test_a_call_that_was_not_made_counts_nowhere():
    allowance = Allowance(1, 3600.0)
    number = allowance.take(0.0)
    assert allowance.take(0.0) is None
    allowance.give_back(number)
    again = allowance.take(0.0)
    assert again is not None
    allowance.end(number, 0.0)
    allowance.give_back(number)
    assert allowance.count(0.0) == 1


def test_a_call_counts_while_it_is_made_and_a_window_after_its_end():
    allowance = Allowance(2, 10.0)
    number = allowance.take(0.0)
    other = allowance.take(1.0)
    allowance.end(other, 2.0)
    assert dict(allowance.counted(5.0)) == {number: math.inf, other: 2.0 + cooling_of(10.0) - 5.0}
    assert dict(allowance.counted(13.0)) == {number: math.inf}
