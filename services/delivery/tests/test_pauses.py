"""Pauses: who waits for a limit, for how long, and that nobody else does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from common.clock import ManualClock, Monotonic, SteadyClock
from common.errors import Paced, Throttled
from common.platform_clock import PlatformClock, RemoteClock
from delivery.pace.pauses import FIRST_PAUSE, FOR_ANSWERS, LONGEST_PAUSE, PROBE_GAP, Bucket, PauseMetrics, Pauses
from delivery.platforms.usage import Pace

APP, SHOP, CALL = Bucket("graph"), Bucket("graph", "1"), Bucket("graph", "1", "send")


class Rig:
    def __init__(self, most=100):
        self.clock = ManualClock(datetime(2026, 3, 1, 12, tzinfo=UTC))
        self.registry = CollectorRegistry()
        self.pauses = Pauses(
            clock=self.clock, metrics=PauseMetrics(self.registry), apis=("graph", "manychat"), most=most
        )

    def check(self, api="graph", account="1", kind="send"):
        """Return how long a call has to wait; where it need not, it is made."""
        wait = self.pauses.wait(api, account, kind)
        if wait == 0:
            self.pauses.ask(api, account, kind)
        return wait

    def pass_time(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))

    def gauge(self, name, scope, api="graph"):
        return self.registry.get_sample_value(f"delivery_{name}_buckets", {"api": api, "scope": scope})


@pytest.fixture
def rig():
    return Rig()


@pytest.mark.parametrize(
    ("bucket", "waiting"),
    [
        (APP, {("graph", account, kind) for account in "12" for kind in ("send", "read")}),
        (SHOP, {("graph", "1", "send"), ("graph", "1", "read")}),
        (CALL, {("graph", "1", "send")}),
    ],
)
def test_a_pause_holds_back_all_it_is_about_and_nothing_else(rig, bucket, waiting):
    rig.pauses.throttled(bucket, 60.0)
    calls = {(api, account, kind) for api in ("graph", "manychat") for account in "12" for kind in ("send", "read")}
    assert {call for call in calls if rig.check(*call) > 0} == waiting


def test_the_platforms_own_time_is_waited_out(rig):
    rig.pauses.throttled(SHOP, 7.0)
    assert rig.check() == 7.0
    rig.pass_time(6.5)
    assert rig.check() == 0.5
    rig.pass_time(0.5)
    assert rig.check() == 0


def test_where_no_time_is_named_the_pause_doubles_with_every_failed_probe(rig):
    lengths = []
    for _ in range(10):
        rig.pauses.throttled(SHOP, None)
        lengths.append(rig.check())
        rig.pass_time(lengths[-1])
        assert rig.check() == 0
    assert lengths[:4] == [FIRST_PAUSE, FIRST_PAUSE * 2, FIRST_PAUSE * 4, FIRST_PAUSE * 8]
    assert lengths[-1] == LONGEST_PAUSE


def test_calls_that_began_before_the_pause_do_not_make_it_longer(rig):
    for _ in range(50):
        rig.pauses.throttled(SHOP, None)
    assert rig.check() == FIRST_PAUSE


def test_after_a_pause_one_call_a_second_tries_until_one_works(rig):
    rig.pauses.throttled(SHOP, 5.0)
    rig.pass_time(5)
    assert rig.check() == 0
    assert rig.check() == PROBE_GAP
    rig.pass_time(PROBE_GAP)
    assert rig.check() == 0
    rig.pauses.worked("graph", "1", "send")
    assert [rig.check() for _ in range(20)] == [0] * 20


def test_a_call_that_worked_before_the_pause_is_over_ends_nothing(rig):
    rig.pauses.throttled(SHOP, 5.0)
    rig.pauses.worked("graph", "1", "send")
    assert rig.check() == 5.0


def test_after_it_worked_the_next_pause_is_short_again(rig):
    for _ in range(3):
        rig.pauses.throttled(SHOP, None)
        rig.pass_time(rig.check())
    rig.pauses.worked("graph", "1", "send")
    rig.pauses.throttled(SHOP, None)
    assert rig.check() == FIRST_PAUSE


def test_near_the_limit_calls_are_spaced_and_again_free_when_it_is_far(rig):
    rig.pauses.used(SHOP, Pace(gap=4.0))
    assert rig.check() == 0
    assert rig.check() == 4.0
    rig.pass_time(4)
    assert rig.check() == 0
    rig.pauses.used(SHOP, Pace())
    assert rig.check() == 0


def test_a_stop_that_usage_asks_for_is_kept(rig):
    rig.pauses.used(APP, Pace(stop=300.0, gap=10.0))
    assert rig.check(account="2") == 300.0


def test_a_place_that_is_given_back_is_free_for_the_next(rig):
    rig.pauses.used(SHOP, Pace(gap=4.0))
    rig.pauses.ask("graph", "1", "send").give_back()
    slot = rig.pauses.ask("graph", "1", "send")
    assert rig.check() == 4.0
    slot.give_back()
    slot.give_back()
    assert rig.check() == 0


def test_a_place_given_back_late_takes_none_from_whoever_came_after(rig):
    rig.pauses.used(SHOP, Pace(gap=4.0))
    slot = rig.pauses.ask("graph", "1", "send")
    rig.pass_time(4)
    rig.pauses.ask("graph", "1", "send")
    slot.give_back()
    assert rig.check() == 4.0


def test_asking_raises_with_the_time_to_wait(rig):
    rig.pauses.ask("graph", "1", "send")
    rig.pauses.throttled(SHOP, 3.0)
    with pytest.raises(Throttled) as wait:
        rig.pauses.ask("graph", "1", "send")
    assert wait.value.after == 3.0


def test_the_gauges_say_what_is_paused_and_what_is_slowed(rig):
    rig.pauses.throttled(SHOP, 5.0)
    rig.pauses.throttled(Bucket("graph", "2"), 9.0)
    rig.pauses.used(APP, Pace(gap=2.0))
    assert (rig.gauge("paused", "account"), rig.gauge("paused", "app"), rig.gauge("slowed", "app")) == (2, 0, 1)
    rig.pass_time(5)
    assert rig.gauge("paused", "account") == 1
    assert rig.gauge("paused", "account", api="manychat") == 0


def test_no_more_buckets_are_remembered_than_allowed():
    rig = Rig(most=10)
    for number in range(100):
        rig.pauses.throttled(Bucket("graph", str(number)), 60.0)
    assert rig.gauge("paused", "account") == 10
    assert rig.check(account="99") == 60.0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("throttled"), st.sampled_from([APP, SHOP, CALL]), st.none() | st.floats(0, 100)),
        st.tuples(st.just("used"), st.sampled_from([APP, SHOP]), st.floats(0, 10)),
        st.tuples(st.just("time"), st.floats(0, 30), st.none()),
        st.tuples(st.just("call"), st.booleans(), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(STEPS)
def test_whatever_happens_no_call_is_made_in_a_pause_and_every_wait_ends(steps):
    rig = Rig()
    paused_until = rig.clock.now()
    for what, first, second in steps:
        if what == "throttled":
            rig.pauses.throttled(first, second)
            if second is not None:
                paused_until = max(paused_until, rig.clock.now() + timedelta(seconds=second))
        elif what == "used":
            rig.pauses.used(first, Pace(gap=second))
        elif what == "time":
            rig.pass_time(first)
        elif rig.check() == 0:
            assert rig.clock.now() >= paused_until
            if first:
                rig.pauses.worked("graph", "1", "send")
    for _ in range(4):
        wait = rig.check()
        assert wait <= LONGEST_PAUSE
        if wait == 0:
            return
        rig.pass_time(wait)
    raise AssertionError("the wait never ends")


def test_the_next_slot_of_a_slowed_account_is_kept_for_an_answer_that_waits(rig):
    """Whoever comes first takes the slot, so a broadcast's hundreds would leave an answer none."""
    rig.pauses.used(SHOP, Pace(gap=10.0))
    assert rig.pauses.wait("graph", "1", "send", first=False) == 0
    rig.pauses.ask("graph", "1", "send", first=False)
    assert rig.pauses.wait("graph", "1", "send") == 10.0
    rig.pass_time(10)
    assert 0 < rig.pauses.wait("graph", "1", "send", first=False) <= FOR_ANSWERS
    rig.pauses.ask("graph", "1", "send")
    rig.pass_time(10)
    assert rig.pauses.wait("graph", "1", "send", first=False) == 0


