"""How scheduled work stands, as one small text: written by cleanup, shown by ingest's `/api/queue/stats`. Pure.

ingest reads Kafka alone, so the text travels as the metadata of a commit of a group that reads nothing
(`STATUS_GROUP`): a key and a value that Kafka keeps, without a topic of its own.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

STATUS_GROUP = "cleanup-jobs"
MAX_BYTES = 4000
"""Kafka's own bound on metadata is 4,096 bytes (offset.metadata.max.bytes)."""

MISSED = 2
"""A job that has not succeeded for so many intervals is overdue."""


@dataclass(frozen=True)
class JobStatus:
    """One job: how often it is due (seconds), since when it is known, and how its last run and the next one stand."""

    interval: float
    since: datetime
    last_run: datetime | None = None
    last_success: datetime | None = None
    outcome: str = "never_run"
    next_run: datetime | None = None

    def is_overdue(self, now: datetime) -> bool:
        """Return whether a job has not succeeded for `MISSED` intervals."""
        return now - (self.last_success or self.since) > timedelta(seconds=self.interval * MISSED)

    def as_json(self) -> dict[str, Any]:
        """Return the status with its moments as text."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in asdict(self).items()
        }


def encode(jobs: Mapping[str, JobStatus]) -> str:
    """Return what is written into the commit; what does not fit is left out, the last by name first."""
    known = dict(sorted(jobs.items()))
    while len(text := json.dumps({name: status.as_json() for name, status in known.items()})) > MAX_BYTES:
        known.popitem()
    return text


def decode(text: str) -> dict[str, JobStatus]:
    """Read what `encode` wrote; nothing where it is something else."""
    try:
        data = json.loads(text)
        return {str(name): _read(fields) for name, fields in data.items()}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return {}


def overdue(jobs: Mapping[str, JobStatus], now: datetime) -> list[str]:
    """Return the names of the jobs that have not succeeded for too long."""
    return sorted(name for name, status in jobs.items() if status.is_overdue(now))


def _read(fields: Mapping[str, Any]) -> JobStatus:
    moments = {name: _moment(fields.get(name)) for name in ("last_run", "last_success", "next_run")}
    since = _moment(fields["since"])
    if since is None:
        raise ValueError("since is missing")
    status = JobStatus(float(fields["interval"]), since, outcome=str(fields["outcome"])[:40])
    return replace(status, **moments)  # type: ignore[arg-type]  # the names are of moments


def _moment(value: object) -> datetime | None:
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
