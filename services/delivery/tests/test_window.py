"""The messaging windows, at and around their edges."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.events import ANY_EVENT
from delivery.rules import window

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARGIN = timedelta(seconds=60)
moments = st.integers(-(10**8), 10**8).map(lambda seconds: NOW + timedelta(seconds=seconds))
margins = st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=23))


@pytest.mark.parametrize(
    ("ago", "margin", "open_"),
    [
        (timedelta(hours=23, minutes=59, seconds=59), timedelta(0), True),
        (timedelta(hours=24) - timedelta(milliseconds=1), timedelta(0), True),
        (timedelta(hours=24), timedelta(0), False),
        (timedelta(hours=24, milliseconds=1), timedelta(0), False),
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
    ("ago", "margin", "open_"),
    [
        (timedelta(days=7) - timedelta(milliseconds=1), timedelta(0), True),
        (timedelta(days=7), timedelta(0), False),
        (timedelta(days=7, milliseconds=1), timedelta(0), False),
        (timedelta(days=7) - MARGIN - timedelta(milliseconds=1), MARGIN, True),
        (timedelta(days=7) - MARGIN, MARGIN, False),
    ],
)
def test_a_person_may_answer_for_seven_days_less_the_margin(ago, margin, open_):
    assert window.is_open_for_people(NOW - ago, NOW, margin) is open_


def test_nobody_may_answer_when_it_is_not_known_when_the_customer_wrote():
    assert not window.is_open_for_people(None, NOW, MARGIN)


@given(last=moments, margin=margins, off=st.sampled_from([-1, 0, 1]))
def test_a_window_is_closed_from_the_moment_it_is_said_to_close(last, margin, off):
    step = timedelta(milliseconds=off)
    assert window.is_open(last, window.closes_at(last, margin) + step, margin) is (off < 0)
    assert window.is_open_for_people(last, window.closes_for_people_at(last, margin) + step, margin) is (off < 0)


@pytest.mark.parametrize("zone", ["Europe/Paris", "Asia/Baghdad", "America/New_York"])
def test_the_night_on_which_clocks_change_is_no_longer_and_no_shorter(zone):
    """24 hours are 24 hours: in Paris the night of 29 March 2026 has one hour less on the wall."""
    last = datetime(2026, 3, 28, 20, 0, tzinfo=UTC)
    local = last.astimezone(ZoneInfo(zone))
    before_the_end = last + timedelta(hours=24) - timedelta(milliseconds=1)
    assert window.is_open(local, before_the_end.astimezone(ZoneInfo(zone)), timedelta(0))
    assert not window.is_open(local, (last + timedelta(hours=24)).astimezone(ZoneInfo(zone)), timedelta(0))


@given(last=moments, margin=margins, back=st.timedeltas(timedelta(0), timedelta(days=365)))
def test_a_clock_that_is_set_back_closes_no_window(last, margin, back):
    """What was open stays open: the moment lies in the future then, and nobody can know better."""
    now = last + timedelta(hours=1)
    assert not window.is_open(last, now, margin) or window.is_open(last, now - back, margin)


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
        ("message.received", {"mid": "m", "standby": True, "text": "hi"}, True),
        ("message.received", {"mid": "m", "is_unsupported": True}, True),
        ("message.received", {"mid": "m", "text": "hi", "is_self": True}, False),
        ("message.received", {"mid": "m", "text": "hi", "contact_id": "1"}, False),
        ("message.received", {"mid": "m", "text": "hi", "contact_id": None}, False),
        ("postback.received", {"payload": "P"}, True),
        ("postback.received", {"title": "Price?", "referral": {"source": "ADS", "ad_id": "7"}}, True),
        ("postback.received", {"mid": "m", "title": "an ice breaker", "standby": True}, True),
        ("postback.received", {"payload": "P", "is_self": True}, False),
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
