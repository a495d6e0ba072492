"""The machine's clocks."""

from datetime import UTC, datetime, timedelta

from common.clock import SystemClock, monotonic


def test_a_clock_offset_moves_the_wall_clock_alone():
    before, ticks = datetime.now(UTC), monotonic()
    moved = SystemClock(-90.0).now()
    after = datetime.now(UTC)
    assert before <= moved + timedelta(seconds=90) <= after
    assert 0 <= monotonic() - ticks <= (after - before).total_seconds() + 1
