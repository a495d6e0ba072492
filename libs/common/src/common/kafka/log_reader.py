"""Looks into partitions' logs: where they begin and end, and whether a record that was read once still lies there.

Through a client without a group, because through the one that consumes every question waits behind a long poll.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from common.kafka.broker import client_connection
from common.kafka.commit_note import Mark
from common.kafka.resume_point import Commit, Found, Log, ResumePoint, mark_to_read, resume_point
from common.settings import KafkaSettings

MAX_FETCH_BYTES = 64 * 1024
"""A partition's share of an answer: one record is wanted. Kafka sends a larger one whole where it comes first."""

POLL_SECONDS = 0.01

Connect = Callable[[], Awaitable[Any]]
"""Returns a started consumer without a group."""


def connecting(settings: KafkaSettings, client_id: str, **options: Any) -> Connect:
    """Return what connects a consumer without a group, with aiokafka's `options`.

    It raises KafkaError when Kafka cannot be reached.
    """

    async def connect() -> Any:
        client = AIOKafkaConsumer(
            **client_connection(settings),
            client_id=client_id,
            group_id=None,
            **{"max_partition_fetch_bytes": MAX_FETCH_BYTES, **options},
        )
        try:
            await client.start()
        except BaseException:
            await client.stop()
            raise
        return client

    return connect


class LogReader:
    """Finds where reading resumes. Reading the marked records takes up to `within` seconds."""

    def __init__(self, connect: Connect, within: float) -> None:
        self._connect = connect
        self._within = within

    async def resume_points(
        self, partitions: Sequence[TopicPartition], commits: Mapping[TopicPartition, Commit]
    ) -> dict[TopicPartition, ResumePoint]:
        """Return where each partition resumes after its commit. Raises KafkaError when Kafka does not answer."""
        async with self._connected() as client:
            begins = await client.beginning_offsets(partitions)
            ends = await client.end_offsets(partitions)
            logs = {partition: Log(begins[partition], ends[partition]) for partition in partitions}
            wanted = {one: mark_to_read(commits.get(one), log) for one, log in logs.items()}
            found = await self._read(client, {one: offset for one, offset in wanted.items() if offset is not None})
            points = {one: resume_point(commits.get(one), log, found.get(one)) for one, log in logs.items()}
            return points | await _searched(client, points, logs)

    async def begins(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where each partition's log begins. Raises KafkaError when Kafka does not answer."""
        async with self._connected() as client:
            return dict(await client.beginning_offsets(partitions))

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Any]:
        client = await self._connect()
        try:
            yield client
        finally:
            await client.stop()

    async def _read(self, client: Any, wanted: Mapping[TopicPartition, int]) -> dict[TopicPartition, Found]:
        """Return the marks of the records at these offsets, None where another or none lies there."""
        found: dict[TopicPartition, Found] = dict.fromkeys(wanted, "unread")
        if not wanted:
            return found
        client.assign(list(wanted))
        for partition, offset in wanted.items():
            client.seek(partition, offset)
        missing, give_up = set(wanted), time.monotonic() + self._within
        while missing and time.monotonic() < give_up:
            for partition in sorted(missing):
                try:
                    records = (await client.getmany(partition, timeout_ms=0, max_records=1)).get(partition)
                except KafkaError:
                    continue  # it is asked again, until it counts as unread
                except Exception:  # noqa: BLE001 whatever a parser raises
                    found[partition] = "unparsed"
                    missing.discard(partition)
                    continue
                if records:
                    mark = Mark.of(records[0])
                    found[partition] = mark if mark.offset == wanted[partition] else None
                    missing.discard(partition)
            if missing:
                await asyncio.sleep(POLL_SECONDS)
        return found


async def _searched(
    client: Any, points: Mapping[TopicPartition, ResumePoint], logs: Mapping[TopicPartition, Log]
) -> dict[TopicPartition, ResumePoint]:
    """Return where those resume whose log was replaced."""
    times = {one: point.search_ms for one, point in points.items() if point.search_ms is not None}
    if not times:
        return {}
    first = await client.offsets_for_times(times)
    searched = {}
    for partition in times:
        begin, there = logs[partition].begin, first.get(partition)
        offset = min(points[partition].offset, there.offset) if there is not None else begin
        searched[partition] = replace(points[partition], offset=max(begin, offset))
    return searched
