"""Turns in their lane: whatever lies behind a message, wherever a process dies, each message is answered once."""

import asyncio
import contextlib
import contextvars
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ai.answer import Answer
from ai.completion import ModelFailed, Usage
from ai.decisions import Decision
from ai.handlers import Handlers
from ai.held_back import HeldBack
from ai.history import Conversation, Line
from ai.instagram_ai import ModelAnswer
from ai.messages import Stored
from ai.metrics import AIMetrics
from ai.orchestrator import ConversationAIOrchestrator
from common.accounts import Standing
from common.clock import ManualClock
from common.errors import Permanent, Retryable
from common.events.control import Control, ConversationReleased, ConversationTakenOver
from common.events.ids import decision_id, reply_id
from common.events.interactions import (
    Comment,
    CommentReceived,
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    MessageUnsent,
    Unsend,
)
from common.events.outcomes import HumanReplied, HumanReply
from common.events.replies import OperatorNotification
from common.kafka.hold import OwnershipLost, hand
from common.merchants import Merchant, Rule, Then, When

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1", rules=())
WHO = {"account_id": "1", "contact_id": "5"}


class CrashError(Exception):
    """The process died here."""


class World:
    """What outlives a process: the database, Kafka, and a count of steps at one of which something goes wrong."""

    def __init__(self):
        self.messages, self.conversations, self.decisions = {}, {}, {}
        self.published, self.asked = [], []
        self.unsent, self.persons, self.dead = set(), set(), set()
        self.clock = ManualClock(NOW)
        self.steps, self.fail_at, self.after, self.error = 0, None, False, CrashError
        self.halt_at, self.halted, self.go_on = None, asyncio.Event(), asyncio.Event()
        self.model_answer = ModelAnswer("answer", Answer(reply="answer", language="en"), "m", Usage(10, 5))

    async def step(self, act):
        self.steps += 1
        fails = self.steps == self.fail_at
        if self.steps == self.halt_at:
            self.halted.set()
            await self.go_on.wait()
        if fails and not self.after:
            raise self.error("died")
        result = act()
        if fails:
            raise self.error("died")
        return result

    def conversation(self):
        return self.conversations.setdefault("1:5", Conversation("1:5"))


class Messages:
    def __init__(self, world):
        self.world = world

    async def store(self, said, *, merchant_id, now):
        def act():
            known = self.world.messages.setdefault(said.id, {"text": said.text})
            fresh = "stored_at" not in known
            known.setdefault("stored_at", now)
            return Stored(fresh, known["stored_at"], known["text"], unsent="unsent" in known)

        return await self.world.step(act)

    async def edit(self, message_id, text, *, number, about):
        def act():
            known = self.world.messages.setdefault(message_id, {})
            if "unsent" not in known:
                known["text"] = text
            return "unsent" not in known

        return await self.world.step(act)

    async def erase(self, message_id, *, about):
        def act():
            self.world.messages.setdefault(message_id, {}).update(text="", unsent=True)
            self.world.unsent.add(message_id)

        await self.world.step(act)


class Conversations:
    def __init__(self, world):
        self.world = world

    async def change(self, act):
        def changed():
            have = act(self.world.conversation())
            self.world.conversations["1:5"] = have
            return have

        return await self.world.step(changed)

    async def record(self, said, *, merchant_id, language, stored_at, closes, now):
        def act(have):
            if have.awaits(said.id) or any(line.id == said.id for line in have.recent):
                return have
            waits = () if said.standby else (said.unanswered(stored_at=stored_at, closes=closes),)
            return replace(have, recent=(*have.recent, said.line()), unanswered=(*have.unanswered, *waits))

        return await self.change(act)

    async def reopen(self, conversation_id, message):
        def act(have):
            return have if have.awaits(message.id) else replace(have, unanswered=(*have.unanswered, message))

        return await self.change(act)

    async def begin(self, conversation, turn):
        def act(have):
            if have.unanswered != conversation.unanswered:
                raise Retryable("changed")
            closed = (replace(m, closes=m.closes or m.id == turn.trigger.id) for m in have.unanswered)
            return replace(have, unanswered=tuple(closed))

        await self.change(act)

    async def find(self, conversation_id):
        return await self.world.step(lambda: self.world.conversations.get(conversation_id))

    async def record_decision(self, decision, *, now):
        def act(have):
            if not have.awaits(decision.covers[-1]):
                return have
            lines = [Line(r.id, "assistant", "answer", decision.at) for r in decision.replies]
            return replace(have.without(decision.covers), recent=(*have.recent, *lines))

        await self.change(act)

    async def reword(self, conversation_id, line_id, text):
        def act(have):
            lines = (replace(line, text=text, placeholder=0) if line.id == line_id else line for line in have.recent)
            return replace(have, recent=tuple(lines))

        await self.change(act)

    async def erase(self, conversation_id, line_id):
        def act(have):
            lines = tuple(replace(line, text="") if line.id == line_id else line for line in have.recent)
            return replace(have.without([line_id]), recent=lines)

        await self.change(act)

    async def take_over(self, *, conversation, at, until, now):
        await self.change(lambda have: replace(have, human_until=max(until, have.human_until or until)))

    async def release(self, conversation_id, *, at, now):
        def act(have):
            if have.human_until is None or have.human_until <= at:
                return have
            self.world.persons |= {m.id for m in have.unanswered}
            return replace(have, human_until=None, answers_from=at, unanswered=())

        await self.change(act)

    async def person_wrote(self, line, *, conversation, until, now):
        def act(have):
            if have.answers_from is not None and have.answers_from >= line.at:
                return have
            return replace(have, human_until=max(until, have.human_until or until))

        await self.change(act)

    async def given_up(self, said, *, merchant_id, reason, now):
        def act(have):
            lost = {m.id for m in have.unanswered if m.channel == "direct_message"} if said.in_thread else set()
            self.world.dead |= lost | {said.id}
            return have.without([*lost, said.id])

        await self.change(act)


