"""The platform's clock, as its answers show it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.clock import ManualClock, Monotonic
from common.platform_clock import EXPIRES_AFTER, PlatformClock, RemoteClock

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Machines:
    """Our machine, whose clock is `ahead` seconds ahead of the platform's, and the platform."""

    def __init__(self, ahead=0.0):
        self.ours, self.ticks = ManualClock(NOON + timedelta(seconds=ahead)), 1000.0
        self.theirs = ManualClock(NOON)
        self.remote = RemoteClock()
        self.clock = PlatformClock(self.ours, [self.remote], lambda: Monotonic(self.ticks))

    def wait(self, seconds):
        self.ours.advance(timedelta(seconds=seconds))
        self.theirs.advance(timedelta(seconds=seconds))
        self.ticks += seconds

    def ask(self, there=0.1, back=0.1):
        sent = Monotonic(self.ticks)
        self.wait(there)
        date = format_datetime(self.theirs.now().replace(microsecond=0), usegmt=True)
        self.wait(back)
        self.remote.observe(date, sent, Monotonic(self.ticks))

    @property
    def estimate_error(self):
        estimate = self.ours.now() - timedelta(seconds=self.clock.offset)
        return abs((estimate - self.theirs.now()).total_seconds())

    @property
    def error(self):
        return abs((self.clock.now() - self.theirs.now()).total_seconds())


@given(
    ahead=st.floats(-600, 600),
    calls=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 70)), min_size=1, max_size=10),
)
def test_it_is_right_to_within_a_call_and_a_second_wherever_ours_stands(ahead, calls):
    machines, so_far = Machines(ahead), []
    for there, back, pause in calls:
        machines.ask(there, back)
        so_far.append(there + back)
        assert machines.estimate_error <= min(so_far) + 1 + 0.2
        assert machines.error <= max(so_far) + 1 + 0.2  # it never goes back
        machines.wait(pause)


@given(ahead=st.floats(-600, 600))
def test_it_is_trusted_only_near_ours(ahead):
    machines = Machines(ahead)
    assert not machines.clock.trusted
    machines.ask()
    assert machines.clock.trusted == (abs(machines.clock.offset) <= 10)
    if abs(ahead) > 11 or abs(ahead) < 9:
        assert machines.clock.trusted == (abs(ahead) < 10)


def test_without_an_answer_it_is_our_own():
    machines = Machines(90)
    assert machines.clock.offset is None
    assert machines.clock.now() == machines.ours.now()


@pytest.mark.parametrize("header", [None, "", "yesterday", "Sun, 99 Mar 2026 12:00:00 GMT", "0"])
def test_a_header_that_is_none_changes_nothing(header):
    machines = Machines(90)
    machines.remote.observe(header, Monotonic(999.0), Monotonic(1000.0))
    assert machines.clock.offset is None
    machines.ask()
    machines.remote.observe(header, Monotonic(999.0), Monotonic(machines.ticks))
    assert machines.error <= 1


def test_our_own_clock_may_be_set_meanwhile():
    machines = Machines(0)
    machines.ask()
    machines.ours.advance(timedelta(seconds=90))
    assert machines.error <= 1
    assert machines.clock.offset == pytest.approx(90, abs=1.3)
    assert not machines.clock.trusted


def test_a_platform_clock_that_was_set_is_followed():
    machines = Machines(0)
    machines.ask()
    machines.theirs.advance(timedelta(seconds=30))
    machines.ask()
    assert machines.error <= 1


@given(calls=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 70)), min_size=1, max_size=10))
def test_a_machine_that_agrees_keeps_its_own_clock_which_has_no_steps(calls):
    machines = Machines(0)
    for there, back, pause in calls:
        machines.ask(there, back)
        machines.wait(pause)
        assert abs(machines.clock.now() - machines.ours.now()) < timedelta(milliseconds=1)
        assert machines.clock.offset == pytest.approx(0, abs=0.001)


@given(
    ahead=st.floats(-600, 600),
    calls=st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 70)), min_size=1, max_size=10),
)
def test_an_estimate_that_gets_better_never_goes_back(ahead, calls):
    machines = Machines(ahead)
    machines.ask()
    last = machines.clock.now()
    for there, back, pause in calls:
        machines.ask(there, back)
        assert machines.clock.now() >= last
        last = machines.clock.now()
        machines.wait(pause)


def test_an_answer_that_took_long_says_too_little():
    machines = Machines(0)
    machines.ask(there=9.0)
    assert machines.clock.offset is None


def test_an_estimate_that_nothing_confirms_expires():
    machines = Machines(90)
    machines.ask()
    machines.wait(EXPIRES_AFTER + 1)
    assert machines.clock.offset is None
    machines.ask()
    assert machines.error <= 1


def test_a_platform_that_is_hours_away_does_not_tell_the_time():
    machines = Machines(7200)
    machines.ask()
    assert not machines.clock.trusted
    assert machines.clock.now() == machines.ours.now()


def test_the_first_peer_that_is_known_counts():
    machines = Machines(90)
    other = RemoteClock()
    clock = PlatformClock(machines.ours, [RemoteClock(), other, machines.remote], lambda: Monotonic(machines.ticks))
    machines.ask()
    assert clock.offset == pytest.approx(90, abs=1)
    other.observe_time(machines.ours.now(), Monotonic(machines.ticks), Monotonic(machines.ticks), precision=0.001)
    assert clock.offset == pytest.approx(0, abs=0.01)
