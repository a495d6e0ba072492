from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from prometheus_client import CollectorRegistry

from common.breaker import Breaker, BreakerMetrics, BreakerOpen, BreakerPolicy, Breakers, Permit
from common.clock import ManualClock
from common.errors import Permanent, Retryable, Throttled, UnknownOutcome

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POLICY = BreakerPolicy(failures=3, first_pause=5, longest_pause=20, probe_wait=1, longest_probe=30)


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def breaker(clock):
    return Breaker(POLICY, clock)


def open_it(breaker):
    for _ in range(POLICY.failures):
        breaker.ask().failed()


class TestOneBreaker:
    def test_it_opens_after_so_many_failures_in_a_row_and_says_how_long_it_stays(self, breaker):
        for _ in range(POLICY.failures - 1):
            breaker.ask().failed()
        assert breaker.state == "closed"
        breaker.ask().failed()
        assert breaker.state == "open"
        with pytest.raises(BreakerOpen) as refusal:
            breaker.ask()
        assert refusal.value.after == POLICY.first_pause

    def test_one_answer_forgives_the_failures_before_it(self, breaker):
        breaker.ask().failed()
        breaker.ask().failed()
        breaker.ask().worked()
        breaker.ask().failed()
        assert breaker.state == "closed"

    def test_after_the_pause_one_call_tries_and_the_others_wait(self, breaker, clock):
        open_it(breaker)
        clock.advance(timedelta(seconds=5))
        probe = breaker.ask()
        assert breaker.state == "half_open"
        with pytest.raises(BreakerOpen) as refusal:
            breaker.ask()
        assert refusal.value.after == POLICY.probe_wait
        probe.worked()
        assert breaker.state == "closed"
        breaker.ask()

    def test_every_failed_probe_doubles_the_pause_up_to_the_longest(self, breaker, clock):
        open_it(breaker)
        pauses = []
        for _ in range(4):
            with pytest.raises(BreakerOpen) as refusal:
                breaker.ask()
            pauses.append(refusal.value.after)
            clock.advance(timedelta(seconds=refusal.value.after))
            breaker.ask().failed()
        assert pauses == [5, 10, 20, 20]

    def test_a_probe_that_was_not_made_leaves_its_place_to_the_next(self, breaker, clock):
        open_it(breaker)
        clock.advance(timedelta(seconds=5))
        breaker.ask().withdrawn()
        breaker.ask().worked()
        assert breaker.state == "closed"

    def test_a_probe_nobody_tells_the_end_of_is_given_up(self, breaker, clock):
        open_it(breaker)
        clock.advance(timedelta(seconds=5))
        lost = breaker.ask()
        clock.advance(timedelta(seconds=POLICY.longest_probe))
        second = breaker.ask()
        lost.worked()
        assert breaker.state == "half_open"
        second.worked()
        assert breaker.state == "closed"

    def test_a_call_from_before_it_opened_changes_nothing(self, breaker, clock):
        early, late = breaker.ask(), breaker.ask()
        open_it(breaker)
        early.worked()
        late.failed()
        assert breaker.state == "open"
        clock.advance(timedelta(seconds=5))
        assert breaker.ask() is not None

    def test_a_permit_around_a_call_gives_its_verdict_by_itself(self, breaker):
        for _ in range(POLICY.failures):
            with pytest.raises(Retryable), breaker.ask():
                raise Retryable("503")
        assert breaker.state == "open"

    def test_only_the_first_verdict_counts(self, breaker):
        permit = breaker.ask()
        permit.worked()
        for _ in range(5):
            permit.failed()
        assert breaker.state == "closed"

    def test_a_clock_that_is_set_back_makes_no_wait_longer(self, breaker, clock):
        open_it(breaker)
        clock.advance(timedelta(hours=-1))
        with pytest.raises(BreakerOpen) as refusal:
            breaker.ask()
        assert refusal.value.after == POLICY.first_pause


class TestWhatCounts:
    @pytest.mark.parametrize(
        "error", [Retryable("503"), UnknownOutcome("reset"), TimeoutError(), ConnectionRefusedError()]
    )
    def test_what_the_other_side_did_not_answer_counts(self, breaker, error):
        for _ in range(POLICY.failures):
            breaker.ask().ended(error)
        assert breaker.state == "open"

    @pytest.mark.parametrize("error", [Permanent("no such person"), Throttled("429", after=3), KeyError("a bug")])
    def test_an_answer_or_a_bug_of_our_own_does_not(self, breaker, error):
        for _ in range(POLICY.failures * 2):
            breaker.ask().ended(error)
        assert breaker.state == "closed"

    def test_a_throttled_probe_shows_that_the_api_works(self, breaker, clock):
        open_it(breaker)
        clock.advance(timedelta(seconds=5))
        breaker.ask().ended(Throttled("429"))
        assert breaker.state == "closed"


