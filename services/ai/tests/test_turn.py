"""Which messages are answered together, and by which of them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.history import Conversation, Unanswered
from ai.incoming import incoming
from ai.turn import LONGEST_PAUSES, LONGEST_WAIT, continues, next_turn, seconds_to_wait
from common.events.interactions import (
    Comment,
    CommentReceived,
    Echo,
    EchoReceived,
    Edit,
    Message,
    MessageEdited,
    MessageReceived,
    MessageUnsent,
    Postback,
    PostbackReceived,
    Reaction,
    ReactionReceived,
    Unsend,
)

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def event(kind, data, id_):
    return kind(id=id_, source="/ingest/instagram", subject="1:5", time=NOW, partitionkey="1:5", data=data)


def who(**more):
    return {"account_id": "1", "contact_id": "5", **more}


def message(id_="m1", **more):
    return event(MessageReceived, Message(**who(mid=id_, text="hello", **more)), id_)


SAID = incoming(message())
REMARK = incoming(event(CommentReceived, Comment(**who(comment_id="c", text="hello")), "c1"))


@pytest.mark.parametrize(
    "later",
    [
        message("m2"),
        event(MessageReceived, Message(**who(mid="m2", quick_reply="YES")), "m2"),
        event(PostbackReceived, Postback(**who(title="Prices")), "p1"),
    ],
)
def test_another_message_or_a_tapped_button_continues_a_turn(later):
    assert continues(SAID)(later)


@pytest.mark.parametrize(
    "later",
    [
        message("m1"),  # a copy of itself
        message("m2", standby=True),
        message("m2", is_self=True),
        event(MessageReceived, Message(account_id="1", contact_id="6", mid="m2", text="x"), "m2"),
        event(MessageReceived, Message(account_id="1", contact_id="1", mid="m2", text="x"), "m2"),
        event(CommentReceived, Comment(**who(comment_id="c", text="hello")), "c1"),
        event(MessageEdited, Edit(**who(mid="m2", text="x")), "e1"),
        event(MessageUnsent, Unsend(**who(mid="m1")), "d1"),
        event(EchoReceived, Echo(**who(mid="m2", text="x")), "x1"),
        event(ReactionReceived, Reaction(**who(mid="m2")), "r1"),
    ],
)
def test_what_will_not_be_answered_in_the_thread_continues_no_turn(later):
    assert not continues(SAID)(later)


def waiting(id_, *, at=NOW, **more):
    return Unanswered(id=id_, at=at, stored_at=at, **more)


def conversation(*messages, **more):
    return Conversation("1:5", unanswered=messages, **more)


def test_everything_that_waits_is_one_turn_and_the_last_message_is_replied_to():
    turn = next_turn(conversation(waiting("a"), waiting("b"), waiting("c")), SAID)
    assert (turn.covers, turn.trigger.id, turn.begun) == (("a", "b", "c"), "c", False)


def test_a_turn_that_was_begun_goes_first_and_nothing_joins_it():
    interrupted = conversation(waiting("a"), waiting("b", closes=True), waiting("c"))
    turn = next_turn(interrupted, SAID)
    assert (turn.covers, turn.begun) == (("a", "b"), True)
    assert next_turn(interrupted.without(turn.covers), SAID).covers == ("c",)


def test_comments_are_answered_each_by_itself():
    both = conversation(waiting("m0"), waiting("c1", channel="comment", closes=True), waiting("m1"))
    assert next_turn(both, REMARK).covers == ("c1",)
    assert next_turn(both, SAID).covers == ("m0", "m1")


def test_what_came_in_while_a_person_owned_the_conversation_is_that_persons():
    later = NOW + timedelta(hours=1)
    messages = (waiting("a"), waiting("b", at=later))
    assert next_turn(conversation(*messages, human_until=later + timedelta(hours=1)), SAID) is None
    assert next_turn(conversation(*messages, answers_from=later), SAID).covers == ("b",)
    assert next_turn(conversation(*messages, human_until=later), SAID).covers == ("b",)
    assert next_turn(conversation(), SAID) is None


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_turns_taken_one_after_another_cover_each_message_once_and_in_order(closing):
    left = conversation(*(waiting(str(n), closes=closes) for n, closes in enumerate(closing)))
    covered = []
    while (turn := next_turn(left, SAID)) is not None:
        assert not any(m.closes for m in turn.messages[:-1])
        covered += turn.covers
        left = left.without(turn.covers)
    assert covered == [str(n) for n in range(len(closing))]


def test_the_last_message_waits_for_the_pause_and_without_one_not_at_all():
    assert seconds_to_wait(3.0, since=None, now=NOW) == 3.0
    assert seconds_to_wait(0.0, since=None, now=NOW) == 0.0
    assert seconds_to_wait(3.0, since=NOW - timedelta(seconds=2), now=NOW) == 3.0
    assert seconds_to_wait(3.0, since=NOW - timedelta(seconds=11), now=NOW) == 1.0
    assert seconds_to_wait(60.0, since=NOW - timedelta(seconds=100), now=NOW) == 20.0


@given(st.floats(0, 60), st.lists(st.floats(0, 60), max_size=60))
def test_a_customer_who_never_stops_typing_is_answered_all_the_same(pause, gaps):
    """Each message comes within the pause of the one before: the sum of all waits is bounded."""
    waited = 0.0
    for gap in gaps:
        seconds = seconds_to_wait(pause, since=NOW, now=NOW + timedelta(seconds=waited))
        assert 0 <= seconds <= pause
        waited += min(gap, seconds)
    assert waited <= min(pause * LONGEST_PAUSES, LONGEST_WAIT) + 0.001
