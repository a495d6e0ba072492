"""Bodies that are being read: small ones always have room, and whoever sends much slowly makes it."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.uploads import SMALL_BODY_BYTES, Uploads

KIB = 1024
ROOM = 1024 * KIB


class Rig:
    """Uploads on a clock of the test's, and who was evicted."""

    def __init__(self):
        self.now = 0.0
        self.evicted = []
        self.uploads = Uploads(ROOM, now=lambda: self.now)

    def begin(self, source, name):
        return self.uploads.begin(source, lambda: self.evicted.append(name))


def test_the_slowest_large_body_of_the_largest_source_makes_room():
    rig = Rig()
    slow = rig.begin("a", "slow")
    rig.uploads.grow(slow, 300 * KIB)
    rig.now = 5
    other = rig.begin("b", "other")
    rig.uploads.grow(other, 400 * KIB)
    quick = rig.begin("a", "quick")
    rig.uploads.grow(quick, 300 * KIB)
    assert rig.evicted == []
    rig.now = 6
    rig.uploads.grow(other, 100 * KIB)
    assert rig.evicted == ["slow"]
    assert slow.evicted


def test_small_bodies_have_room_whatever_else_is_read():
    rig = Rig()
    for number in range(17):
        rig.uploads.grow(rig.begin("a", number), 60 * KIB)
    rig.uploads.grow(rig.begin("b", "big"), ROOM)
    assert rig.evicted == []


def test_a_body_that_is_all_there_is_makes_room_itself():
    rig = Rig()
    only = rig.begin("a", "only")
    rig.uploads.grow(only, ROOM + 1)
    assert rig.evicted == ["only"]
    rig.uploads.end(only)
    rig.uploads.end(only)
    assert rig.uploads.bytes == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "grow", "grow", "grow", "end"]),
            st.integers(0, 7),
            st.integers(1, 400 * KIB),
            st.floats(0, 3),
        )
    )
)
def test_the_room_is_never_exceeded_and_no_small_body_is_ever_evicted(steps):
    rig, here = Rig(), {}
    for what, name, size, wait in steps:
        rig.now += wait
        if what == "begin" and name not in here:
            here[name] = rig.begin(str(name % 3), name)
        elif what == "grow" and name in here and not here[name].evicted:
            rig.uploads.grow(here[name], size)
        elif what == "end" and name in here:
            rig.uploads.end(here.pop(name))
        taken = sum(one.size for one in here.values() if one.size > SMALL_BODY_BYTES and not one.evicted)
        assert taken <= ROOM
        assert all(one.size > SMALL_BODY_BYTES for one in here.values() if one.evicted)
        assert rig.uploads.bytes == sum(one.size for one in here.values())
