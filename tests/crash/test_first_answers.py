"""The measure of fairness finds a delay and a silence, and takes no noise for one."""

import math

import pytest
from first_answers import MAX_RATIO, NOISE_SECONDS, UNDISTURBED, FirstAnswer, Phase, delays, max_p99
from hypothesis import given
from hypothesis import strategies as st

waits = st.lists(st.floats(0.01, 60.0), min_size=1, max_size=200)


def phase(trouble, waited):
    answers = (
        FirstAnswer(str(number), 100.0, None if math.isinf(one) else 100.0 + one) for number, one in enumerate(waited)
    )
    return Phase(trouble, tuple(answers))


@given(waits)
def test_an_equal_phase_is_no_delay(waited):
    assert delays(phase(UNDISTURBED, waited), [phase("flood", waited)]) == []


@given(waits, st.floats(0.0, NOISE_SECONDS - 0.01))
def test_noise_is_no_delay(waited, noise):
    assert delays(phase(UNDISTURBED, waited), [phase("flood", [one + noise for one in waited])]) == []


@given(waits, st.data())
def test_a_p99_beyond_the_promise_is_found(waited, data):
    undisturbed = phase(UNDISTURBED, waited)
    beyond = data.draw(st.floats(1.0, 100.0)) + max_p99(undisturbed)
    (found,) = delays(undisturbed, [phase("flood", [*waited, *[beyond] * (1 + len(waited) // 50)])])
    assert (found.trouble, found.unanswered) == ("flood", 0)
    assert found.p99 == pytest.approx(beyond)


@given(waits)
def test_one_customer_without_an_answer_is_found_among_however_many(waited):
    (found,) = delays(phase(UNDISTURBED, waited), [phase("typo", [*waited * 3, math.inf])])
    assert found.unanswered == 1
    assert "1 customers were not answered" in str(found)


def test_nothing_can_be_told_from_an_undisturbed_phase_that_was_disturbed():
    (found,) = delays(phase(UNDISTURBED, [0.2, math.inf]), [phase("flood", [0.2])])
    assert found.trouble == UNDISTURBED


def test_a_slow_machine_is_measured_by_its_own_pace():
    undisturbed = phase(UNDISTURBED, [4.0] * 100)
    assert max_p99(undisturbed) == MAX_RATIO * 4.0
    assert delays(undisturbed, [phase("flood", [7.9] * 100)]) == []


def test_a_percentile_is_one_of_the_waits():
    hundred = phase("flood", [float(n) for n in range(1, 101)])
    assert (hundred.percentile(0.5), hundred.percentile(0.99), hundred.percentile(1.0)) == (50.0, 99.0, 100.0)
    with pytest.raises(ValueError, match="no customer wrote"):
        phase("flood", []).percentile(0.5)
