"""Several owners, one reply, any order of steps: the real sender, echo reader and sweeper, stepped by Hypothesis.

Each of them runs until its next effect and stands still there for as long as the machine likes: that is a race, a
freeze, and, when it never goes on, a death. Between any two effects time may pass, a partition may be lost, a request
may be lost on its way there or back, an echo may come. Whatever the order, a customer gets each message at most once.
"""

from contextvars import copy_context
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from common import failpoints
from common.errors import Retryable, Throttled, UnknownOutcome
from common.events.replies import DirectMessage
from common.kafka.hold import hand
from delivery.fingerprints import text_key
from delivery.ledger import TRANSITIONS
from delivery.platforms.sending import Refused, Sent

LONG = "First sentence here. " * 40 + "Second part begins. " * 30
MOST_ACTORS = 4


class Step:
    """A place where an actor stands still until the machine lets it go on."""

    def __await__(self):
        yield self


class Hold:
    """A record in hand, for as long as its partition is."""

    owned = True


class SteppedLedger:
    """The ledger with a standstill before and after every effect, and what every change must keep to."""

    def __init__(self, inner):
        self.inner = inner
        self.rows = inner.rows
        self.before = lambda _: None

    def __getattr__(self, name):
        method = getattr(self.inner, name)

        async def stepped(*arguments, **named):
            await Step()
            old = dict(self.rows)
            result = await method(*arguments, **named)
            for reply_id, row in self.rows.items():
                was = old.get(reply_id)
                if was is not None and was != row:
                    assert row.fence == was.fence + 1
                    assert row.state in TRANSITIONS[was.state] or row.state == was.state
                assert sum(part.state == "attempting" for part in row.parts) <= 1
            await Step()
            return result

        return stepped


class Actor:
    """Somebody in the middle of something: a replica with the record, an echo's reader, a sweeper."""

    def __init__(self, begin):
        self.begin = begin
        self.hold = Hold()
        self.context = copy_context()
        self.context.run(hand, self.hold)
        self.running = None
        self.ready_at = None
        self.call = None

    def step(self, now):
        """Go on to the next standstill. True when it is done for good."""
        if self.ready_at is not None and now < self.ready_at:
            return False
        if self.running is None:
            self.running = self.begin(self)
        try:
            self.context.run(self.running.send, None)
        except StopIteration:
            return True
        except Retryable as wait:
            self.running = None
            if not self.hold.owned:
                return True
            self.ready_at = now + timedelta(seconds=wait.after if wait.after is not None else 0.5)
        return False

    def die(self):
        if self.running is not None:
            self.context.run(self.running.close)