class Decisions:
    def __init__(self, world):
        self.world = world

    async def covering(self, event_id):
        return await self.world.step(
            lambda: next((d for d in self.world.decisions.values() if event_id in d.covers), None)
        )

    async def learnt_from(self, event_id):
        return ()

    async def store(self, decision):
        def act():
            if decision.id in self.world.decisions:
                return self.world.decisions[decision.id], False
            self.world.decisions[decision.id] = Decision.from_document(decision.to_document())
            return decision, True

        return await self.world.step(act)


class Model:
    def __init__(self, world):
        self.world = world

    async def answer(self, question):
        def act():
            self.world.asked.append(question)
            if isinstance(self.world.model_answer, Exception):
                raise self.world.model_answer
            return self.world.model_answer

        return await self.world.step(act)


class Nothing:
    def spent(self, merchant_id, at, usage): ...


class Directory:
    def __init__(self, merchant):
        self.merchant = merchant

    async def of_account(self, account_id):
        return self.merchant if account_id == "1" else None

    async def by_id(self, merchant_id):
        return self.merchant


class Working:
    """Standings of accounts that all work, until one is noted."""

    def __init__(self):
        self.known = {}

    async def of(self, account_id):
        return self.known.get(account_id, Standing(account_id))

    async def note(self, standing):
        self.known[standing.account_id] = standing
        return True


class Held:
    """A record in its lane: what lies behind it so far, and what comes while it waits."""

    partition = 0

    def __init__(self, behind=(), coming=(), *, owned=True):
        self.behind, self.coming, self.owned = list(behind), list(coming), owned
        self.waited = []

    def later(self, wanted):
        return any(map(wanted, self.behind))

    async def later_within(self, wanted, seconds):
        self.waited.append(seconds)
        self.behind += self.coming
        return self.later(wanted)


def process(world, merchant=SHOP, **more):
    """Return the handlers as a new process has them."""

    async def publish(events):
        await world.step(lambda: world.published.extend(events))

    metrics = AIMetrics(CollectorRegistry())
    return Handlers(
        merchants=Directory(merchant),
        standings=Working(),
        notices=None,
        held_back=HeldBack(Messages(world), Conversations(world), Decisions(world), publish, world.clock),
        orchestrator=ConversationAIOrchestrator(
            messages=Messages(world),
            conversations=Conversations(world),
            decisions=Decisions(world),
            answering=Model(world),
            spending=Nothing(),
            observer=metrics,
            publish=publish,
            clock=world.clock,
            **more,
        ),
        messages=Messages(world),
        conversations=Conversations(world),
        ownership=Conversations(world),
        decisions=Decisions(world),
        publish=publish,
        metrics=metrics,
        clock=world.clock,
        human_pause=timedelta(hours=12),
    )


async def handle(handlers, event, held):
    """Handle an event as the lane does: with what is known of it in hand."""
    hand(held)
    await handlers.handle(event)


async def play(world, *events, handlers=None, merchant=SHOP):
    """Handle events that all lie in the lane already."""
    handlers = handlers or process(world, merchant)
    for place, event in enumerate(events):
        world.clock.advance(timedelta(seconds=1))
        await handle(handlers, event, Held(events[place + 1 :]))


