"""The four stages: numbers from Kafka become waiting, in progress, completed, failed; and a verdict with a reason."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.job_status import JobStatus
from ingest.backlog import BacklogUnknown
from ingest.stages import (
    GROWTH_SECONDS,
    LOOK_SECONDS,
    FailureHistory,
    Partition,
    Stage,
    assessed,
    consumed_stage,
    overall,
)

NOW_MS = 1_800_000_000_000


def test_what_is_committed_is_completed_and_the_rest_waits_or_is_in_progress():
    note = json.dumps({"in_progress": 3, "oldest_ms": NOW_MS - 4500})
    partitions = [Partition(0, 100, 90, note), Partition(10, 50, 50), Partition(0, 7, head_ms=NOW_MS - 90_000)]
    stage = consumed_stage(partitions, dead_letters=2, now_ms=NOW_MS)
    assert stage == Stage(waiting=14, in_progress=3, completed=138, failed=2, oldest_age_seconds=90.0)


def test_a_group_that_committed_nothing_has_everything_that_is_still_kept_before_it():
    assert consumed_stage([Partition(40, 50)], dead_letters=0, now_ms=NOW_MS).waiting == 10


def test_a_commit_before_what_retention_has_left_counts_from_there():
    assert Partition(40, 50, 5).lag == 10


@pytest.mark.parametrize(
    "note", ["", "x", "[]", "7", "[" * 4096, '{"in_progress":-1}', '{"in_progress":"2","oldest_ms":"a"}']
)
def test_a_commit_note_of_somebody_else_is_no_note(note):
    assert Partition(0, 5, 1, note).noted == (0, None)


@given(
    st.lists(
        st.builds(
            Partition,
            beginning=st.integers(0, 100),
            end=st.integers(100, 200),
            committed=st.none() | st.integers(0, 200),
            note=st.sampled_from(["", '{"in_progress":5,"oldest_ms":1}', '{"in_progress":500}']),
        )
    ),
    st.integers(0, 500),
)
def test_no_figure_is_ever_negative_and_none_is_counted_twice(partitions, dead_letters):
    stage = consumed_stage(partitions, dead_letters=dead_letters, now_ms=NOW_MS)
    assert min(stage.waiting, stage.in_progress, stage.completed, stage.failed, stage.oldest_age_seconds) >= 0
    assert stage.waiting + stage.in_progress == sum(partition.lag for partition in partitions)


@pytest.mark.parametrize(
    ("age", "grown", "verdict"),
    [
        (0.0, 0, "ok"),
        (60.0, 0, "ok"),
        (60.1, 0, "degraded"),
        (600.0, 0, "degraded"),
        (600.1, 0, "failing"),
        (0.0, 1, "degraded"),
    ],
)
def test_age_and_new_failures_decide(age, grown, verdict):
    said, reason = assessed(Stage(1, 0, 0, 9, age), grown)
    assert said == verdict
    assert reason


def test_failures_count_for_five_minutes_after_they_were_seen():
    history = FailureHistory()
    looks = [(0.0, 4), (10.0, 6), (GROWTH_SECONDS + 5, 6), (GROWTH_SECONDS + 20, 6), (GROWTH_SECONDS + 30, 5)]
    grown = [history.growth({"s": Stage(0, 0, 0, failed, 0.0)}, now)["s"] for now, failed in looks]
    assert grown == [0, 2, 0, 0, 0]


def test_however_often_it_is_asked_few_looks_are_kept_and_growth_is_seen_all_the_same():
    """Every look was kept once: 240 MB at 3,000 a second."""
    history = FailureHistory()
    for look in range(50_000):
        grown = history.growth({"s": Stage(0, 0, 0, 4 if look < 40_000 else 5, 0.0)}, look / 100)
    assert grown == {"s": 1}
    assert len(history._looks) <= GROWTH_SECONDS / LOOK_SECONDS + 1


def test_a_clock_that_is_set_back_leaves_nothing_to_grow_without_end():
    history = FailureHistory()
    for look in range(1_000):
        history.growth({"s": Stage(0, 0, 0, look, 0.0)}, -float(look))
    assert len(history._looks) == 1


def test_the_whole_is_as_well_as_its_worst():
    assert overall({"a": ("ok", ""), "b": ("degraded", "")}) == "degraded"
    assert overall({"a": ("failing", ""), "b": ("degraded", "")}) == "failing"
    assert overall({"a": ("ok", "")}) == "ok"


STAGES = ["process-webhook", "ai-response", "message-delivery", "cleanup"]
FIGURES = {"waiting", "in_progress", "completed", "failed", "oldest_age_seconds"}


async def test_the_four_stages_are_told_by_their_names(world):
    await world.send(world.body(world.message()))
    world.backlog.said["ai-response"] = Stage(3, 2, 40, 1, 1.5)
    told = (await world.client.get("/api/queue/stats")).json()["stages"]
    assert list(told) == STAGES
    assert all(set(stage) == FIGURES for stage in told.values())
    assert told["process-webhook"]["completed"] == 1
    assert told["ai-response"] == {
        "waiting": 3,
        "in_progress": 2,
        "completed": 40,
        "failed": 1,
        "oldest_age_seconds": 1.5,
    }


async def test_refused_strangers_are_no_failures_but_webhooks_sent_back_are(world):
    await world.send(b"{}", headers={})
    world.publisher.away = True
    await world.send(b"{}")
    told = (await world.client.get("/api/queue/stats")).json()["stages"]["process-webhook"]
    assert (told["completed"], told["failed"], told["in_progress"]) == (0, 1, 0)


async def test_queue_health_says_how_each_stage_is_and_why(world):
    answer = await world.client.get("/api/queue/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    assert list(answer.json()["stages"]) == STAGES
    world.backlog.said["message-delivery"] = Stage(9, 0, 0, 0, 75.0)
    answer = await world.client.get("/api/queue/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    assert "75 s" in answer.json()["stages"]["message-delivery"]["reason"]
    world.backlog.said["message-delivery"] = Stage(9, 0, 0, 0, 3600.0)
    answer = await world.client.get("/api/queue/health")
    assert (answer.status_code, answer.json()["status"]) == (503, "failing")


@pytest.mark.parametrize("path", ["/api/queue/stats", "/api/queue/health"])
async def test_when_kafka_cannot_be_asked_it_is_said(world, path):
    world.backlog.error = BacklogUnknown("Kafka did not answer within 2 s")
    answer = await world.client.get(path)
    assert (answer.status_code, answer.json()["detail"]) == (503, "Kafka did not answer within 2 s")


def test_a_job_that_is_overdue_makes_its_stage_degraded_and_is_shown():
    at = datetime(2026, 3, 1, tzinfo=UTC)
    jobs = {
        "tokens": JobStatus(86_400.0, at),
        "retention": JobStatus(86_400.0, at, last_success=at + timedelta(days=3)),
    }
    stage = Stage(0, 0, 0, 0, 0.0).with_jobs(jobs, at + timedelta(days=4))
    verdict, reason = assessed(stage, 0)
    assert verdict == "degraded"
    assert "tokens" in reason
    assert "retention" not in reason
    shown = stage.as_json()["jobs"]
    assert (shown["tokens"]["overdue"], shown["retention"]["overdue"]) == (True, False)
    assert shown["tokens"]["outcome"] == "never_run"
    assert "jobs" not in Stage(0, 0, 0, 0, 0.0).as_json()
