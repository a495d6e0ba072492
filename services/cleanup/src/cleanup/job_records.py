"""How each scheduled job stands, in the `jobs` collection: whoever has the lease next knows when it is due."""

from datetime import datetime, timedelta
from typing import Any

from common.job_status import JobStatus
from common.mongo import JOBS, Database

FIELDS = ("interval", "since", "last_run", "last_success", "outcome", "next_run")


class JobRecords:
    """The statuses of jobs. Every method raises PyMongoError."""

    def __init__(self, db: Database) -> None:
        self._collection = db[JOBS]

    async def register(self, name: str, *, interval: float, now: datetime) -> JobStatus:
        """Return how a job stands; one that is not known yet begins now, and is due."""
        await self._collection.update_one(
            {"_id": _id(name)},
            {"$setOnInsert": {"since": now, "outcome": "never_run", "next_run": now}, "$set": {"interval": interval}},
            upsert=True,
        )
        return await self.find(name) or JobStatus(interval, now, next_run=now)

    async def find(self, name: str) -> JobStatus | None:
        """Return how a job stands, or None."""
        document = await self._collection.find_one({"_id": _id(name)})
        return JobStatus(**{field: document[field] for field in FIELDS if field in document}) if document else None

    async def note_started(self, name: str, *, now: datetime, again_after: float) -> None:
        """Note that a job was begun; if nobody notes its end, it is due again after `again_after` seconds."""
        again = now + timedelta(seconds=again_after)
        started = {"last_run": now, "outcome": "running", "next_run": again}
        await self._collection.update_one({"_id": _id(name)}, {"$set": started})

    async def note_ended(self, name: str, outcome: str, *, now: datetime, next_run: datetime) -> None:
        """Note how a job ended, and when it is due again."""
        ended: dict[str, Any] = {"outcome": outcome, "next_run": next_run}
        if outcome == "ok":
            ended["last_success"] = now
        await self._collection.update_one({"_id": _id(name)}, {"$set": ended})


def _id(name: str) -> str:
    return f"job:{name}"
