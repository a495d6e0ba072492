"""Looks from time to time whether the logs that are being read are still the ones that they were.

At an assignment the last commit's mark says so (`resume_point`). Meanwhile a topic may be deleted and made anew, or a
log cut off, and grow beyond where reading was before the next fetch: then nothing fails, and what lies before is passed
over. So the records that marked the logs at one look are looked for at the next. Where one of them is gone,
its partition is read again from where `resume_point` says.

Retention may delete records before a slow reader comes to them: the offsets then jump, as they do behind the end of a
transaction. Whether records were lost is decided by where the log begins now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from common.kafka.assignment import Assignment
from common.kafka.commit_note import Mark, write_note
from common.kafka.log_reader import LogReader
from common.kafka.ownership import Ownership
from common.kafka.resume_point import Commit

log = structlog.get_logger("kafka")

LOOK_SECONDS = 15.0

ResumeAt = Callable[[Mapping[TopicPartition, int]], Awaitable[None]]
"""Ends the epoch and reads on in another, these partitions from these offsets. Raises KafkaError."""


class LogWatch:
    """Watches the logs of one assignment."""

    def __init__(self, assignment: Assignment, ownership: Ownership, logs: LogReader, resume_at: ResumeAt) -> None:
        self._assignment = assignment
        self._ownership = ownership
        self._logs = logs
        self._resume_at = resume_at
        self._marked_in = -1
        self._marks: dict[TopicPartition, Mark] = {}
        self._replaced: dict[TopicPartition, int] = {}

    async def run(self) -> None:
        """Look every LOOK_SECONDS until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except (KafkaError, OSError, TimeoutError) as error:
                log.warning("logs.not_watched", error=type(error).__name__)

    async def look(self) -> None:
        """Look once. Raises KafkaError; what was found, and what is still to be looked for, is not forgotten then."""
        epoch = self._ownership.epoch
        await self._assignment.count_expired(self._logs)
        marks = self._marks if self._marked_in == epoch else {}
        latest = self._assignment.marks()
        self._marked_in, self._marks = epoch, latest | marks
        if marks:
            points = await self._logs.resume_points(list(marks), {one: _commit(mark) for one, mark in marks.items()})
            for partition, point in points.items():
                if point.refusal == "unread":
                    latest[partition] = marks[partition]  # a later mark would be believed in whatever log it lies
                if point.refusal == "other_log" and self._ownership.owns(epoch):
                    self._assignment.report(partition, _commit(marks[partition]), point)
                    self._replaced[partition] = point.offset
        self._marks = latest
        if replaced := {one: at for one, at in self._replaced.items() if one in self._assignment.progress}:
            await self._resume_at(replaced)
        self._replaced.clear()


def _commit(mark: Mark) -> Commit:
    """Return what would have been committed when everything up to the mark was done."""
    offset = mark.offset + 1
    return Commit(offset, write_note(offset, offset, [], mark, {}))
