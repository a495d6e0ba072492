"""Messages that an edit announces, in any order with the message, its other copies, later edits and the unsend."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lane_world import NOW, WHO, CrashError, Held, World, event, handle, message, play, process, unsend

from common.events.interactions import (
    Comment,
    CommentReceived,
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    Unknown,
    UnknownReceived,
)
from common.events.replies import OperatorNotification

ID = "1:msg:m"


def edit(number, text):
    return event(MessageEdited, Edit(**WHO, mid="m", text=text, num_edit=number), f"1:edit:m:{number}")


def copy(known_from):
    return event(MessageReceived, Message(**WHO, mid="m", text="price?", known_from=known_from), ID)


ITSELF = message("m", "price?")
UNREAD = event(MessageReceived, Message(**WHO, mid="m", known_from="lookup", unreadable=True), "1:unread:m")
COPIES = (ITSELF, copy("edit"), copy("lookup"))
ANNOUNCEMENTS = (edit(0, None), edit(0, ""), edit(0, "  "))


def decisions_about(world, id_=ID):
    return [one for one in world.decisions.values() if id_ in one.covers]


def asked_words(world):
    return [question.text for question in world.asked]


async def test_an_announcement_without_words_leaves_the_words_of_the_message_alone():
    for announcement in ANNOUNCEMENTS:
        for order in ((announcement, ITSELF), (ITSELF, announcement), (announcement, ITSELF, announcement)):
            world = World()
            await play(world, *order)
            assert len(decisions_about(world)) == 1
            assert world.messages[ID]["text"] == "price?"
            assert asked_words(world) == ["price?"]


async def test_a_message_that_only_an_edit_tells_of_is_answered():
    world = World()
    await play(world, edit(1, "price of the red one?"))
    assert asked_words(world) == ["price of the red one?"]
    await play(world, ITSELF)
    assert len(decisions_about(world)) == 1
    assert len(world.asked) == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(1, 9))
async def test_an_edit_that_brought_its_message_finishes_its_answer_after_a_crash(step, after):
    world = World()
    world.fail_at, world.after = step, after
    with contextlib.suppress(CrashError):
        await play(world, edit(1, "price of the red one?"))
    world.fail_at = None
    await play(world, edit(1, "price of the red one?"), handlers=process(world))
    (decision,) = decisions_about(world)
    assert {reply.id for reply in world.published} == {reply.id for reply in decision.replies}
    assert world.conversation().unanswered == ()


async def test_what_an_edit_announces_is_left_to_the_message_itself_where_that_comes_with_it():
    for first in (copy("edit"), edit(1, "price?")):
        world = World()
        handlers, held = process(world), Held(coming=[ITSELF])
        await handle(handlers, first, held)
        assert (world.asked, held.waited) == ([], [1.0])
        await handle(handlers, ITSELF, Held())
        assert asked_words(world) == ["price?"]


events_of_one_message = st.lists(
    st.sampled_from([*COPIES, *ANNOUNCEMENTS, edit(1, "price of the red one?"), edit(2, "price of the blue one?")]),
    min_size=1,
    max_size=8,
)


@given(events_of_one_message, st.booleans())
def test_in_whatever_order_they_come_there_is_one_answer_to_the_last_words_known(events, one_lane):
    async def run():
        world = World()
        if one_lane:
            await play(world, *events)
        else:
            for one in events:
                await play(world, one, handlers=process(world))
        return world

    world = asyncio.run(run())
    said = [one for one in events if one.data.text and one.data.text.strip()]
    assert len(decisions_about(world)) == bool(said)
    assert len(world.asked) == bool(said)
    if said:
        edits = [one.data for one in said if isinstance(one, MessageEdited)]
        latest = max(edits, key=lambda one: one.num_edit).text if edits else "price?"
        assert world.messages[ID]["text"] == latest
    assert {reply.id for reply in world.published} == {
        reply.id for one in decisions_about(world) for reply in one.replies
    }


@given(events_of_one_message)
def test_what_was_taken_back_is_never_answered(events):
    async def run():
        world = World()
        await play(world, unsend("m"), *events)
        return world

    assert asyncio.run(run()).published == []


@given(events_of_one_message, st.integers(0, 8))
def test_wherever_it_is_taken_back_it_is_answered_at_most_once_and_its_words_are_gone(events, place):
    async def run():
        world = World()
        for one in (*events[:place], unsend("m"), *events[place:]):
            await play(world, one, handlers=process(world))
        return world

    world = asyncio.run(run())
    told_before = [one for one in events[:place] if one.data.text and one.data.text.strip()]
    assert len(decisions_about(world)) == len(world.asked) == bool(told_before)
    assert world.messages[ID]["text"] == ""


async def test_a_message_that_nobody_can_read_calls_an_agent_once_and_the_real_one_is_answered():
    world = World()
    await play(world, UNREAD)
    await play(world, UNREAD, handlers=process(world))
    (reply,) = {one.id: one for one in world.published}.values()
    assert isinstance(reply.data.action, OperatorNotification)
    assert reply.data.action.reason == "message_unreadable"
    assert world.conversation().attention == "message_unreadable"
    await play(world, ITSELF)
    assert asked_words(world) == ["price?"]


async def test_while_an_agent_is_called_the_next_unreadable_thing_is_a_decision_and_no_second_call():
    world = World()
    unknown = [event(UnknownReceived, Unknown(**WHO, field="new"), f"1:un:{number}") for number in range(5)]
    await play(world, *unknown)
    assert len(world.published) == 1
    assert [one.attention for one in world.decisions.values()] == ["event_unknown"] * 5
    assert world.asked == []


async def test_what_is_unknown_beside_a_message_takes_nothing_from_its_answer():
    world = World()
    await play(world, ITSELF, event(UnknownReceived, Unknown(**WHO, field="new"), "1:un:1"))
    assert asked_words(world) == ["price?"]


async def test_nothing_is_called_for_where_an_agent_answers():
    world = World()
    world.conversations["1:5"] = replace(world.conversation(), human_until=NOW.replace(year=2030))
    await play(world, UNREAD)
    assert (world.published, world.decisions) == ([], {})


async def test_a_comment_without_an_author_is_handed_over_with_its_place():
    world = World()
    data = Comment(account_id="1", comment_id="c9", text="price?")
    await play(world, event(CommentReceived, data, "1:cm:c9"))
    (reply,) = world.published
    assert "comment c9" in reply.data.action.text
