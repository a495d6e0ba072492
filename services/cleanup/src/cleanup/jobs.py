"""The jobs, and the two ways in which they are run.

A CronJob runs `python -m cleanup retention`, which works once and ends with 0, or with 1 and one readable line;
`python -m cleanup tokens` likewise. Where there is no Kubernetes, the service runs both itself (`cleanup.scheduler`).
The second pass after an erasure it runs everywhere.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_settings import SettingsError
from pymongo.errors import PyMongoError

from cleanup.renewal import Renewal
from cleanup.retention import cutoffs, retain
from cleanup.scheduler import ScheduledJob
from cleanup.second_passes import SecondPasses
from cleanup.settings import Settings, TokenSettings
from common.accounts import MongoStandings
from common.clock import SystemClock
from common.graph_accounts import GraphAccounts
from common.http_client import http_client
from common.log import configure_logging
from common.mongo import database, mongo_client
from common.sealing import Sealer
from common.service import misconfiguration

CALL_SECONDS = 15.0
DAY_SECONDS = 86_400.0

log = structlog.get_logger("job")


async def retention(settings: Settings) -> None:
    """Delete what is older than configured. Raises PyMongoError."""
    client = mongo_client(settings, service="cleanup-retention")
    try:
        deleted = await retain(database(client), cutoffs(settings, SystemClock(settings.clock_offset).now()))
    finally:
        await client.close()
    log.info("retention.done", **deleted)


async def tokens(settings: TokenSettings) -> None:
    """Renew the tokens that end soon. Raises Unfinished, PyMongoError."""
    client = mongo_client(settings, service="cleanup-tokens")
    try:
        db = database(client)
        async with http_client(timeout=CALL_SECONDS) as http:
            renewal = Renewal(
                db,
                MongoStandings(db),
                GraphAccounts(http, settings.graph_url, timeout=CALL_SECONDS),
                sealer=Sealer([key.get_secret_value() for key in settings.encryption_keys]),
                clock=SystemClock(settings.clock_offset),
            )
            done = await renewal.renew()
    finally:
        await client.close()
    log.info("tokens.done", **vars(done))
    if done.failed:
        raise Unfinished(f"{done.failed} could not be renewed, {done.renewed} were; the log names each")


def scheduled_jobs(settings: Settings, second_passes: SecondPasses) -> dict[str, ScheduledJob]:
    """Return the jobs that the service runs itself. Raises ValidationError where one of them lacks a setting."""

    async def second_pass() -> None:
        await second_passes.run()

    jobs = {"erasures": ScheduledJob(second_pass, interval=900.0, timeout=600.0)}
    if settings.schedule == "on":
        token_settings = TokenSettings.beside(settings)
        jobs["retention"] = ScheduledJob(lambda: retention(settings), interval=DAY_SECONDS, timeout=7200.0)
        jobs["tokens"] = ScheduledJob(lambda: tokens(token_settings), interval=DAY_SECONDS, timeout=3600.0)
    return jobs


class Unfinished(Exception):
    """Some of the work could not be done now; what is left is the message."""


@dataclass(frozen=True)
class Job:
    """A piece of work, and the settings it needs."""

    work: Callable[[Any], Coroutine[Any, Any, None]]
    settings: type[Settings] = Settings


JOBS: Mapping[str, Job] = {"retention": Job(retention), "tokens": Job(tokens, TokenSettings)}


def run_job(name: str, jobs: Mapping[str, Job] = JOBS) -> int:
    """Run the job called `name` and return the exit code; what went wrong is one line on standard error."""
    job = jobs.get(name)
    if job is None:
        return _failed(f"there is no job {name!r}; there is: {', '.join(jobs)}")
    try:
        settings = job.settings()
    except (ValidationError, SettingsError, ValueError) as error:
        return _failed(misconfiguration(error))
    configure_logging("cleanup", level=settings.log_level, format=settings.log_format)
    try:
        asyncio.run(job.work(settings))
    except PyMongoError as error:
        return _failed(f"{name} stopped ({type(error).__name__} from MongoDB); what is done stays so: run it again")
    except Unfinished as rest:
        return _failed(f"{name}: {rest}; run it again")
    return 0


def _failed(line: str) -> int:
    sys.stderr.write(f"cleanup: {line}\n")
    return 1
