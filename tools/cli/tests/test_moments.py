"""Times and durations as people type and read them."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.moments import in_words, of_ms, parse_duration, parse_moment, to_ms, written

NOW = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("1h30m", 5400), (" 7D ", 604800), ("1.5h", 5400), ("250ms", 0.25), ("2h 5min", 7500)],
)
def test_durations_are_read_in_their_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "h", "-5m", "five minutes", "1h!", "9999999999d"])
def test_what_is_no_duration_is_refused_with_its_own_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|ten years"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("2h ago", datetime(2026, 11, 21, 10, 30, tzinfo=UTC)),
        ("14:05", datetime(2026, 11, 21, 14, 5, tzinfo=UTC)),
        ("9:05", datetime(2026, 11, 21, 9, 5, tzinfo=UTC)),
        ("2026-03-01", datetime(2026, 3, 1, tzinfo=UTC)),
        ("2026-03-01T14:30", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
        ("2026-03-01T14:30+03:00", datetime(2026, 3, 1, 11, 30, tzinfo=UTC)),
        ("2026-03-01T14:30:00Z", datetime(2026, 3, 1, 14, 30, tzinfo=UTC)),
    ],
)
def test_moments_are_utc_unless_they_say_otherwise(text: str, moment: datetime) -> None:
    assert parse_moment(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2026-13-01", "ago", "soon ago"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_moment(text, NOW)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (14 * 86400, "14 days"),
        (86400, "1 day"),
        (3 * 86400 + 1, "3 days"),
        (5400, "1.5 h"),
        (180, "3 min"),
        (42, "42 s"),
        (1.5, "1.5 s"),
        (0.012, "12 ms"),
    ],
)
def test_durations_are_said_in_their_largest_unit(seconds: float, said: str) -> None:
    assert in_words(timedelta(seconds=seconds)) == said


@given(st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(days=3000)))
def test_what_is_said_can_be_read_back_to_about_the_same(duration: timedelta) -> None:
    read = parse_duration(in_words(duration).replace("days", "d").replace("day", "d"))
    assert abs(read - duration) <= duration * 0.1


@given(st.datetimes(min_value=datetime(1990, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 made aware below
def test_a_written_moment_reads_back_to_the_second(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC, microsecond=0)
    assert parse_moment(written(aware), NOW) == aware == of_ms(to_ms(aware))
