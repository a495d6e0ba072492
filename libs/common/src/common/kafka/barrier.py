"""The read barrier: has everything that was observed in a conversation until now been taken in?

Used by delivery before a bot's send, so that a person who has just answered in the app is never talked over. What
"until now" means is asked of Kafka: the ends of the conversation's partitions, one request for all who ask meanwhile,
through a client that fetches nothing (through the one that consumes it would wait behind the long poll).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from common.errors import Retryable
from common.events.control import LogPosition
from common.kafka.hold import OwnershipLost, hold
from common.kafka.keyed import KeyOrderedSubscriber
from common.kafka.lanes import Watcher
from common.kafka.log_reader import connecting
from common.kafka.placement import partition_of
from common.settings import KafkaSettings

log = structlog.get_logger("kafka")

WITHIN = 5.0
"""Seconds until waiting for what was read of a conversation is given up for now."""

AGAIN_AFTER = 0.2


class Watch(Protocol):
    """One conversation, watched from a moment at which everything read of it had been taken in."""

    async def undisturbed(self) -> bool:
        """Tell whether nothing of the conversation was observed since the watch began, up to the end of its
        partitions as of this call. Raises Retryable when that cannot be found out in time.
        """
        ...


class ReadBarrier(Protocol):
    """Watches conversations."""

    def watching(self, conversation_id: str) -> AbstractAsyncContextManager[Watch]:
        """Wait until everything already read of the conversation is taken in, and watch it from there.

        Entering raises Retryable when that takes too long.
        """
        ...


class Ends:
    """Where partitions end now. Whoever asks while a request is under way shares the next one.

    `connect` returns a started client with `end_offsets`; it is called when somebody asks first.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self._connect = connect
        self._client: Any = None
        self._wanted: set[TopicPartition] = set()
        self._next: asyncio.Future[dict[TopicPartition, int]] | None = None
        self._asking: asyncio.Task[None] | None = None

    async def of(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset behind each partition's last record, read after this call. Raises KafkaError."""
        self._wanted.update(partitions)
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
        answer = self._next
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="read barrier")
        ends = await asyncio.shield(answer)
        return {partition: ends[partition] for partition in partitions}

    async def _ask(self) -> None:
        while self._next is not None:
            answer, wanted = self._next, list(self._wanted)
            self._next, self._wanted = None, set()
            try:
                self._client = self._client or await self._connect()
                answer.set_result(await self._client.end_offsets(wanted))
            except Exception as error:  # noqa: BLE001 whoever asked gets it
                answer.set_exception(error)
                answer.exception()  # it may be that nobody waits any more

    async def close(self) -> None:
        """Stop asking, and disconnect."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._client is not None:
            await self._client.stop()
            self._client = None


class KafkaReadBarrier:
    """The barrier over the partitions of one subscriber: `topics` are what is observed, `lane` is a conversation's."""

    def __init__(
        self,
        subscriber: KeyOrderedSubscriber,
        settings: KafkaSettings,
        *,
        topics: Sequence[str],
        lane: Callable[[str], Hashable],
        within: float = WITHIN,
        look_within: float = WITHIN,
    ) -> None:
        """`look_within` bounds a look at the end of the log, in seconds: no longer than the caller may act on it."""
        self._subscriber = subscriber
        self._topics = topics
        self._lane = lane
        self._within = within
        self._look_within = look_within
        self._ends = Ends(connecting(settings, "jawab-barrier"))

    async def close(self) -> None:
        """Let go of the client that asks Kafka."""
        await self._ends.close()

    @asynccontextmanager
    async def watching(self, conversation_id: str) -> AsyncIterator[Watch]:
        """Wait until everything already read of the conversation is taken in, and watch it from there."""
        lane = self._lane(conversation_id)
        try:
            await self._subscriber.at_rest(lane, self._within)
        except TimeoutError:
            raise Retryable("what was observed in the conversation is not taken in yet", after=AGAIN_AFTER) from None
        with self._subscriber.watching(lane) as watcher:
            yield _KafkaWatch(self, watcher, conversation_id)

    async def log_end(self, conversation_id: str) -> LogPosition | None:
        """Return how far the first of the topics reaches now in the conversation's partition; None: not known."""
        try:
            where = self._log_of(self._topics[0], conversation_id)
            async with asyncio.timeout(self._within):
                ends = await self._ends.of([where])
        except (TimeoutError, KafkaError, OSError, Retryable) as error:
            log.warning("log_end.unknown", error=type(error).__name__)
            return None
        return LogPosition(partition=where.partition, offset=ends[where])

    async def reached(self, conversation_id: str) -> None:
        """Wait until what the conversation's partitions hold now has been read. Raises Retryable."""
        if hold().partition is None:
            raise OwnershipLost("no subscriber reads the conversation's partitions")
        try:
            async with asyncio.timeout(self._look_within):
                ends = await self._ends.of([self._log_of(topic, conversation_id) for topic in self._topics])
                await self._subscriber.has_read(ends, self._look_within)
        except (TimeoutError, KafkaError) as error:
            log.warning("barrier.not_reached", error=type(error).__name__)
            raise Retryable("what was observed until now could not be read", after=AGAIN_AFTER) from None

    def _log_of(self, topic: str, conversation_id: str) -> TopicPartition:
        """Return where a conversation's records are, which need not be where the record in hand was found."""
        return TopicPartition(topic, partition_of(conversation_id.encode(), self._subscriber.partitions_of(topic)))


class _KafkaWatch:
    def __init__(self, barrier: KafkaReadBarrier, watcher: Watcher, conversation_id: str) -> None:
        self._barrier = barrier
        self._watcher = watcher
        self._conversation_id = conversation_id

    async def undisturbed(self) -> bool:
        if not self._watcher.disturbed:
            await self._barrier.reached(self._conversation_id)
        return not self._watcher.disturbed
