"""How a record is buried: appended to its dead-letter topic, then told to whoever must not miss its death.

The offset may move only after both. A crash in between buries and tells it again, so both can happen twice.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog
from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError, UnknownError

from common.clock import Clock
from common.failpoints import failpoint
from common.kafka import dead_letters
from common.kafka.metrics import KafkaMetrics
from common.kafka.raw_records import RawRecords
from common.kafka.retry import GiveUp, RetryPolicy, TryAgain, backoff, verdict

log = structlog.get_logger("kafka")

REFUSALS = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,  # what aiokafka has no name for, such as a record that the broker calls invalid
    ValueError,
    TypeError,
    AssertionError,
    OverflowError,
)
"""What trying the same letter again cannot mend: a smaller form of it is written instead."""

Buried = Callable[[ConsumerRecord, str], Awaitable[None]]
"""Is told of a record that went to the dead letters, and of its cause."""


class Burial:
    """Buries the records of one consumer group."""

    def __init__(
        self,
        records: RawRecords,
        *,
        group: str,
        retry: RetryPolicy,
        metrics: KafkaMetrics,
        clock: Clock,
        buried: Buried | None,
    ) -> None:
        self._records = records
        self._group = group
        self._retry = retry
        self._metrics = metrics
        self._clock = clock
        self._buried = buried

    async def bury(self, record: ConsumerRecord, cause: str, attempts: int, *, until: asyncio.Event) -> bool:
        """Append a record to its dead letters and tell of it, trying until both worked; False when `until` came first.

        Telling is given up when it fails for a reason of its own, or for as long as a record may: neither a bug there
        nor a merchant nobody can read must hold the conversation, and the partition's commits, for ever.
        """
        if not await self._append(record, cause, attempts, until):
            return False
        failpoint("kafka.after_dead_letter_before_done")
        return await self._tell(record, cause, until)

    async def _append(self, record: ConsumerRecord, cause: str, attempts: int, until: asyncio.Event) -> bool:
        letters = dead_letters.letters_of(
            record, group=self._group, cause=cause, attempts=attempts, at=self._clock.now()
        )
        tries, form = 0, 0
        while not until.is_set():
            tries += 1
            letter = letters[form]
            try:
                await self._records.append(
                    f"{record.topic}.dlq", key=letter.key, value=letter.value, headers=letter.headers
                )
            except Exception as error:  # noqa: BLE001 the offset must not move before the append is acknowledged
                log.error("record.dead_letter_not_written", topic=record.topic, form=form, error=type(error).__name__)
                if isinstance(error, REFUSALS):
                    form = min(form + 1, len(letters) - 1)
                await _wait(until, backoff(tries, self._retry))
            else:
                self._metrics.dead_letters.labels(record.topic).inc()
                return True
        return False

    async def _tell(self, record: ConsumerRecord, cause: str, until: asyncio.Event) -> bool:
        tries, since = 0, time.monotonic()
        while self._buried is not None and not until.is_set():
            tries += 1
            try:
                await self._buried(record, cause)
            except Exception as error:  # noqa: BLE001 whatever it is, it is retried or given up
                match verdict(error, attempts=tries, age=time.monotonic() - since, policy=self._retry):
                    case TryAgain(delay):
                        await _wait(until, delay)
                    case GiveUp(why):
                        log.error("record.death_not_told", topic=record.topic, reason=why)
                        return True
            else:
                return True
        return self._buried is None


async def _wait(until: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(until.wait(), seconds)
