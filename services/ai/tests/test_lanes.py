"""Turns in their lane: what lies behind a message is one turn with it, and a crash anywhere answers it once."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from lane_world import (
    NOW,
    SHOP,
    WHO,
    A,
    B,
    C,
    Conversations,
    CrashError,
    Held,
    World,
    comment,
    control,
    covers,
    edit,
    event,
    handle,
    message,
    play,
    process,
    record,
    unsend,
)

from ai.completion import ModelFailed
from ai.turn import MAX_GROWTH_SECONDS, MAX_GROWTHS
from common.errors import Permanent, Retryable
from common.events.control import ConversationReleased, ConversationTakenOver
from common.events.ids import decision_id, reply_id
from common.events.outcomes import HumanReplied, HumanReply
from common.events.replies import OperatorNotification
from common.kafka.hold import OwnershipLost
from common.merchants import Rule, Then, When


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


@pytest.mark.parametrize(
    "key", [None, b"", b"1", b"1:", b":5", b"1:\xff", b"1:5 secret", b"1:\x00", b"1:" + b"5" * 4_000_000]
)
async def test_a_key_that_names_no_conversation_is_neither_stored_nor_logged(key, capsys):
    """A foreign record on a topic of ours may have any key."""
    world = World()
    await process(world).dead_lettered(record(key=key), "not a valid event")
    written = capsys.readouterr().out
    assert world.published == []
    assert "record.of_no_conversation" in written
    assert len(written) < 500
    assert "secret" not in written


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


def meanwhile(world, *events):
    """Let the customer write these while the model makes an answer, one while each."""
    world.written_meanwhile = list(events)


async def all_of(world, held, first, *, handlers=None, merchant=SHOP):
    """Handle a lane to its end; what is written meanwhile comes into it."""
    handlers = handlers or process(world, merchant)
    lane = held.behind
    lane.insert(0, first)
    while lane:
        world.clock.advance(timedelta(seconds=1))
        now, held.behind = lane[0], lane[1:]
        await handle(handlers, now, held)
        lane = held.behind


async def test_what_is_written_while_an_answer_is_made_is_answered_together_with_it():
    world = World()
    meanwhile(world, B)
    await all_of(world, Held(), A)
    assert covers(world) == [["a", "b"]]
    assert len(world.asked) == 2
    assert len({reply.id for reply in world.published}) == 1


@pytest.mark.parametrize("pause", [0.0, 2.0])
async def test_a_customer_who_keeps_writing_is_answered_all_the_same(pause):
    world = World()
    many = [message(f"m{number}") for number in range(8)]
    meanwhile(world, *many[1:])
    await all_of(world, Held(), many[0], merchant=SHOP.model_copy(update={"turn_pause": pause}))
    assert [id_ for one in covers(world) for id_ in one] == [f"m{number}" for number in range(8)]
    assert len(covers(world)[0]) == 1 + MAX_GROWTHS
    assert [reply.causationid for reply in world.published] == [f"1:msg:{one[-1]}" for one in covers(world)]


async def test_a_turn_that_lasts_too_long_grows_no_more():
    world = World()
    world.clock_jumps = timedelta(seconds=MAX_GROWTH_SECONDS)
    meanwhile(world, B)
    await all_of(world, Held(), A)
    assert covers(world) == [["a"], ["b"]]


async def test_what_another_app_or_a_comment_says_meanwhile_throws_no_answer_away():
    for other in (comment("c1"), message("b", standby=True), A):
        world = World()
        meanwhile(world, other)
        await all_of(world, Held(), A)
        assert covers(world)[0] == ["a"]
        assert len([question for question in world.asked if question.text == "text a"]) == 1


async def test_nothing_is_left_to_what_nobody_can_read():
    """An agent is called to it: no answer is made of which the earlier message could be a part."""
    unread = message("u", known_from="lookup", unreadable=True)
    world = World()
    await all_of(world, Held([unread]), A)
    assert covers(world)[0] == ["a"]
    world = World()
    meanwhile(world, unread)
    await all_of(world, Held(), A)
    assert covers(world)[0] == ["a"]


async def test_where_the_later_message_is_taken_back_the_first_is_answered():
    world = World()
    meanwhile(world, B)
    held = Held()
    handlers = process(world)
    await handle(handlers, A, held)
    assert covers(world) == []
    await handle(handlers, unsend("b"), Held([B]))
    await handle(handlers, B, Held())
    assert covers(world) == [["a"]]


async def test_after_a_crash_a_stored_end_of_a_turn_holds():
    world = World()
    world.fail_at, world.after = 3, False  # in the model: the message and its line, which ends the turn, are stored
    with pytest.raises(CrashError):
        await handle(process(world), A, Held())
    world.fail_at, asked = None, len(world.asked)
    meanwhile(world, B)
    await all_of(world, Held(), A, handlers=process(world))
    assert covers(world) == [["a"], ["b"]]
    assert len(world.asked) == asked + 2


async def test_an_answer_that_may_be_stored_is_never_thrown_away():
    world = World()
    world.fail_at, world.after, world.error = 4, True, Retryable  # stored, and never acknowledged
    handlers, held = process(world), Held()
    with pytest.raises(Retryable):
        await handle(handlers, A, held)
    world.fail_at = None
    held.behind.append(B)
    await handle(handlers, A, held)
    await handle(handlers, B, Held())
    assert covers(world) == [["a"], ["b"]]
    assert len(world.asked) == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 16))
async def test_wherever_a_process_dies_while_a_turn_grows_each_message_is_answered_once(step, after):
    world = World()
    meanwhile(world, B, C)
    world.fail_at, world.after = step, after
    handlers, log = process(world), [A, B, C]
    place = 0
    for _ in range(10):
        if place == len(log):
            break
        held = Held(log[place + 1 : place + 1 + 3 * (world.steps > step)])
        try:
            await handle(handlers, log[place], held)
        except CrashError:
            handlers, place = process(world), 0
            continue
        place += 1
    assert sorted(id_ for one in covers(world) for id_ in one) == ["a", "b", "c"]
    assert {reply.data.decision_id for reply in world.published} == world.decisions.keys()
