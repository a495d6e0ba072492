"""Who runs the scheduled jobs, and when: stepped by hand, without a database and without waiting."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pymongo.errors import AutoReconnect

from cleanup.metrics import CleanupMetrics
from cleanup.scheduler import AGAIN_SECONDS, ScheduledJob, Scheduler, is_due, next_run
from common.clock import ManualClock
from common.errors import Retryable
from common.job_status import MAX_BYTES, JobStatus, decode, encode, overdue

AT = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
STATUS = JobStatus(86_400.0, AT, next_run=AT)


class Records:
    """Job records in memory."""

    def __init__(self) -> None:
        self.known: dict[str, JobStatus] = {}
        self.fails: list[Exception] = []

    async def register(self, name: str, *, interval: float, now: datetime) -> JobStatus:
        if self.fails:
            raise self.fails.pop(0)
        return self.known.setdefault(name, JobStatus(interval, now, next_run=now))

    async def note_started(self, name: str, *, now: datetime, again_after: float) -> None:
        again = now + timedelta(seconds=again_after)
        self.known[name] = replace(self.known[name], last_run=now, outcome="running", next_run=again)

    async def note_ended(self, name: str, outcome: str, *, now: datetime, next_run: datetime) -> None:
        success = now if outcome == "ok" else self.known[name].last_success
        self.known[name] = replace(self.known[name], outcome=outcome, next_run=next_run, last_success=success)


class Lease:
    """A lease as a test decides."""

    def __init__(self, *, held: bool = True) -> None:
        self.held = held
        self.released = False

    async def keep(self) -> bool:
        return self.held

    async def release(self) -> None:
        self.released = True


class Board:
    """Remembers what was shown."""

    def __init__(self) -> None:
        self.shown: list[Mapping[str, JobStatus]] = []

    async def show(self, jobs: Mapping[str, JobStatus]) -> None:
        self.shown.append(dict(jobs))


class Scene:
    """A scheduler with one job `a`."""

    def __init__(self, work: Callable[[], Awaitable[None]], *, held: bool = True, timeout: float = 5.0) -> None:
        self.clock = ManualClock(AT)
        self.records, self.lease, self.board = Records(), Lease(held=held), Board()
        self.registry = CollectorRegistry()
        self.scheduler = Scheduler(
            {"a": ScheduledJob(work, 86_400.0, timeout)},
            lease=self.lease,  # type: ignore[arg-type]
            records=self.records,  # type: ignore[arg-type]
            metrics=CleanupMetrics(self.registry),
            clock=self.clock,
            board=self.board,
            beat=0.005,
            random=Random(1),
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the scheduler run until something is true."""
        running = asyncio.create_task(self.scheduler.run())
        try:
            async with asyncio.timeout(10):
                while not condition():
                    await asyncio.sleep(0.001)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_job_that_was_never_run_is_run_at_once_and_then_after_its_interval():
    runs: list[datetime] = []

    async def work() -> None:
        runs.append(scene.clock.now())

    scene = Scene(work)
    await scene.until(lambda: scene.records.known.get("a", STATUS).outcome == "ok")
    await scene.until(lambda: len(scene.board.shown) > 5)
    assert runs == [AT]
    scene.clock.advance(DAY * 1.2)
    await scene.until(lambda: len(runs) == 2)
    assert scene.lease.released
    assert scene.board.shown[-1]["a"].last_run is not None


async def test_who_has_no_lease_runs_nothing_and_shows_the_metrics_all_the_same():
    async def work() -> None:
        pytest.fail("it has no lease")

    scene = Scene(work, held=False)
    shown = ("cleanup_job_interval_seconds", {"task": "a"})
    await scene.until(lambda: scene.registry.get_sample_value(*shown) is not None)
    assert scene.board.shown == []


@pytest.mark.parametrize(("error", "outcome"), [(ValueError("x"), "failed"), (TimeoutError(), "timeout")])
async def test_a_job_that_fails_is_noted_and_due_again_sooner(error: Exception, outcome: str):
    async def work() -> None:
        raise error

    scene = Scene(work)
    await scene.until(lambda: scene.records.known.get("a", STATUS).outcome == outcome)
    status = scene.records.known["a"]
    assert status.next_run == AT + timedelta(seconds=AGAIN_SECONDS)
    assert status.last_success is None


async def test_a_job_that_hangs_ends_at_its_time():
    scene = Scene(asyncio.Event().wait, timeout=0.02)  # type: ignore[arg-type]
    await scene.until(lambda: scene.records.known.get("a", STATUS).outcome == "timeout")


async def test_a_job_stops_when_the_lease_is_lost():
    ended = asyncio.Event()

    async def work() -> None:
        scene.lease.held = False
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    scene = Scene(work)
    await scene.until(ended.is_set)
    assert scene.records.known["a"].outcome == "running"
    assert scene.records.known["a"].next_run == AT + timedelta(seconds=AGAIN_SECONDS)


async def test_a_database_that_is_away_for_a_while_ends_nothing():
    runs = []

    async def work() -> None:
        runs.append(1)

    scene = Scene(work)
    scene.records.fails = [AutoReconnect("away"), AutoReconnect("away"), Retryable("away")]
    await scene.until(lambda: bool(runs))


@given(st.floats(0, 1), st.booleans())
def test_the_next_run_is_within_the_interval_and_its_jitter(share: float, ok: bool):
    class Drawn(Random):
        def random(self) -> float:
            return share

    async def work() -> None:
        return

    due = next_run(ScheduledJob(work, 86_400.0, 1.0), ok=ok, now=AT, random=Drawn())
    assert DAY <= due - AT <= DAY * 1.1 if ok else due - AT == timedelta(seconds=AGAIN_SECONDS)
    assert not is_due(replace(STATUS, next_run=due), AT)
    assert is_due(replace(STATUS, next_run=due), due)


def test_a_next_run_that_a_wrong_clock_wrote_puts_nothing_off():
    assert is_due(replace(STATUS, next_run=AT + DAY * 400), AT)


def test_what_is_shown_is_read_again_and_fits():
    jobs = {
        "a": replace(STATUS, last_run=AT, last_success=AT, outcome="ok", next_run=AT + DAY),
        "b": JobStatus(900.0, AT),
    }
    assert decode(encode(jobs)) == jobs
    many = {f"job{number:04}": STATUS for number in range(500)}
    assert len(encode(many)) <= MAX_BYTES
    assert decode(encode(many))["job0000"] == STATUS


@given(st.text(max_size=40) | st.sampled_from(['{"a": 1}', '{"a": {}}', "[]", '{"a": {"since": null}}', "null"]))
def test_a_text_that_is_something_else_is_no_status(text: str):
    assert decode(text) == {}


def test_a_job_is_overdue_after_two_intervals_without_success():
    assert overdue({"a": STATUS}, AT + DAY * 2) == []
    assert overdue({"a": STATUS}, AT + DAY * 2.1) == ["a"]
    assert overdue({"a": replace(STATUS, last_success=AT + DAY)}, AT + DAY * 2.1) == []
