"""How long this process has known an attempt, whatever the time is that was written with it."""

from datetime import UTC, datetime, timedelta

import pytest

from common.clock import Monotonic
from common.events.replies import DirectMessage, Reply
from delivery import first_seen, ledger
from delivery.first_seen import FirstSeen

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Ticks:
    def __init__(self):
        self.at = 100.0

    def __call__(self):
        return Monotonic(self.at)


@pytest.fixture
def ticks():
    return Ticks()


def attempt(reply_id="r", at=NOW, attempts=1):
    reply = Reply(
        reply_id=reply_id,
        merchant_id="shop",
        account_id="1",
        contact_id="2",
        origin="api",
        action=DirectMessage(text="Hello"),
    )
    row = ledger.opened(reply, ("k",), at)
    for _ in range(attempts - 1):
        row = ledger.nothing_sent(ledger.begin(row, "graph", at))
    return ledger.begin(row, "graph", at)


@pytest.mark.parametrize("written", [-120, 0, 120])
def test_an_attempt_is_as_old_as_it_has_been_known_here(ticks, written):
    seen, row = FirstSeen(ticks), attempt(at=NOW + timedelta(seconds=written))
    assert seen.seconds(row, 0) == 0
    ticks.at += 14
    assert seen.seconds(row, 0) == 14


def test_each_attempt_counts_anew(ticks):
    seen = FirstSeen(ticks)
    seen.seconds(attempt(), 0)
    ticks.at += 14
    assert seen.seconds(attempt(attempts=2), 0) == 0
    assert seen.seconds(attempt(), 0) == 14


def test_what_is_forgotten_counts_anew_and_what_is_asked_for_is_not_forgotten(ticks, monkeypatch):
    monkeypatch.setattr(first_seen, "MAX_REMEMBERED", 2)
    seen = FirstSeen(ticks)
    for reply_id in ("a", "b"):
        seen.seconds(attempt(reply_id), 0)
    ticks.at += 5
    assert seen.seconds(attempt("a"), 0) == 5
    seen.seconds(attempt("c"), 0)
    assert seen.seconds(attempt("a"), 0) == 5
    assert seen.seconds(attempt("b"), 0) == 0
