"""Seconds, milliseconds, microseconds, as numbers or text: size tells them apart."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.notifications.times import happened, milliseconds, moment

AT = datetime(2026, 11, 21, 18, 4, 5, 250000, tzinfo=UTC)
SECONDS = int(AT.timestamp())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (SECONDS, AT.replace(microsecond=0)),
        (str(SECONDS), AT.replace(microsecond=0)),
        (f" {SECONDS} ", AT.replace(microsecond=0)),
        (SECONDS + 0.25, AT),
        (f"{SECONDS}.25", AT),
        (SECONDS * 1000 + 250, AT),
        (str(SECONDS * 1000 + 250), AT),
        (SECONDS * 1_000_000 + 250_000, AT),
        ("2026-11-21T18:04:05.250+0000", AT),
        ("2026-11-21T21:04:05.250+03:00", AT),
        ("2026-11-21T18:04:05.250", AT),
        (1234567890, datetime(2009, 2, 13, 23, 31, 30, tzinfo=UTC)),
    ],
)
def test_each_notation_means_the_same_moment(value, expected):
    assert moment(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        0,
        -1,
        -1763740800,
        5,
        999_999_999,
        10**17,
        10**30,
        float("nan"),
        float("inf"),
        1e300,
        "",
        "now",
        "-5",
        "١٧٦٣٧٤٠٨٠٠",
        "1" * 40,
        "<TIME>",
        "1999-01-01T00:00:00+00:00",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        [],
        {},
    ],
)
def test_what_is_no_plausible_moment_is_none(value):
    assert moment(value) is None


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes().map(str))
def test_no_value_raises_and_every_moment_is_after_2001(value):
    at = moment(value)
    assert at is None or at >= datetime(2001, 9, 9, tzinfo=UTC)


@given(st.datetimes(datetime.fromisoformat("2002-01-01"), datetime.fromisoformat("2100-01-01")))
def test_milliseconds_and_back(naive):
    at = naive.replace(tzinfo=UTC, microsecond=naive.microsecond // 1000 * 1000)
    assert moment(milliseconds(at)) == at
    assert moment(str(milliseconds(at))) == at


def test_the_first_known_time_counts_and_none_is_later_than_the_arrival():
    earlier, later = AT - timedelta(hours=1), AT + timedelta(days=400)
    assert happened(None, earlier, AT, received_at=AT) == earlier
    assert happened(None, None, received_at=AT) == AT
    assert happened(later, earlier, received_at=AT) == AT
