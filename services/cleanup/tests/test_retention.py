"""Ages and what may go at all: pure, so that every boundary is tried without a database."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cleanup.retention import CLOSED_STATES, cutoffs, kinds
from cleanup.settings import MAX_DAYS, MIN_DAYS, Settings
from common.kafka.topics import DAY_MS, TOPICS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
VARIABLES = (
    "RETENTION_MESSAGES_DAYS",
    "RETENTION_DECISIONS_DAYS",
    "RETENTION_USAGE_DAYS",
    "RETENTION_DELIVERIES_DAYS",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAWAB_ENV", "development")
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_everything_has_an_age_of_its_own():
    at = cutoffs(Settings(), NOW)
    assert at.messages == NOW - timedelta(days=365)
    assert at.decisions == NOW - timedelta(days=90)
    assert at.usage == NOW - timedelta(days=400)
    assert at.deliveries == NOW - timedelta(days=90)


@given(days=st.integers(31, 5000))
def test_a_document_of_exactly_the_configured_age_stays(days: int):
    at = cutoffs(Settings(messages_days=days), NOW)
    exactly = NOW - timedelta(days=days)
    assert not exactly < at.messages
    assert exactly - timedelta(microseconds=1) < at.messages


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("days", ["30", "15", "0", "-3"])
def test_ids_may_never_be_forgotten_while_a_record_can_still_be_read_again(
    monkeypatch: pytest.MonkeyPatch, variable: str, days: str
):
    monkeypatch.setenv(variable, days)
    with pytest.raises(
        ValidationError,
        match=f"{variable} must be at least 31: a record can be read again from the topics and the dead letters for 30",
    ):
        Settings()


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("days", [MAX_DAYS + 1, 3_000_000, 10**30])
def test_an_age_that_no_calendar_has_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, variable: str, days: int):
    monkeypatch.setenv(variable, str(days))
    with pytest.raises(ValidationError, match=f"{variable} must be at most {MAX_DAYS}"):
        Settings()


def test_everything_may_be_kept_for_a_hundred_years(monkeypatch: pytest.MonkeyPatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(MAX_DAYS))
    assert cutoffs(Settings(), NOW).usage.year == NOW.year - 100


def test_the_least_age_is_derived_from_the_topic_that_keeps_its_records_longest():
    conversations = [topic for topic in TOPICS if topic.keyed_by == "conversation"]
    assert all(topic.retention_ms < MIN_DAYS * DAY_MS for topic in conversations)


def test_one_day_more_than_the_dead_letters_are_kept_is_enough(monkeypatch: pytest.MonkeyPatch):
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "31")
    assert Settings().deliveries_days == 31


def test_a_ledger_row_goes_only_in_a_state_that_nothing_follows():
    ledger = next(kind for kind in kinds(cutoffs(Settings(), NOW)) if kind.collection == "deliveries")
    assert ledger.closed == {
        "$or": [{"state": {"$in": list(CLOSED_STATES)}, "untold": {"$ne": True}}, {"erased": True}]
    }
    assert not {"claimed", "attempting", "unknown"} & set(CLOSED_STATES)


def test_what_belongs_to_a_conversation_goes_before_the_conversation():
    order = [kind.collection for kind in kinds(cutoffs(Settings(), NOW))]
    assert order.index("messages") < order.index("conversations")
    assert order.index("deliveries") < order.index("conversations")
