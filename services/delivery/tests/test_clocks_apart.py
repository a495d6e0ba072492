"""Two machines and the platform, whose clocks are up to two minutes apart in either direction.

Whatever the clocks say: no message goes out twice, none of ours is taken for an agent's, and every reply ends.
"""

from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.clock import Monotonic
from common.errors import Retryable, UnknownOutcome
from common.events.replies import CommentReply, DirectMessage
from common.platform_clock import PlatformClock, RemoteClock

TEXT = "Hello"
SKEWS = st.integers(-120, 120)


class Ahead:
    """A machine's clock that is some seconds ahead of the platform's."""

    def __init__(self, platform, seconds):
        self.platform = platform
        self.by = timedelta(seconds=seconds)

    def now(self):
        return self.platform.now() + self.by


def machine(world, seconds, *, asked, late=0.2):
    """Return the clock of a machine, which may have `asked` the platform what time it is."""
    remote = RemoteClock()
    ticks = world.clock.now().timestamp()
    if asked:
        date = format_datetime(world.clock.now(), usegmt=True)
        remote.observe(date, Monotonic(ticks - late), Monotonic(ticks))
    return PlatformClock(Ahead(world.clock, seconds), [remote], lambda: Monotonic(world.clock.now().timestamp()))


class Scene:
    """A reply whose owner dies after the call began, and a successor on another machine."""

    def __init__(self, world, crash, action=None):
        self.world, self.crash = world, crash
        self.event = world.reply(action or DirectMessage(text=TEXT), decision_id="d")
        self.due = []

    async def die_sending(self, first, arrives_after):
        self.world.restart(first)
        self.world.platform.script = [self.crash()]
        with pytest.raises(self.crash):
            await self.world.sender.deliver(self.event)
        if arrives_after is not None:
            self.at(arrives_after, self.arrive)

    def at(self, seconds, act):
        self.due.append((self.world.clock.now() + timedelta(seconds=seconds), act))

    async def arrive(self):
        place = self.world.platform.replies if isinstance(self.event.data.action, CommentReply) else None
        self.world.platform.arrives(TEXT, place)

    async def echo(self):
        for shown in self.world.platform.thread:
            echo = self.world.echo(shown.id, shown.text, at=shown.at)
            try:
                await self.world.echoes.read(echo, self.world.directory.merchants[0])
            except Retryable as early:
                self.at(early.after or 1.0, self.echo)
                return

    async def wait(self, seconds):
        until = self.world.clock.now() + timedelta(seconds=seconds)
        while self.world.clock.now() < until:
            self.world.clock.advance(min(timedelta(seconds=0.25), until - self.world.clock.now()))
            now = self.world.clock.now()
            for one in [one for one in self.due if one[0] <= now]:
                self.due.remove(one)
                await one[1]()

    async def end(self, most=600):
        for _ in range(most):
            try:
                return await self.world.sender.deliver(self.event)
            except Retryable as wait:
                await self.wait(wait.after if wait.after is not None else 0.5)
        raise AssertionError("the reply never came to an end")

    def ours(self):
        return [one for one in (*self.world.platform.thread, *self.world.platform.replies) if one.text == TEXT]

    def has_kept_its_promises(self):
        assert len(self.ours()) <= 1, "sent twice"
        assert self.world.row(self.event).state in {"delivered", "handed_to_human"}
        self.nobody_is_taken_for_an_agent()

    def nobody_is_taken_for_an_agent(self):
        assert "replied" not in self.world.kinds(), "an own echo was taken for an agent's"
        contact = self.world.contacts.known.get(self.event.data.conversation_id)
        assert contact is None or contact.owner == "bot"


@pytest.mark.parametrize("skew", [-120, -90, -30, 0, 30, 90, 120])
@pytest.mark.parametrize("asked", [True, False])
async def test_a_successor_waits_by_its_own_clock_for_what_a_dead_owner_may_still_send(make_world, crash, skew, asked):
    """A dead owner whose clock is behind wrote an attempt that looks older than it is."""
    scene = Scene(world := make_world(), crash)
    await scene.die_sending(machine(world, skew, asked=asked), arrives_after=9.0)
    world.restart(machine(world, 0, asked=asked))
    await scene.end()
    await scene.wait(20.0)
    scene.has_kept_its_promises()


@pytest.mark.parametrize("skew", [-120, -90, 90, 120])
@pytest.mark.parametrize("asked", [True, False])
async def test_a_message_that_arrived_is_found_by_a_service_whose_clock_is_wrong(make_world, crash, skew, asked):
    scene = Scene(world := make_world(), crash)
    world.restart(machine(world, skew, asked=asked))
    world.platform.script = [("arrives", UnknownOutcome("ReadTimeout"))]
    await scene.end()
    scene.has_kept_its_promises()
    assert world.row(scene.event).state == "delivered"


