"""What a CronJob runs: `python -m cleanup retention` works once and ends with 0, or with 1 and one readable line."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import structlog
from pydantic import ValidationError
from pydantic_settings import SettingsError
from pymongo.errors import PyMongoError

from cleanup.retention import cutoffs, retain
from cleanup.settings import Settings
from common.clock import SystemClock
from common.log import configure_logging
from common.mongo import database, mongo_client
from common.service import misconfiguration

log = structlog.get_logger("job")


async def retention(settings: Settings) -> None:
    """Delete what is older than configured. Raises PyMongoError."""
    client = mongo_client(settings, service="cleanup-retention")
    try:
        deleted = await retain(database(client), cutoffs(settings, SystemClock().now()))
    finally:
        await client.close()
    log.info("retention.done", **deleted)


Job = Callable[[Settings], Coroutine[Any, Any, None]]

JOBS: Mapping[str, Job] = {"retention": retention}


def run_job(name: str, jobs: Mapping[str, Job] = JOBS) -> int:
    """Run the job called `name` and return the exit code; what went wrong is one line on standard error."""
    job = jobs.get(name)
    if job is None:
        return _failed(f"there is no job {name!r}; there is: {', '.join(jobs)}")
    try:
        settings = Settings()
    except (ValidationError, SettingsError, ValueError) as error:
        return _failed(misconfiguration(error))
    configure_logging("cleanup", level=settings.log_level, format=settings.log_format)
    try:
        asyncio.run(job(settings))
    except PyMongoError as error:
        return _failed(f"{name} stopped ({type(error).__name__} from MongoDB); what is deleted stays so: run it again")
    return 0


def _failed(line: str) -> int:
    sys.stderr.write(f"cleanup: {line}\n")
    return 1
