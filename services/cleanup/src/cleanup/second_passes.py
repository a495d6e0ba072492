"""Looks after erasures once more, an hour after each: what was stored meanwhile of before goes, too.

Whom an erasure was about is nowhere in the database. The request is read again from its topic, which keeps it longer.
"""

from datetime import timedelta

import structlog
from pydantic import ValidationError
from pymongo.errors import PyMongoError

from cleanup.erasure import Eraser
from cleanup.log_reader import LogReader
from cleanup.metrics import CleanupMetrics
from cleanup.second_pass import erase_old
from cleanup.tombstones import Stored, TombstoneWriter
from common.clock import Clock
from common.errors import Retryable
from common.events.privacy import ErasureRequested
from common.mongo import Database

log = structlog.get_logger("erasure")

AFTER = timedelta(hours=1)
MAX_AT_ONCE = 500


class PassesFailed(Exception):
    """Some second passes could not be made."""


class SecondPasses:
    """The second passes that are due."""

    def __init__(
        self, db: Database, eraser: Eraser, reader: LogReader, *, metrics: CleanupMetrics, clock: Clock
    ) -> None:
        self._db = db
        self._eraser = eraser
        self._reader = reader
        self._tombstones = TombstoneWriter(db)
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> int:
        """Make the passes that are due and return how many. Raises Retryable, PyMongoError.

        Raises PassesFailed at the end where some could not be made for what is stored: they delay no other's.
        """
        due = await self._tombstones.waiting_for_second_pass(self._clock.now() - AFTER, MAX_AT_ONCE)
        failed = 0
        for stored in due:
            try:
                erased = await self._again(stored)
            except (Retryable, PyMongoError):
                raise
            except Exception as error:  # noqa: BLE001 a document that is not as we write it, of this customer alone
                failed += 1
                log.error("erasure.second_pass_failed", code=stored.tombstone.code, error=type(error).__name__)
                continue
            await self._tombstones.note_second_pass(stored.tombstone.code, self._clock.now())
            log.info("erasure.second_pass", erased=erased)
        if failed:
            raise PassesFailed(f"{failed} of {len(due)} second passes failed; the log names each")
        return len(due)

    async def _again(self, stored: Stored) -> int:
        value = await self._reader.value_at(stored.request) if stored.request is not None else None
        try:
            request = ErasureRequested.from_json(value or b"").data
        except ValidationError:
            request = None
        if request is None or request.code != stored.tombstone.code:  # gone, or the topic was made anew
            log.error("erasure.request_gone", fix="if the customer may have written meanwhile, erase them once more")
            return 0
        conversations = await self._eraser.conversations_of(request)
        return await erase_old(self._db, conversations, stored.tombstone, self._metrics)
