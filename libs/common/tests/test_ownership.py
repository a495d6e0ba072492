"""The fence: what was read is acted on only in its own epoch, under a valid lease, and begun outside a drain only."""

from hypothesis import given
from hypothesis import strategies as st

from common.kafka.lease import Lease
from common.kafka.ownership import Ownership


class Now:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def begun() -> Ownership:
    ownership = Ownership(Lease(10))
    ownership.begin()
    return ownership


@given(st.lists(st.sampled_from(["begin", "end", "drain", "end_drain", "read"])))
def test_what_was_read_is_ours_until_its_epoch_ends_and_never_again(steps):
    ownership, ours, lost = begun(), set(), set()
    for step in steps:
        match step:
            case "read":
                ours.add(ownership.epoch)
            case "drain":
                ownership.draining.set()
            case _:
                getattr(ownership, step)()
        if step in ("begin", "end"):
            lost, ours = lost | ours, set()
        assert all(ownership.owns(epoch) for epoch in ours)
        assert not any(ownership.owns(epoch) or ownership.may_act(epoch) for epoch in lost)
        assert not any(ownership.may_begin(epoch) for epoch in lost)
        assert all(ownership.may_begin(epoch) != ownership.draining.is_set() for epoch in ours)


def test_a_revocation_waits_for_the_coordinator_and_a_restart_of_the_intake_does_not():
    ownership = begun()
    assert ownership.assigned
    ownership.end()
    assert not ownership.assigned
    ownership.begin_again()
    assert ownership.assigned
    ownership.end()
    ownership.begin()
    assert ownership.assigned


def test_nothing_is_acted_on_once_the_lease_has_run_out_until_partitions_are_given_anew():
    now = Now()
    ownership = Ownership(Lease(10, now))
    ownership.begin()
    assert ownership.may_act(ownership.epoch)
    now.seconds = 10
    assert ownership.owns(ownership.epoch)
    assert not ownership.may_act(ownership.epoch)
    ownership.begin()
    assert ownership.may_act(ownership.epoch)


def test_what_began_under_a_drain_stays_ended_when_the_drain_is_over():
    ownership = begun()
    earlier = ownership.draining
    earlier.set()
    ownership.end_drain()
    assert earlier.is_set()
    assert not ownership.draining.is_set()
