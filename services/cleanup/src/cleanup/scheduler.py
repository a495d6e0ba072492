"""Runs the scheduled jobs in the service's own process, in one replica at a time (`cleanup.lease`).

Whoever has the lease runs what is due, one job after another, each inside its time; a job whose process dies is due
again after `AGAIN_SECONDS`, in whichever replica has the lease then. All jobs may be done twice. When a job is due is
written down by the machine that ran it last: machines differ by seconds, jobs by hours.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

import structlog
from pymongo.errors import PyMongoError

from cleanup.job_records import JobRecords
from cleanup.lease import BEAT_SECONDS, Lease
from cleanup.metrics import CleanupMetrics
from common.clock import Clock
from common.errors import Retryable
from common.job_status import JobStatus

log = structlog.get_logger("scheduler")

AGAIN_SECONDS = 600.0
JITTER = 0.1
"""How much later than its interval, as a share of it, a job is due at most: so not all ask the platform at once."""

RELEASE_SECONDS = 2.0


@dataclass(frozen=True)
class ScheduledJob:
    """One job: what it does, how often, and how long it may take (seconds)."""

    work: Callable[[], Awaitable[None]]
    interval: float
    timeout: float


class StatusBoard(Protocol):
    """Shows how the jobs stand to whoever cannot read the database."""

    async def show(self, jobs: Mapping[str, JobStatus]) -> None:
        """Show it. Raises Retryable where that cannot be done now."""
        ...


def is_due(status: JobStatus, now: datetime) -> bool:
    """Return whether a job is to be run. A next run beyond all intervals was written by a clock that was wrong."""
    if status.next_run is None or now >= status.next_run:
        return True
    return status.next_run - now > timedelta(seconds=status.interval * (1 + JITTER) + AGAIN_SECONDS)


def next_run(job: ScheduledJob, *, ok: bool, now: datetime, random: Random) -> datetime:
    """Return when a job that has just ended is due again: sooner where it failed."""
    seconds = job.interval * (1 + JITTER * random.random()) if ok else min(job.interval, AGAIN_SECONDS)
    return now + timedelta(seconds=seconds)


class Scheduler:
    """The jobs, and this replica's turn at them."""

    def __init__(
        self,
        jobs: Mapping[str, ScheduledJob],
        *,
        lease: Lease,
        records: JobRecords,
        metrics: CleanupMetrics,
        clock: Clock,
        board: StatusBoard | None = None,
        beat: float = BEAT_SECONDS,
        random: Random | None = None,
    ) -> None:
        self._jobs = jobs
        self._lease = lease
        self._records = records
        self._metrics = metrics
        self._clock = clock
        self._board = board
        self._beat = beat
        self._random = random or Random()  # noqa: S311 spreads work, protects nothing

    async def run(self) -> None:
        """Run what is due whenever the lease is here, until it is cancelled; then give the lease back."""
        try:
            while True:
                try:
                    if await self._lease.keep():
                        await self._with_lease()
                    else:
                        await self._statuses()
                except Exception as error:  # noqa: BLE001 it runs beside what consumes, and must not end
                    log.warning("scheduler.interrupted", error=type(error).__name__)
                await asyncio.sleep(self._beat)
        finally:
            with suppress(PyMongoError, TimeoutError):
                async with asyncio.timeout(RELEASE_SECONDS):
                    await self._lease.release()

    async def _with_lease(self) -> None:
        """Run what is due, adding beats to the lease meanwhile; when the lease is lost, stop at once."""
        working = asyncio.create_task(self._run_due(), name="scheduled jobs")
        try:
            while not working.done():
                await asyncio.wait((working,), timeout=self._beat)
                if not working.done() and not await self._still_held():
                    log.error("scheduler.lease_lost", fix="nothing: another replica does the work")
                    return
            await working
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _still_held(self) -> bool:
        """Add a beat; while the database does not answer, the lease is held to its end."""
        try:
            return await self._lease.keep()
        except PyMongoError:
            return self._lease.held

    async def _run_due(self) -> None:
        for name, status in (await self._statuses()).items():
            if is_due(status, self._clock.now()):
                await self._run(name, self._jobs[name])
                await self._statuses()

    async def _run(self, name: str, job: ScheduledJob) -> None:
        await self._records.note_started(name, now=self._clock.now(), again_after=AGAIN_SECONDS)
        log.info("job.started", job=name)
        try:
            async with asyncio.timeout(job.timeout):
                await job.work()
        except TimeoutError:
            outcome = "timeout"
        except Exception as error:  # noqa: BLE001 whatever a job raises, the others go on
            outcome = "failed"
            log.error("job.failed", job=name, error=type(error).__name__, reason=_reason(error))
        else:
            outcome = "ok"
        now = self._clock.now()
        due = next_run(job, ok=outcome == "ok", now=now, random=self._random)
        await self._records.note_ended(name, outcome, now=now, next_run=due)
        self._metrics.job_runs.labels(name, outcome).inc()
        log.info("job.ended", job=name, outcome=outcome, next_run=due.isoformat())

    async def _statuses(self) -> dict[str, JobStatus]:
        """Read how the jobs stand, and show it. Raises PyMongoError."""
        statuses = {
            name: await self._records.register(name, interval=job.interval, now=self._clock.now())
            for name, job in self._jobs.items()
        }
        for name, status in statuses.items():
            self._metrics.show_job(name, status)
        if self._board is not None and self._lease.held:
            try:
                await self._board.show(statuses)
            except Retryable as error:
                log.warning("scheduler.status_not_shown", reason=error.reason)
        return statuses


def _reason(error: Exception) -> str:
    """Return what a job says of its own failure; the words of a driver may hold addresses."""
    return str(error) if isinstance(error, Retryable) or type(error).__module__.startswith("cleanup.") else ""
