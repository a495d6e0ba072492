"""Whoever asks for nothing makes room, first whoever has most of it; a connection being answered never does."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.open_connections import OpenConnectionLimits, OpenConnections, source_of_address


def opened(total=4, per_source=0):
    return OpenConnections(OpenConnectionLimits(total, per_source))


def test_beyond_the_total_the_oldest_idle_one_of_the_largest_source_is_closed():
    known = opened()
    for number in range(3):
        assert known.add(("silent", number), "192.0.2.1") is None
    assert known.add("other", "192.0.2.2") is None
    assert known.add("new", "192.0.2.3") == ("silent", 0)


def test_a_busy_one_never_makes_room_and_where_all_are_the_new_one_does():
    known = opened(total=2)
    for name in "ab":
        known.add(name, "192.0.2.1")
        known.mark_busy(name)
    assert known.add("c", "192.0.2.2") == "c"
    known.mark_idle("b")
    assert known.add("d", "192.0.2.2") == "b"


def test_beyond_its_share_a_source_makes_room_itself():
    known = opened(total=100, per_source=2)
    for number in range(2):
        assert known.add(number, "192.0.2.1") is None
    assert known.add(2, "192.0.2.1") == 0
    assert known.add("other", "192.0.2.2") is None


@given(st.lists(st.tuples(st.sampled_from(["add", "busy", "idle", "remove"]), st.integers(0, 9), st.integers(0, 3))))
def test_the_bounds_hold_in_any_order_of_things(steps):
    known, here, busy = opened(total=5, per_source=3), {}, set()
    for number, (what, connection, source) in enumerate(steps):
        if what == "add":
            new = (number, connection)
            here[new] = str(source)
            victim = known.add(new, str(source))
            if victim is not None:
                assert victim not in busy
                del here[victim]
        else:
            known_one = next((one for one in here if one[1] == connection), None)
            if known_one is None:
                continue
            if what == "busy":
                known.mark_busy(known_one)
                busy.add(known_one)
            elif what == "idle":
                known.mark_idle(known_one)
                busy.discard(known_one)
            else:
                known.remove(known_one)
                known.remove(known_one)
                del here[known_one]
                busy.discard(known_one)
        assert len(known) == len(here) <= 5
        assert all(count <= 3 for count in Counter(here.values()).values())


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        (None, "unknown"),
        ("", "unknown"),
        ("a name", "unknown"),
    ],
)
def test_an_address_is_counted_by_its_customer(address, source):
    assert source_of_address(address) == source