def event(kind, data, id_, at=NOW):
    return kind(id=id_, source="/ingest/instagram", subject="1:5", time=at, partitionkey="1:5", data=data)


def message(mid, text=None, **more):
    return event(MessageReceived, Message(**WHO, mid=mid, text=text or f"text {mid}", **more), f"1:msg:{mid}")


def unsend(mid):
    return event(MessageUnsent, Unsend(**WHO, mid=mid), f"1:del:{mid}")


def edit(mid, text):
    return event(MessageEdited, Edit(**WHO, mid=mid, text=text, num_edit=1), f"1:edit:{mid}")


def comment(number):
    return event(CommentReceived, Comment(**WHO, comment_id=number, text="nice shop"), f"1:cm:{number}")


def control(kind, at=NOW):
    return event(kind, Control(merchant_id="dar", by="ali", **WHO), f"{kind.__name__}:{at}", at)


def record(event=None, *, key=b"1:5", value=b"?"):
    value = event.to_json() if event is not None else value
    return SimpleNamespace(topic="interactions.received.v1", partition=3, offset=7, key=key, value=value)


def covers(world):
    """Return what each decision covers, by the platform's ids."""
    return [[id_.removeprefix("1:msg:") for id_ in decision.covers] for decision in world.decisions.values()]


A, B, C = message("a"), message("b"), message("c")


async def test_a_burst_that_lies_in_the_lane_is_one_turn_though_no_pause_is_wanted():
    world = World()
    await play(world, A, B, C)
    assert covers(world) == [["a", "b", "c"]]
    (question,) = world.asked
    assert (list(question.earlier), question.text) == (["text a", "text b"], "text c")
    assert question.history == ()
    (reply,) = world.published
    assert (reply.causationid, reply.data.in_reply_to) == (C.id, C.id)
    assert reply.id == reply_id(decision_id("1:5", C.id), 0)


async def test_a_message_that_is_left_takes_two_steps_and_the_last_one_four_and_the_model():
    world = World()
    handlers = process(world)
    await handle(handlers, A, Held([B]))
    assert (world.steps, world.published) == (2, [])
    await handle(handlers, B, Held())
    assert world.steps == 2 + 4 + 1 + 1  # the database, the model, Kafka


async def test_the_last_message_waits_for_the_pause_and_leaves_the_answer_to_what_comes():
    world, merchant = World(), SHOP.model_copy(update={"turn_pause": 3.0})
    handlers = process(world, merchant)
    first, second = Held(coming=[B]), Held()
    await handle(handlers, A, first)
    world.clock.advance(timedelta(seconds=10))
    await handle(handlers, B, second)
    assert (first.waited, second.waited) == ([3.0], [2.0])  # no longer than four pauses from the first one on
    assert covers(world) == [["a", "b"]]


async def test_a_turn_has_a_longest_number_of_messages():
    world = World()
    flood = [message(str(number)) for number in range(7)]
    await play(world, *flood, handlers=process(world, most_messages=3))
    assert [len(turn) for turn in covers(world)] == [3, 3, 1]


async def test_comments_and_messages_of_another_app_are_no_part_of_a_turn():
    world = World()
    await play(world, A, comment("c1"), B, message("x", standby=True))
    assert [list(d.covers) for d in world.decisions.values()] == [["1:cm:c1"], [A.id, B.id]]


async def test_the_first_rule_that_matches_any_message_decides_about_the_turn():
    def rule(name, match, value):
        when = When(channel="direct_message", match=match, values=(value,))
        return Rule(name=name, when=when, then=Then(reply={"en": name}))

    merchant = SHOP.model_copy(update={"rules": (rule("hello", "equals", "hi"), rule("price", "contains", "price"))})
    for texts, expected in (
        (("what price", "hi"), "price"),  # no mere greeting
        (("hi", "hi"), "hello"),
        (("price", "thanks"), "price"),
        (("one", "two"), None),
    ):
        world = World()
        await play(world, *(message(str(n), text) for n, text in enumerate(texts)), merchant=merchant)
        assert [decision.rule for decision in world.decisions.values()] == [expected]


async def test_rules_see_what_was_typed_beside_a_picture():
    rule = Rule(
        name="hello",
        when=When(channel="direct_message", match="equals", values=("hi",)),
        then=Then(reply={"en": "hello"}),
    )
    world, merchant = World(), SHOP.model_copy(update={"rules": (rule,)})
    pictured = message("a", "hi", attachments=({"type": "image"},))
    await play(world, pictured, message("b", "hi"), merchant=merchant)
    assert [decision.rule for decision in world.decisions.values()] == ["hello"]


