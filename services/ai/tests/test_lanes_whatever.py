"""Whatever lies in a lane, wherever processes die and however late one wakes, each message is answered once."""

import asyncio
import contextlib
import contextvars
from collections import Counter
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from lane_world import (
    WHO,
    CrashError,
    Held,
    World,
    comment,
    control,
    edit,
    event,
    handle,
    message,
    process,
    record,
    unsend,
)

from common.errors import Permanent, Retryable
from common.events.control import ConversationReleased, ConversationTakenOver
from common.events.ids import decision_id, reply_id
from common.events.interactions import (
    CommentReceived,
    MessageReceived,
)
from common.events.outcomes import HumanReplied, HumanReply

ids = st.sampled_from("abcd")

lane_contents = st.lists(
    st.one_of(
        ids.map(message),
        ids.map(message),
        ids.map(message),
        ids.map(unsend),
        st.builds(edit, ids, st.just("reworded")),
        st.sampled_from("xy").map(comment),
        st.sampled_from(["takeover", "release", "person"]),
    ),
    max_size=12,
)

troubles = st.lists(
    st.none() | st.tuples(st.integers(1, 9), st.booleans(), st.sampled_from(["crash", "crash", "dies"])), max_size=20
)


def dated(world, one):
    """Return an event of the other topics as of now: a person's acts are compared with clocks."""
    at = world.clock.now()
    if one == "takeover":
        return control(ConversationTakenOver, at)
    if one == "release":
        return control(ConversationReleased, at)
    if one == "person":
        return event(HumanReplied, HumanReply(merchant_id="dar", **WHO, mid=f"h{at}", text="hi"), f"h{at}", at)
    return one


def in_a_context_of_its_own(coroutine):
    """Run a coroutine as the lane's worker does: what it holds is no other worker's."""
    return asyncio.create_task(coroutine, context=contextvars.copy_context())


class Run:
    """A lane worked off by processes that die, each of its successors beginning at or before where it stopped."""

    def __init__(self, contents, draw):
        self.world, self.draw = World(), draw
        self.log = contents
        self.handlers = process(self.world)
        self.lost_answers = 0
        self.buried = set()

    async def to_the_end(self, troubles):
        place, troubles = 0, list(troubles)
        while place < len(self.log):
            trouble = troubles.pop() if troubles else None
            place = await self.one(place, trouble)

    async def one(self, place, trouble):
        """Handle one record and return which comes next."""
        world = self.world
        world.clock.advance(timedelta(seconds=1))
        self.log[place] = dated(world, self.log[place])
        behind = self.log[place + 1 : place + 1 + self.draw(st.integers(0, 12))]
        there = [one for one in behind[: self.draw(st.integers(0, 12))] if not isinstance(one, str)]
        world.written_meanwhile = [one for one in behind[len(there) :] if not isinstance(one, str)]
        world.steps, world.fail_at, asked = 0, None, len(world.asked)
        if trouble is not None:
            world.fail_at, world.after, kind = trouble
            world.error = CrashError if kind == "crash" else Permanent
        stored = len(world.decisions)
        try:
            await handle(self.handlers, self.log[place], Held(there))
        except CrashError:
            self.lost_answers += max(0, len(world.asked) - asked - (len(world.decisions) - stored))
            self.handlers = process(world)
            return max(0, place - self.draw(st.integers(0, 3)))
        except Permanent:
            self.lost_answers += max(0, len(world.asked) - asked - (len(world.decisions) - stored))
            world.fail_at = None
            # What died before it was published died with the record that was to publish it: the person is told.
            self.buried |= world.decisions.keys() - {reply.data.decision_id for reply in world.published}
            await self.handlers.dead_lettered(record(self.log[place]), "failed")
        return place + 1


def promise(run):
    """Check what is promised about a lane that was worked off."""
    world = run.world
    covered = Counter(id_ for decision in world.decisions.values() for id_ in decision.covers)
    conversation = world.conversation()
    said = {one.id for one in run.log if isinstance(one, MessageReceived | CommentReceived)}
    persons = world.persons | {
        id_
        for id_, known in world.messages.items()
        if "stored_at" in known and conversation.human_owned(known["stored_at"])
    }
    assert all(count == 1 for count in covered.values())
    assert said <= covered.keys() | world.unsent | persons | world.dead
    assert not [m for m in conversation.unanswered if m.id in covered]
    versions = {}
    for reply in world.published:
        versions.setdefault(reply.id, set()).add(reply.data.action.model_dump_json())
    assert all(len(texts) == 1 for texts in versions.values())
    for decision in world.decisions.values():
        assert decision.id == decision_id("1:5", decision.covers[-1])
        assert [reply.id for reply in decision.replies] == [reply_id(decision.id, 0)]
        assert decision.replies[0].causationid == decision.covers[-1]
        assert decision.replies[0].id in versions or decision.id in run.buried
    assert len(world.asked) <= len(world.decisions) + world.grown + run.lost_answers


@settings(max_examples=400, deadline=None)
@given(contents=lane_contents, troubles=troubles, data=st.data())
def test_whatever_lies_in_a_lane_and_wherever_processes_die_each_message_is_answered_once(contents, troubles, data):
    run = Run(contents, data.draw)
    asyncio.run(run.to_the_end(troubles))
    promise(run)


@settings(max_examples=300, deadline=None)
@given(
    contents=st.lists(st.one_of(ids.map(message), ids.map(message), ids.map(unsend)), min_size=1, max_size=6),
    frozen=st.integers(0, 5),
    halt_at=st.integers(1, 7),
    data=st.data(),
)
def test_a_process_that_was_frozen_and_believes_in_its_partition_answers_nothing_twice(contents, frozen, halt_at, data):
    """The worst case of all: nothing told it that another one has read and answered the whole lane meanwhile."""

    async def thaw(run, place):
        world = run.world
        for earlier in range(place):
            await run.one(earlier, None)
        world.steps, world.fail_at, world.halt_at = 0, None, halt_at
        behind = contents[place + 1 : place + 1 + data.draw(st.integers(0, 6))]
        old = in_a_context_of_its_own(handle(run.handlers, contents[place], Held(behind)))
        waiting = asyncio.create_task(world.halted.wait())
        await asyncio.wait({old, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        world.halt_at = None
        run.handlers = process(world)
        for again in range(data.draw(st.integers(0, place)), len(contents)):
            await run.one(again, None)
        run.lost_answers += 1
        world.go_on.set()
        with contextlib.suppress(Retryable):  # it is tried again as a record that was read anew
            await old
        await asyncio.gather(waiting, return_exceptions=True)

    run = Run(contents, data.draw)
    asyncio.run(thaw(run, min(frozen, len(contents) - 1)))
    promise(run)
