"""Whether a reply may be sent, before anything is."""

from datetime import UTC, datetime, timedelta

import pytest

from common.events.replies import (
    CommentReply,
    DirectMessage,
    HideComment,
    OperatorNotification,
    PrivateReply,
    Reply,
    Typing,
)
from delivery.contacts import JAWAB, Contact
from delivery.policy import Allow, Withhold, judge

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(hours=24)


def verdict(action, *, origin="model", contact=None, decided_at=NOW, **changes):
    reply = Reply(
        reply_id="r", merchant_id="shop", account_id="1", contact_id="2", origin=origin, action=action, **changes
    )
    return judge(reply, decided_at=decided_at, contact=contact, now=NOW, margin=timedelta(seconds=60))


def reason(*arguments, **named):
    said = verdict(*arguments, **named)
    return said.reason if isinstance(said, Withhold) else None


RECENT = Contact("1:2", last_customer_at=NOW - timedelta(hours=1))
OLD = Contact("1:2", last_customer_at=NOW - DAY)
TEXT = DirectMessage(text="Hello")


def person(**changes):
    return Contact(
        **{
            "conversation_id": "1:2",
            "last_customer_at": NOW,
            "owner": "human",
            "owner_by": "person",
            "owner_since": NOW - timedelta(seconds=5),
            "owner_until": NOW + timedelta(hours=12),
            **changes,
        }
    )


def test_a_direct_message_goes_while_the_window_is_open():
    assert verdict(TEXT, contact=RECENT) == Allow()


def test_a_direct_message_without_a_tag_does_not_go_once_the_window_is_closed():
    assert reason(TEXT, contact=OLD) == "window_closed"
    assert reason(TEXT, contact=None) == "window_closed"


def test_what_is_answered_opens_the_window_even_before_it_was_observed():
    answered = {"in_reply_to": "1:msg:m1", "customer_acted_at": NOW - timedelta(seconds=1)}
    assert verdict(TEXT, contact=None, **answered) == Allow()
    assert verdict(TEXT, contact=OLD, **{**answered, "in_reply_to": "1:pb:m1"}) == Allow()


@pytest.mark.parametrize("kind", ["cm", "mn", "rx", "seen"])
def test_a_comment_a_mention_a_reaction_or_a_read_opens_no_window(kind):
    assert reason(TEXT, contact=None, in_reply_to=f"1:{kind}:x", customer_acted_at=NOW) == "window_closed"
    assert reason(TEXT, contact=None, in_reply_to=None, customer_acted_at=NOW) == "window_closed"


def test_a_message_tag_lets_only_the_tagged_route_try_outside_the_window():
    tagged = DirectMessage(text="Hello", message_tag="CONFIRMED_EVENT_UPDATE")
    assert verdict(tagged, contact=OLD) == Allow(only_tagged=True)
    assert verdict(tagged, contact=RECENT) == Allow()


@pytest.mark.parametrize("origin", ["model", "rule", "apology", "api"])
@pytest.mark.parametrize("tag", ["HUMAN_AGENT", " human_agent "])
def test_the_human_agent_tag_is_refused_for_whatever_no_person_wrote(origin, tag):
    assert reason(DirectMessage(text="Hello", message_tag=tag), origin=origin, contact=RECENT) == "human_agent_tag"


def test_a_person_may_use_the_human_agent_tag():
    assert verdict(DirectMessage(text="Hi", message_tag="HUMAN_AGENT"), origin="human", contact=RECENT) == Allow()


@pytest.mark.parametrize(
    "action", [TEXT, PrivateReply(comment_id="c", text="x"), CommentReply(comment_id="c", text="x"), Typing()]
)
def test_a_bot_keeps_silent_while_a_person_answers(action):
    assert reason(action, contact=person()) == "human_owns"


@pytest.mark.parametrize("action", [HideComment(comment_id="c"), OperatorNotification(reason="r", text="x")])
def test_moderation_and_alerts_go_on_while_a_person_answers(action):
    assert verdict(action, contact=person()) == Allow()


@pytest.mark.parametrize("origin", ["api", "human"])
def test_what_people_and_their_systems_send_goes_while_a_person_answers(origin):
    assert verdict(TEXT, origin=origin, contact=person()) == Allow()


def test_a_persons_turn_ends_after_the_pause():
    assert verdict(TEXT, contact=person(owner_until=NOW)) == Allow()
    assert reason(TEXT, contact=person(owner_until=NOW + timedelta(milliseconds=1))) == "human_owns"


def test_what_jawab_said_when_it_handed_over_still_goes_and_nothing_after_it():
    handed = person(owner_by=JAWAB, owner_since=NOW)
    assert verdict(TEXT, contact=handed, decided_at=NOW) == Allow()
    assert reason(TEXT, contact=handed, decided_at=NOW + timedelta(milliseconds=1)) == "human_owns"


def test_a_reply_decided_before_a_person_wrote_does_not_go_after_them():
    assert reason(TEXT, contact=person(), decided_at=NOW - timedelta(seconds=10)) == "human_owns"


def test_a_comment_older_than_seven_days_is_not_answered_privately():
    action = PrivateReply(comment_id="c", text="x")
    assert reason(action, customer_acted_at=NOW - timedelta(days=7)) == "comment_too_old"
    assert verdict(action, customer_acted_at=NOW - timedelta(days=6)) == Allow()


def test_a_comment_is_answered_whatever_the_messaging_window():
    assert verdict(CommentReply(comment_id="c", text="x"), contact=OLD) == Allow()
    assert verdict(PrivateReply(comment_id="c", text="x"), contact=OLD) == Allow()


def test_a_typing_indicator_is_not_shown_when_it_would_be_over():
    assert verdict(Typing(), decided_at=NOW - timedelta(seconds=20)) == Allow()
    assert reason(Typing(), decided_at=NOW - timedelta(seconds=21)) == "too_late"