class Machine(RuleBasedStateMachine):
    """One reply of one or two parts and everybody who may touch it."""

    def __init__(self, world, text):
        super().__init__()
        self.world = world
        world.ledger = SteppedLedger(world.ledger)
        world.platform.direct_message = self.call
        world.barrier.during = Step
        self.event = world.reply(DirectMessage(text=text))
        self.actors = []
        self.fault = None
        self.stepping = None

    @property
    def now(self):
        return self.world.clock.now()

    @property
    def row(self):
        return self.world.ledger.rows.get(self.event.data.reply_id)

    async def call(self, token, account, contact, text):
        """The platform, as far as it can be known from here: the request may be lost, and so may the answer."""
        actor, began, fault = self.stepping, self.now, self.fault
        self.fault = None
        if not failpoints.sabotaged("sabotage.attempting_after_call"):
            assert self.row.state in {"attempting", "unknown"}, "a call was made that nothing announces"
        if isinstance(fault, Exception):
            raise fault
        actor.call = (began, text)
        await Step()
        actor.call = None
        if fault == "lost" or self.is_over(began):
            raise UnknownOutcome("ReadTimeout")
        mid = self.world.platform.arrives(text)
        await Step()
        if fault == "answer lost" or self.is_over(began):
            raise UnknownOutcome("ReadTimeout")
        return Sent(mid)

    def is_over(self, began):
        return (self.now - began).total_seconds() > self.world.patience.call_timeout

    # What may happen

    @precondition(lambda self: len(self.actors) < MOST_ACTORS)
    @rule()
    def a_replica_reads_the_record(self):
        self.world.restart()
        sender = self.world.sender
        self.actors.append(Actor(lambda _: sender.deliver(self.event)))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.world.platform.thread)
    @rule(which=st.integers(0, 9))
    def an_echo_comes(self, which):
        thread = self.world.platform.thread
        shown = thread[which % len(thread)]
        echo = self.world.echo(shown.id, shown.text, at=shown.at)
        echoes, merchant = self.world.echoes, self.world.merchant()
        self.actors.append(Actor(lambda _: echoes.read(echo, merchant)))

    @precondition(lambda self: len(self.actors) < MOST_ACTORS and self.row is not None)
    @rule()
    def somebody_sweeps(self):
        sweeper = self.world.sweeper
        self.actors.append(Actor(lambda _: sweeper.sweep()))

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9), steps=st.integers(1, 12))
    def somebody_goes_on(self, which, steps):
        actor = self.actors[which % len(self.actors)]
        for _ in range(steps):
            self.stepping = actor
            if actor.step(self.now):
                self.actors.remove(actor)
                return

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9), left=st.booleans())
    def somebody_dies(self, which, left):
        actor = self.actors.pop(which % len(self.actors))
        call = actor.call
        actor.die()
        if call is not None and left and not self.is_over(call[0]):
            self.world.platform.arrives(call[1])

    @precondition(lambda self: self.actors)
    @rule(which=st.integers(0, 9))
    def somebody_loses_the_partition(self, which):
        self.actors[which % len(self.actors)].hold.owned = False

    @rule(seconds=st.sampled_from([0.5, 1.5, 3.0, 9.0, 15.0, 61.0, 4200.0]))
    def time_passes(self, seconds):
        self.world.clock.advance(timedelta(seconds=seconds))

    @rule(
        fault=st.sampled_from(
            ["lost", "answer lost", Throttled("429", after=1), Retryable("ConnectError"), Refused("no")]
        )
    )
    def the_next_call_goes_wrong(self, fault):
        self.fault = fault

    @rule()
    def the_conversation_moves(self):
        self.world.barrier.says = [False]

    # What must hold

    @invariant()
    def nobody_gets_a_message_twice(self):
        texts = [shown.text for shown in self.world.platform.thread]
        assert len(texts) == len(set(texts)), "a part arrived twice"

    @invariant()
    def parts_arrive_in_their_order(self):
        if self.row is None:
            return
        keys = [part.key for part in self.row.parts]
        arrived = [text_key(shown.text) for shown in self.world.platform.thread]
        assert arrived == keys[: len(arrived)]

    @invariant()
    def our_own_message_is_no_persons(self):
        assert "replied" not in self.world.kinds()

    def teardown(self):
        """Everybody else dies; a replica that is left alone brings the reply to its end."""
        for actor in self.actors:
            actor.die()
        self.fault = None
        self.world.barrier.says = []
        self.world.restart()
        sender = self.world.sender
        last = Actor(lambda _: sender.deliver(self.event))
        for _ in range(4000):
            self.stepping = last
            if last.step(self.now):
                break
            if last.ready_at is not None and last.ready_at > self.now:
                self.world.clock.advance(last.ready_at - self.now)
        else:
            pytest.fail("the reply never came to an end")
        self.nobody_gets_a_message_twice()
        assert self.row.finished
        if self.row.state == "delivered":
            assert len(self.world.platform.thread) == len(self.row.parts)


def explore(make_world, text, examples, **more):
    run_state_machine_as_test(
        lambda: Machine(make_world(), text),
        settings=settings(
            max_examples=examples,
            stateful_step_count=50,
            deadline=None,
            **more,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.parametrize("text", ["Hello", LONG], ids=["one part", "two parts"])
def test_in_whatever_order_owners_act_and_die_each_message_arrives_at_most_once(make_world, text):
    explore(make_world, text, examples=150)


def test_the_search_finds_the_double_once_attempting_is_written_after_the_call(make_world):
    """A search that finds nothing proves nothing unless it finds what is there."""
    failpoints.arm("sabotage.attempting_after_call")
    try:
        with pytest.raises(AssertionError, match="arrived twice"):
            explore(make_world, "Hello", examples=5000, derandomize=True, database=None, phases=[Phase.generate])
    finally:
        failpoints.arm("")


def test_the_search_finds_the_double_once_the_fence_is_gone(make_world):
    def without_fence():
        world = make_world()
        ledger = world.ledger

        async def put(row, *, over):
            found = row.reply_id in ledger.rows
            ledger.rows[row.reply_id] = row
            return found

        ledger.put = put
        return world

    with pytest.raises(AssertionError):
        explore(without_fence, "Hello", examples=5000, derandomize=True, database=None, phases=[Phase.generate])
