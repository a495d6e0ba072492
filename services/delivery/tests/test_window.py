"""The messaging windows, at and around their edges."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events import ANY_EVENT
from delivery import window

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARGIN = timedelta(seconds=60)
moments = st.integers(-(10**8), 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds))
margins = st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=23))


@pytest.mark.parametrize(
    ("ago", "margin", "open_"),
    [
        (timedelta(hours=23, minutes=59, seconds=59), timedelta(0), True),
        (timedelta(hours=24), timedelta(0), False),
        (timedelta(hours=23, minutes=58, seconds=59, milliseconds=999), MARGIN, True),
        (timedelta(hours=23, minutes=59), MARGIN, False),
        (timedelta(seconds=-5), MARGIN, True),
    ],
)
def test_the_window_closes_a_margin_before_24_hours(ago, margin, open_):
    assert window.is_open(NOW - ago, NOW, margin) is open_


def test_the_window_is_closed_when_nobody_knows_when_the_customer_wrote():
    assert not window.is_open(None, NOW, MARGIN)


@given(last=moments, now=moments, margin=margins)
def test_open_means_less_than_24_hours_without_the_margin(last, now, margin):
    assert window.is_open(last, now, margin) == ((now - last + margin) < timedelta(hours=24))


@given(last=moments, now=moments, later=st.timedeltas(timedelta(0), timedelta(days=365)), margin=margins)
def test_a_closed_window_does_not_open_by_waiting(last, now, later, margin):
    if not window.is_open(last, now, margin):
        assert not window.is_open(last, now + later, margin)


@pytest.mark.parametrize(
    ("ago", "open_"),
    [(timedelta(days=6, hours=23, minutes=58), True), (timedelta(days=6, hours=23, minutes=59), False)],
)
def test_a_comment_can_be_answered_privately_for_seven_days(ago, open_):
    assert window.private_reply_is_open(NOW - ago, NOW, MARGIN) is open_


def test_a_comment_of_unknown_age_is_left_to_the_platform():
    assert window.private_reply_is_open(None, NOW, MARGIN)


def test_the_latest_of_known_moments_counts():
    assert window.latest(None, NOW, NOW - MARGIN) == NOW
    assert window.latest(None, None) is None


def event(kind, **data):
    return ANY_EVENT.validate_python(
        {
            "id": "1:x",
            "source": "/ingest/instagram",
            "type": f"com.jawab.{kind}.v1",
            "subject": "1:2",
            "time": NOW,
            "partitionkey": "1:2",
            "data": {"account_id": "1", "contact_id": "2", **data},
        }
    )


@pytest.mark.parametrize(
    ("kind", "data", "opens"),
    [
        ("message.received", {"mid": "m", "text": "hi"}, True),
        ("message.received", {"mid": "m", "reply_to": {"story_id": "s"}}, True),
        ("message.received", {"mid": "m", "attachments": [{"type": "story_mention"}]}, True),
        ("message.received", {"mid": "m", "quick_reply": "YES"}, True),
        ("postback.received", {"payload": "P"}, True),
        ("reaction.received", {"mid": "m"}, False),
        ("message.read", {"mid": "m"}, False),
        ("message.edited", {"mid": "m"}, False),
        ("message.unsent", {"mid": "m"}, False),
        ("echo.received", {"mid": "m"}, False),
        ("comment.received", {"comment_id": "c"}, False),
        ("livecomment.received", {"comment_id": "c"}, False),
        ("mention.received", {"media_id": "c"}, False),
        ("referral.received", {"referral": {}}, False),
        ("optin.received", {}, False),
    ],
)
def test_only_what_the_customer_writes_or_taps_opens_the_window(kind, data, opens):
    assert window.opens(event(kind, **data)) is opens