async def test_an_unsend_that_waits_behind_the_last_message_swallows_nothing():
    world = World()
    await play(world, A, B, unsend("b"))
    assert covers(world) == [["a", "b"]]


async def test_a_message_whose_unsend_came_first_still_answers_what_was_left_to_it():
    world = World()
    await play(world, unsend("b"), A, B)
    assert covers(world) == [["a"]]
    assert world.asked[0].text == "text a"
    await play(world, B, A)
    assert len(world.asked) == 1
    assert len({reply.to_json() for reply in world.published}) == 1


async def test_what_is_taken_back_before_its_turn_ends_is_not_answered():
    world = World()
    await play(world, A, unsend("a"), B)
    assert covers(world) == [["b"]]
    assert list(world.asked[0].earlier) == []


async def test_an_edit_in_the_lane_is_what_the_turn_reads():
    world = World()
    await play(world, A, edit("a", "the red one"), B)
    assert list(world.asked[0].earlier) == ["the red one"]


async def test_a_takeover_between_two_messages_leaves_both_to_the_person():
    world = World()
    await play(world, A, control(ConversationTakenOver), B)
    assert covers(world) == []
    await play(world, control(ConversationReleased, NOW + timedelta(seconds=1)), C)
    assert covers(world) == [["c"]]


async def test_a_person_who_answers_between_two_messages_answers_both():
    world = World()
    wrote = event(HumanReplied, HumanReply(merchant_id="dar", **WHO, mid="h", text="hi"), "h")
    await play(world, A, wrote, B)
    assert covers(world) == []


async def test_a_copy_of_an_old_message_behind_a_new_one_does_not_swallow_it():
    world = World()
    await play(world, A)
    await play(world, B, A)  # B leaves its answer to what looks like a message to come
    assert covers(world) == [["a"], ["b"]]
    assert [reply.causationid for reply in world.published] == [A.id, A.id, B.id]


@pytest.mark.parametrize("after", [False, True])
async def test_an_answer_that_a_copy_of_another_message_gave_is_published_by_the_next_one(after):
    """Its own record is done, so nothing but what still waits in the conversation tells of it."""
    world = World()
    handlers = process(world)
    await handle(handlers, A, Held())
    await handle(handlers, B, Held([A]))
    world.fail_at, world.after = world.steps + 9, after  # what is published for B, behind A's own answer
    with pytest.raises(CrashError):
        await handle(handlers, A, Held())
    assert covers(world) == [["a"], ["b"]]
    await handle(process(world), A, Held())
    assert B.id in [reply.causationid for reply in world.published]
    assert len(world.asked) == 2


async def test_copies_of_a_burst_are_one_turn_and_say_the_same():
    world = World()
    await play(world, A, B, A, B, A)
    assert covers(world) == [["a", "b"]]
    assert len({reply.to_json() for reply in world.published}) == 1
    await play(world, B, A)
    assert len(world.asked) == 1


async def test_a_redelivered_message_of_a_turn_republishes_its_decision():
    world = World()
    await play(world, A, B)
    await play(world, A)
    assert len(world.asked) == 1
    assert [reply.id for reply in world.published] == [world.published[0].id] * 2


async def test_what_was_left_survives_a_crash_before_its_successor():
    world = World()
    await handle(process(world), A, Held([B]))
    await handle(process(world), B, Held())
    assert covers(world) == [["a", "b"]]


async def test_a_turn_that_was_begun_is_answered_as_it_was_whatever_came_in_since():
    """Two processes that answer the same message at once store one decision."""
    world = World()
    world.fail_at = 3  # the model
    with pytest.raises(CrashError):
        await handle(process(world), A, Held())
    await play(world, A, B)
    assert covers(world) == [["a"], ["b"]]


async def test_a_stored_decision_that_was_never_published_is_published_as_it_is():
    world = World()
    handlers = process(world)
    await handle(handlers, A, Held([B]))
    world.fail_at, world.after = world.steps + 4, True  # store, record, model, decision
    with pytest.raises(CrashError):
        await handle(handlers, B, Held())
    assert (len(world.decisions), world.published) == (1, [])
    await play(world, A, B, C)
    assert covers(world) == [["a", "b"], ["c"]]
    assert [reply.causationid for reply in world.published] == [B.id, B.id, C.id]


@pytest.mark.parametrize("lost_at", [2, 3])
async def test_a_replica_that_lost_its_partition_begins_nothing(lost_at):
    world = World()
    held = Held()
    world.halt_at = lost_at
    task = asyncio.create_task(handle(process(world), A, held))
    await world.halted.wait()
    held.owned = False
    world.go_on.set()
    with pytest.raises(OwnershipLost):
        await task
    assert (world.decisions, world.published) == ({}, [])