class TestSeveral:
    @pytest.fixture
    def registry(self):
        return CollectorRegistry()

    @pytest.fixture
    def metrics(self, registry):
        return BreakerMetrics(registry)

    @pytest.fixture
    def breakers(self, clock, metrics):
        return Breakers("graph", clock=clock, metrics=metrics, policy=POLICY, most=3)

    def fail(self, breakers, account, times=POLICY.failures):
        for _ in range(times):
            with pytest.raises(Retryable), breakers.calling(account):
                raise Retryable("503")

    def test_one_accounts_breaker_stops_no_other_account(self, breakers):
        self.fail(breakers, "1")
        with pytest.raises(BreakerOpen), breakers.calling("1"):
            pytest.fail("must not be called")
        with breakers.calling("2"):
            pass
        assert (breakers.state("1"), breakers.state("2")) == ("open", "closed")

    def test_the_figures_say_how_many_are_open_and_how_often_one_opened(self, breakers, clock, registry):
        self.fail(breakers, "1")
        self.fail(breakers, "2")
        assert registry.get_sample_value("breaker_open", {"api": "graph"}) == 2
        clock.advance(timedelta(seconds=5))
        with breakers.calling("1"):
            assert registry.get_sample_value("breaker_open", {"api": "graph"}) == 2
        assert registry.get_sample_value("breaker_open", {"api": "graph"}) == 1
        assert registry.get_sample_value("breaker_openings_total", {"api": "graph"}) == 2

    def test_only_so_many_accounts_are_remembered(self, breakers):
        self.fail(breakers, "1")
        for account in "234":
            with breakers.calling(account):
                pass
        assert breakers.state("1") == "closed"
        assert breakers.count_open() == 0

    def test_two_apis_share_the_metrics(self, clock, registry, metrics, breakers):
        self.fail(breakers, "1")
        self.fail(Breakers("manychat", clock=clock, metrics=metrics, policy=POLICY), "1")
        assert registry.get_sample_value("breaker_open", {"api": "manychat"}) == 1
        assert registry.get_sample_value("breaker_open", {"api": "graph"}) == 1


@dataclass
class Model:
    """What a breaker has to do, said a second time and more simply: a list of what was told, and two times."""

    state: str = "closed"
    failures: int = 0
    pause: float = POLICY.first_pause
    until: float = 0.0
    probe: Permit | None = None
    current: set[int] = field(default_factory=set)

    def may_call(self, now: float) -> bool:
        waits = self.state == "open" or self.probe is not None
        return not waits or now >= self.until

    def changes(self, state: str) -> None:
        self.state, self.failures, self.probe = state, 0, None
        self.current.clear()


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin and end in any order, time passes, and the breaker says what the model says."""

    @initialize()
    def begin(self):
        self.clock = ManualClock(NOON)
        self.breaker = Breaker(POLICY, self.clock)
        self.model = Model()
        self.permits: list[Permit] = []

    @property
    def now(self):
        return (self.clock.now() - NOON).total_seconds()

    @rule(seconds=st.sampled_from([0.5, 1, 4.9, 5, 10, 20, 30]))
    def time_passes(self, seconds):
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def ask(self):
        model = self.model
        if not model.may_call(self.now):
            with pytest.raises(BreakerOpen) as refusal:
                self.breaker.ask()
            left = model.until - self.now
            expected = left if model.state == "open" else min(left, POLICY.probe_wait)
            assert refusal.value.after == pytest.approx(expected)
            return
        permit = self.breaker.ask()
        if model.state != "closed":
            model.changes("half_open")
            model.probe, model.until = permit, self.now + POLICY.longest_probe
        model.current.add(id(permit))
        self.permits.append(permit)

    @rule(which=st.integers(0, 50), verdict=st.sampled_from(["worked", "failed", "withdrawn"]))
    def tell(self, which, verdict):
        if not self.permits:
            return
        permit = self.permits.pop(which % len(self.permits))
        getattr(permit, verdict)()
        model = self.model
        if id(permit) not in model.current:
            return
        model.current.discard(id(permit))
        if verdict == "worked":
            model.failures = 0
            if model.state == "half_open":
                model.pause = POLICY.first_pause
                model.changes("closed")
        elif verdict == "withdrawn":
            model.probe = None
        else:
            model.failures += 1
            if model.state == "half_open":
                model.pause = min(model.pause * 2, POLICY.longest_pause)
            if model.state == "half_open" or model.failures >= POLICY.failures:
                model.changes("open")
                model.until = self.now + model.pause

    @invariant()
    def same_state(self):
        assert self.breaker.state == self.model.state


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestAgainstTheModel = BreakerMachine.TestCase
