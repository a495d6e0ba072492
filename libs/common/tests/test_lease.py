"""How long a replica may believe that it owns its partitions."""

import time

from common import clock
from common.kafka.lease import Lease


class Now:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def answering(now: Now, *, seconds: float, accepted: bool = True):
    async def heartbeat() -> bool:
        now.seconds += seconds
        return accepted

    return heartbeat


def test_who_never_joined_owns_nothing():
    assert not Lease(6, Now()).valid


def test_a_join_holds_for_a_session_and_no_longer():
    now = Now()
    lease = Lease(6, now)
    lease.renew()
    now.seconds += 5.9
    assert lease.valid
    now.seconds += 0.1
    assert not lease.valid


async def test_a_heartbeat_counts_from_when_it_was_sent():
    now = Now()
    lease = Lease(6, now)
    await lease.renew_by(answering(now, seconds=4))()
    now.seconds += 1.9
    assert lease.valid
    now.seconds += 0.1
    assert not lease.valid


async def test_a_refused_heartbeat_renews_nothing():
    now = Now()
    lease = Lease(6, now)
    await lease.renew_by(answering(now, seconds=0, accepted=False))()
    assert not lease.valid


async def test_a_late_answer_does_not_shorten_what_a_join_gave():
    now = Now()
    lease = Lease(6, now)

    async def heartbeat() -> bool:
        now.seconds += 5
        lease.renew()
        return True

    await lease.renew_by(heartbeat)()
    now.seconds += 5.9
    assert lease.valid


def test_a_lease_runs_out_while_the_machine_is_suspended(monkeypatch):
    """`time.monotonic` stands still meanwhile, and whoever woke up would act for partitions that others have."""
    boot = Now()
    monkeypatch.setattr(clock, "_BOOT_CLOCK", 7)
    monkeypatch.setattr(time, "clock_gettime", lambda one: boot.seconds if one == 7 else 0.0)
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    lease = Lease(6)
    lease.renew()
    assert lease.valid
    boot.seconds += 30
    assert not lease.valid
