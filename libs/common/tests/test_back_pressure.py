"""Which partitions are paused."""

from hypothesis import given
from hypothesis import strategies as st

from common.kafka.back_pressure import share_of, to_pause

HELD = st.dictionaries(st.integers(0, 11), st.integers(0, 200), max_size=12)


@given(HELD, st.sets(st.integers(0, 11)), st.integers(1, 100))
def test_a_partition_is_paused_for_what_it_holds_itself_and_for_nothing_else(held, paused, share):
    full, roomy = to_pause(held, frozenset(paused), share=share)
    now = (paused | full) - roomy
    assert all(held.get(partition, 0) > share // 2 for partition in now)
    assert all(partition in now for partition, count in held.items() if count >= share)
    assert not full & roomy


@given(st.integers(1, 100_000), st.integers(0, 500))
def test_the_shares_of_all_partitions_stay_inside_the_bound(bound, partitions):
    assert share_of(bound, partitions) >= 1
    assert share_of(bound, partitions) * partitions <= max(bound, partitions)
