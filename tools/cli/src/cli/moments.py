"""Times and durations as people type and read them. Pure."""

import re
from datetime import UTC, datetime, timedelta

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s{0,9}(ms|min|[smhdw])")
WRITTEN_DURATION = re.compile(rf"(?:{PART.pattern}\s*)+")
LONGEST = timedelta(days=3660)

DURATION_HINT = "write it like 90s, 15m, 1h30m or 7d"
MOMENT_HINT = "write it like 2026-03-01, 2026-03-01T14:30, 2026-03-01T14:30+03:00, 14:30, 2h ago or now"


def parse_duration(text: str) -> timedelta:
    """Read `90s`, `1h30m`, `7d`. Raises ValueError with the fix."""
    written = text.strip().lower()
    if not WRITTEN_DURATION.fullmatch(written):
        raise ValueError(f"{text!r} is not a duration: {DURATION_HINT}")
    seconds = sum(float(number) * UNITS[unit] for number, unit in PART.findall(written))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return timedelta(seconds=seconds)


def parse_moment(text: str, now: datetime) -> datetime:
    """Read a point in time, in UTC where no offset is written. Raises ValueError with the fix.

    `now` is what relative times (`2h ago`, `now`, `14:30` of today) refer to.
    """
    written = text.strip()
    lowered = written.lower()
    if lowered == "now":
        return now
    if lowered.endswith("ago"):
        return now - parse_duration(lowered.removesuffix("ago"))
    if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2})?", written):
        written = f"{now.astimezone(UTC):%Y-%m-%d}T{written.zfill(5) if written.count(':') == 1 else written.zfill(8)}"
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: {MOMENT_HINT}") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)


def in_words(duration: timedelta) -> str:
    """Say a duration in its largest fitting unit: `14 days`, `3 min`, `12 ms`."""
    seconds = duration.total_seconds()
    if seconds < 0:
        return f"-{in_words(-duration)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, one, many in ((86400, "day", "days"), (3600, "h", "h"), (60, "min", "min")):
        if seconds >= size:
            count = seconds / size
            shown = _number(count)
            return f"{shown} {one if shown == '1' else many}"
    return f"{_number(seconds)} s"


def _number(count: float) -> str:
    """Write a number with two digits that count, and no needless zero."""
    return f"{count:.0f}" if count >= 10 else f"{count:.1f}".removesuffix(".0")  # noqa: PLR2004


def written(moment: datetime) -> str:
    """Write a moment so that it can be pasted back: UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def of_ms(milliseconds: int) -> datetime:
    """Return the moment of a count of milliseconds since the epoch."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def to_ms(moment: datetime) -> int:
    """Return the milliseconds since the epoch."""
    return int(moment.timestamp() * 1000)
