"""Cost per merchant and day, in `usage`: of an answer when its decision is stored, of hearing when the transcript is.

Counting does not cost every customer a round trip: what was spent is added up here and written about once a second for
all merchants together. The decisions hold every amount as well; a process that is killed loses at most the sum of its
last second. A write that is not acknowledged in time is written again, also where it had been done: these sums are for
looking at, not for invoices.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime

import structlog
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from ai.completion import Usage
from ai.media.transcription import AudioUsage
from common.mongo import USAGE, Database

log = structlog.get_logger("ai")

Key = tuple[str, date]
Amounts = Mapping[str, float]
"""What is added up, by the names it is stored under."""


class UsageTally:
    """Adds up what is spent and writes it every `interval` seconds."""

    def __init__(self, db: Database, *, interval: float = 1.0) -> None:
        self._collection = db[USAGE]
        self._interval = interval
        self._sums: dict[Key, dict[str, float]] = {}

    def spent(self, merchant_id: str, at: datetime, usage: Usage) -> None:
        """Add what one answer cost, on the day (UTC) of `at`."""
        amounts = {"answers": 1, "input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
        self._add(_key(merchant_id, at), amounts)

    def listened(self, merchant_id: str, at: datetime, usage: AudioUsage) -> None:
        """Add what hearing one message cost, on the day (UTC) of `at`."""
        amounts = {
            "voice_messages": 1,
            "audio_seconds": usage.seconds,
            "audio_input_tokens": usage.input_tokens,
            "audio_output_tokens": usage.output_tokens,
        }
        self._add(_key(merchant_id, at), amounts)

    def _add(self, key: Key, amounts: Amounts) -> None:
        sums = self._sums.setdefault(key, {})
        for name, amount in amounts.items():
            sums[name] = sums.get(name, 0) + amount

    async def flush(self) -> None:
        """Write the sums. What could not be written stays for the next time; raises nothing."""
        sums, self._sums = self._sums, {}
        keys = list(sums)
        if not keys:
            return
        try:
            await self._collection.bulk_write([_increment(key, sums[key]) for key in keys], ordered=False)
        except BulkWriteError as error:
            failed = [keys[problem["index"]] for problem in error.details.get("writeErrors", ())]
            self._keep(sums, failed, error)
        except PyMongoError as error:
            self._keep(sums, keys, error)

    def _keep(self, sums: dict[Key, dict[str, float]], keys: list[Key], error: PyMongoError) -> None:
        for key in keys:
            self._add(key, sums[key])
        log.warning("usage.not_written", merchants=len(keys), error=type(error).__name__)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write regularly for as long as the context is open, and once more at its end."""
        ending = asyncio.Event()
        writing = asyncio.create_task(self._until(ending), name="usage tally")
        try:
            yield
        finally:
            ending.set()  # a write that is under way is waited for, not cancelled: its outcome would be unknown
            await writing
            await self.flush()

    async def _until(self, ending: asyncio.Event) -> None:
        while not ending.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), self._interval)
            await self.flush()


def _key(merchant_id: str, at: datetime) -> Key:
    return merchant_id, at.astimezone(UTC).date()


def _increment(key: Key, amounts: Amounts) -> UpdateOne:
    merchant_id, day = key
    return UpdateOne(
        {"_id": f"{merchant_id}:{day.isoformat()}"},
        {
            "$setOnInsert": {
                "merchant_id": merchant_id,
                "day": day.isoformat(),
                "at": datetime(day.year, day.month, day.day, tzinfo=UTC),
            },
            "$inc": dict(amounts),
        },
        upsert=True,
    )
