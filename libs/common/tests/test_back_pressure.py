"""Which partitions are paused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.kafka.back_pressure import to_pause

HELD = st.dictionaries(st.integers(0, 11), st.integers(0, 200), max_size=12)
FULL_ENOUGH = 1000
"""Records that arrive at every partition in turn; more than any bound below takes."""


def filled(bound: int, hot: list[int], partitions: int) -> dict[int, int]:
    """Let records that nobody finishes come to the `hot` of so many partitions, until nothing more is read."""
    held, paused = dict.fromkeys(range(partitions), 0), frozenset[int]()
    for partition in hot * FULL_ENOUGH:
        if partition not in paused:
            held[partition] += 1
        full, roomy = to_pause(held, paused, bound=bound)
        paused = (paused | full) - roomy
    return held


@given(HELD, st.sets(st.integers(0, 11)), st.integers(1, 3000))
def test_what_holds_nothing_is_read_and_what_holds_as_much_as_is_left_is_not(held, paused, bound):
    full, roomy = to_pause(held, frozenset(paused), bound=bound)
    now = (paused | full) - roomy
    left = max(1, bound - sum(held.values()))
    assert not any(held.get(partition, 0) == 0 for partition in now)
    assert all(partition in now for partition, count in held.items() if count >= left)
    assert not full & roomy


@given(st.integers(1, 400), st.integers(1, 12))
def test_all_partitions_together_stay_inside_the_bound_but_for_one_record_each(bound, partitions):
    held = filled(bound, list(range(partitions)), partitions)
    assert sum(held.values()) <= max(bound, partitions)


@pytest.mark.parametrize("hot", [1, 2, 3, 11])
def test_partitions_that_fill_up_leave_as_much_room_as_one_of_them_takes(hot):
    held = filled(600, list(range(hot)), 12)
    expected = 600 // (hot + 1)
    assert all(abs(held[partition] - expected) <= 1 for partition in range(hot))


@given(st.integers(2, 400), st.integers(1, 12))
def test_a_paused_partition_is_read_again_when_it_has_worked_off_what_it_held(bound, partitions):
    held = filled(bound, list(range(partitions)), partitions)
    paused = frozenset(partition for partition, count in held.items() if count)
    _, roomy = to_pause(dict.fromkeys(held, 0), paused, bound=bound)
    assert roomy == paused