@pytest.mark.parametrize("skew", [-120, -90, 90, 120])
@pytest.mark.parametrize("asked", [True, False])
async def test_an_own_echo_through_manychat_is_no_agents_whatever_the_clock_says(make_world, crash, skew, asked):
    scene = Scene(world := make_world(), crash)
    world.with_manychat()
    world.restart(machine(world, skew, asked=asked))
    await world.sender.deliver(scene.event)
    await scene.wait(1.0)
    await scene.echo()
    scene.nobody_is_taken_for_an_agent()
    assert world.row(scene.event).message_ids == ("mid.1",)


@pytest.mark.parametrize("skew", [-120, 120])
async def test_nothing_is_sent_again_where_the_platforms_clock_is_unknown_and_an_older_message_stands_there(
    make_world, crash, skew
):
    """Its text may have been changed, and by an unknown clock it may be as new as the attempt."""
    scene = Scene(world := make_world(), crash)
    world.platform.arrives("Hello!")
    await scene.wait(3600.0)
    world.restart(machine(world, skew, asked=False))
    world.platform.script = [UnknownOutcome("ReadTimeout")]
    await scene.end()
    assert scene.ours() == []
    assert world.row(scene.event).state == "handed_to_human"


async def test_what_never_arrived_is_sent_again_where_the_clock_is_known(make_world, crash):
    scene = Scene(world := make_world(), crash)
    world.platform.arrives("Hello!")
    await scene.wait(3600.0)
    await scene.die_sending(machine(world, 3, asked=True), arrives_after=None)
    world.restart(machine(world, -4, asked=True))
    await scene.end()
    scene.has_kept_its_promises()
    assert len(scene.ours()) == 1


@pytest.mark.parametrize(
    ("skew", "asked", "before_the_end", "sent"),
    [
        (120, True, 65, True),
        (-120, True, 55, False),
        (-120, False, 55, False),
        (0, False, 185, True),
        (0, False, 175, False),
        (120, False, 305, True),
    ],
)
async def test_a_window_closes_by_the_platforms_clock_and_earlier_where_that_is_unknown(
    make_world, skew, asked, before_the_end, sent
):
    world = make_world()
    wrote = world.clock.now() - timedelta(hours=24) + timedelta(seconds=before_the_end)
    event = world.reply(DirectMessage(text=TEXT), customer_acted_at=wrote)
    await world.contacts.customer_acted(event.data.conversation_id, wrote)
    world.restart(machine(world, skew, asked=asked))
    await world.sender.deliver(event)
    assert (len(world.platform.thread) == 1) is sent


@settings(max_examples=300, deadline=None)
@given(data=st.data())
async def test_no_clocks_make_anything_be_sent_twice_or_an_echo_be_an_agents(make_world, crash, data):
    world = make_world()
    by_manychat = data.draw(st.booleans(), label="by ManyChat")
    if by_manychat:
        world.with_manychat()
    public = not by_manychat and data.draw(st.booleans(), label="in public")
    scene = Scene(world, crash, CommentReply(comment_id="c1", text=TEXT) if public else None)
    first = machine(world, data.draw(SKEWS, label="first"), asked=data.draw(st.booleans(), label="first asked"))
    world.restart(first)
    how = data.draw(st.sampled_from(["dies", "loses sight", "is answered"]), label="the first owner")
    if how == "dies":
        arrives_after = data.draw(st.none() | st.floats(0.0, 11.0), label="arrives after")
        await scene.die_sending(first, arrives_after)
        echo_after = None if arrives_after is None else arrives_after + data.draw(st.floats(0.1, 90.0))
    else:
        script = {"is answered": [None], "loses sight": [("arrives", UnknownOutcome("reset"))]}[how]
        world.platform.script = script
        if how == "is answered":
            await world.sender.deliver(scene.event)
        else:
            with pytest.raises(Retryable):
                await world.sender.deliver(scene.event)
        echo_after = data.draw(st.floats(0.0, 90.0), label="echo after")
    if echo_after is not None and data.draw(st.booleans(), label="an echo comes"):
        scene.at(echo_after, scene.echo)
    await scene.wait(data.draw(st.floats(0.0, 30.0), label="until a successor"))
    if data.draw(st.booleans(), label="a successor"):
        second = machine(world, data.draw(SKEWS, label="second"), asked=data.draw(st.booleans(), label="second asked"))
        world.restart(second)
    world.platform.readable = data.draw(st.booleans(), label="readable")
    await scene.end()
    await scene.wait(120.0)
    scene.has_kept_its_promises()