def test_an_answer_that_does_not_come_back_holds_a_slot_no_longer_than_a_moment(rig):
    rig.pauses.used(SHOP, Pace(gap=10.0))
    rig.pauses.ask("graph", "1", "send", first=False)
    rig.pauses.wait("graph", "1", "send")
    rig.pass_time(10 + FOR_ANSWERS)
    assert rig.pauses.wait("graph", "1", "send", first=False) == 0


def test_waiting_out_a_pause_makes_nothing_too_old(rig):
    """A pause may be named in hours, and after it one call a second tries."""
    rig.pauses.throttled(SHOP, 2 * 3600.0)
    with pytest.raises(Paced):
        rig.pauses.ask("graph", "1", "send")


@pytest.mark.parametrize("bucket", [APP, SHOP])
def test_calls_are_not_spaced_for_ever_by_a_figure_that_is_not_told_again(rig, bucket):
    """The platform tells its figures only to who calls much: whoever was slowed may never hear of them again."""
    rig.pauses.used(bucket, Pace(stop=300.0, gap=10.0))
    rig.pass_time(rig.check())
    rig.pauses.worked("graph", "1", "send")
    rig.check()
    assert rig.check() == 10.0
    rig.pass_time(3600)
    assert [rig.check(), rig.check()] == [0, 0]
    assert not rig.pauses.slowed("graph", "1", "send")
    assert rig.gauge("slowed", bucket.scope) == 0


def test_a_figure_that_is_told_again_holds_anew(rig):
    rig.pauses.used(SHOP, Pace(gap=10.0))
    rig.pass_time(3599)
    rig.pauses.used(SHOP, Pace(gap=4.0))
    rig.pass_time(3599)
    assert [rig.check(), rig.check()] == [0, 4.0]


def test_a_pause_is_as_long_as_it_was_asked_for_whatever_clock_becomes_known_meanwhile():
    """The platform is asked again after an outage, and this machine's clock turns out to be an hour ahead of it."""
    machine, ticks = ManualClock(datetime(2026, 3, 1, 13, tzinfo=UTC)), [0.0]
    remote = RemoteClock()
    platform = PlatformClock(machine, [remote], ticks=lambda: Monotonic(ticks[0]))
    waits = SteadyClock(platform.machine, ticks=lambda: Monotonic(ticks[0]))
    pauses = Pauses(clock=waits, metrics=PauseMetrics(CollectorRegistry()), apis=("graph",))
    pauses.throttled(APP, after=30.0)
    remote.observe_time(datetime(2026, 3, 1, 12, tzinfo=UTC), Monotonic(0.0), Monotonic(0.1), precision=1.0)
    assert platform.known
    assert platform.now() < machine.now() - timedelta(minutes=59)
    ticks[0] = 10.0
    machine.advance(timedelta(days=1))
    assert pauses.wait("graph", "1", "send") == pytest.approx(20.0)
