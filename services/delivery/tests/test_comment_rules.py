"""What may be answered under a comment and privately to it, at and around the edges."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events.replies import CommentReply, PrivateReply
from delivery.rules import comment_rules

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARGIN = timedelta(seconds=60)
TICK = timedelta(milliseconds=1)


def private(*, live=False):
    return PrivateReply(comment_id="c", text="x", live=live)


@pytest.mark.parametrize(("live", "within"), [(False, timedelta(days=7)), (True, timedelta(hours=4))])
@pytest.mark.parametrize("margin", [timedelta(0), MARGIN])
def test_a_comment_can_be_answered_privately_for_seven_days_and_a_live_one_while_it_can_be_live(live, within, margin):
    def is_open(ago):
        return comment_rules.private_reply_is_open(private(live=live), NOW - ago, NOW, margin)

    assert is_open(within - margin - TICK)
    assert not is_open(within - margin)
    assert not is_open(within - margin + TICK)
    assert is_open(timedelta(seconds=-5))


@given(live=st.booleans(), margin=st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_a_comment_of_unknown_age_is_left_to_the_platform(live, margin):
    assert comment_rules.private_reply_is_open(private(live=live), None, NOW, margin)


def test_an_answer_to_an_answer_stands_under_their_parent():
    assert CommentReply(comment_id="c", text="x").under == "c"
    assert CommentReply(comment_id="c", parent_id="p", text="x").under == "p"


@pytest.mark.parametrize(("hidden", "under"), [({"c"}, True), ({"p"}, True), ({"other"}, False), (set(), False)])
def test_nothing_is_answered_under_what_was_hidden(hidden, under):
    action = CommentReply(comment_id="c", parent_id="p", text="x")
    assert comment_rules.is_under_hidden(action, frozenset(hidden)) is under