async def test_a_replica_that_lost_its_partition_publishes_nothing():
    world, held = World(), Held()
    world.halt_at = 4
    task = asyncio.create_task(handle(process(world), A, held))
    await world.halted.wait()
    held.owned = False
    world.go_on.set()
    with pytest.raises(OwnershipLost):
        await task
    assert world.published == []


async def test_while_the_model_is_held_back_its_lane_waits_and_then_the_customer_is_told():
    world = World()
    world.model_answer = ModelFailed("held_back", after=5.0)
    handlers = process(world, model_patience=60.0)
    with pytest.raises(Retryable) as waiting:
        await handle(handlers, A, Held())
    assert waiting.value.after == 5.0
    assert world.decisions == {}
    world.clock.advance(timedelta(seconds=54))
    with pytest.raises(Retryable):
        await handle(handlers, A, Held())
    world.clock.advance(timedelta(seconds=2))
    await handle(handlers, A, Held())
    (decision,) = world.decisions.values()
    assert (decision.origin, decision.reasons, decision.attention) == ("apology", ("held_back",), "model_unavailable")


async def test_a_model_that_is_well_again_in_time_answers_after_all():
    world = World()
    answer, world.model_answer = world.model_answer, ModelFailed("rate_limited", after=2.0)
    handlers = process(world)
    with pytest.raises(Retryable):
        await handle(handlers, A, Held())
    world.model_answer = answer
    await handle(handlers, A, Held())
    assert [decision.origin for decision in world.decisions.values()] == ["model"]


async def test_a_message_that_dies_calls_a_person_for_itself_and_for_what_was_left_to_it():
    world = World()
    handlers = process(world)
    await handle(handlers, A, Held([B]))
    await handlers.dead_lettered(record(B), "failed 5 times: ValueError")
    await handlers.dead_lettered(record(B), "failed 5 times: ValueError")
    first, again = world.published
    assert first.id == again.id
    assert isinstance(first.data.action, OperatorNotification)
    assert first.data.action.reason == "dead_lettered"
    assert "1:5" in first.data.action.text
    await handle(handlers, C, Held())
    assert covers(world) == [["c"]]
    assert world.dead == {A.id, B.id}


async def test_a_message_that_comes_back_from_the_dead_letters_is_answered():
    world = World()
    handlers = process(world)
    world.fail_at, world.error = 3, Permanent
    with pytest.raises(Permanent):
        await handle(handlers, A, Held())
    await handlers.dead_lettered(record(A), "x")
    await handle(handlers, B, Held())
    await handle(handlers, A, Held())
    assert covers(world) == [["b"], ["a"]]


async def test_a_comment_that_dies_leaves_the_thread_alone():
    world = World()
    handlers = process(world)
    await handle(handlers, A, Held([comment("c1"), B]))
    await handlers.dead_lettered(record(comment("c1")), "x")
    await handle(handlers, B, Held())
    assert covers(world) == [["a", "b"]]


async def test_an_unreadable_record_names_its_conversation_to_a_person_once():
    world = World()
    noted = []

    class Noting(Conversations):
        async def needs_person(self, conversation_id, *, reason, now):
            noted.append((conversation_id, reason))

    handlers = replace(process(world), conversations=Noting(world))
    for _ in range(2):
        await handlers.dead_lettered(record(), "not a valid event")
    await handlers.dead_lettered(record(key=b"99:5"), "not a valid event")
    await handlers.dead_lettered(record(key=None, value=None), "not a valid event")
    assert len({reply.id for reply in world.published}) == 1
    assert len(world.published) == 2
    assert (world.published[0].partitionkey, world.published[0].data.contact_id) == ("1:5", "5")
    assert noted == [("1:5", "dead_lettered")] * 2


@pytest.mark.parametrize("one", [unsend("a"), control(ConversationTakenOver), message("x", standby=True)])
async def test_what_leaves_no_customer_waiting_is_only_logged(one):
    world = World()
    await process(world).dead_lettered(record(one), "x")
    assert world.published == []


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
        world.steps, world.fail_at, asked = 0, None, len(world.asked)
        if trouble is not None:
            world.fail_at, world.after, kind = trouble
            world.error = CrashError if kind == "crash" else Permanent
        stored = len(world.decisions)
        try:
            await handle(self.handlers, self.log[place], Held([one for one in behind if not isinstance(one, str)]))
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
    assert len(world.asked) <= len(world.decisions) + run.lost_answers


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
