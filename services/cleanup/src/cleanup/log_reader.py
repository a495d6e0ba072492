"""What cleanup asks of Kafka besides its own subscription: where the topics end, and what one record says.

Both through clients that belong to no group. Where the topics end is asked through one that stays, for all erasures
that want to know meanwhile: an operator's file may name thousands of customers.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from common.errors import Retryable
from common.kafka.barrier import Ends
from common.kafka.log_reader import connecting
from common.kafka.topics import MAX_RECORD_BYTES, TOPICS
from common.settings import KafkaSettings
from common.tombstones import Position

ASK_SECONDS = 15.0
PARTITIONS = {topic.name: topic.partitions for topic in TOPICS}


class LogReader(Protocol):
    """Asks Kafka. Both methods raise Retryable where it does not answer."""

    async def ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return the offset behind the last record of every partition of these topics, as of now."""
        ...

    async def value_at(self, position: Position) -> bytes | None:
        """Return the value of one record, or None where it is gone."""
        ...


class KafkaLogReader:
    """Asks a real Kafka."""

    def __init__(self, settings: KafkaSettings, *, timeout: float = ASK_SECONDS) -> None:
        self._connect = connecting(settings, "jawab-cleanup-reader", max_partition_fetch_bytes=MAX_RECORD_BYTES)
        self._timeout = timeout
        self._ends = Ends(connecting(settings, "jawab-cleanup-ends"))

    async def ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return where every partition of these topics ends. Raises Retryable."""
        places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS[topic])]
        try:
            async with asyncio.timeout(self._timeout):
                ends = await self._ends.of(places)
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise Retryable(f"Kafka did not say where its topics end ({type(error).__name__})") from None
        return {topic: [ends[TopicPartition(topic, number)] for number in range(PARTITIONS[topic])] for topic in topics}

    async def close(self) -> None:
        """Disconnect."""
        await self._ends.close()

    async def value_at(self, position: Position) -> bytes | None:
        """Return the value of one record, or None where retention has removed it. Raises Retryable."""
        place = TopicPartition(position.topic, position.partition)
        async with self._client() as client:
            client.assign([place])
            beginnings, ends = await client.beginning_offsets([place]), await client.end_offsets([place])
            if not beginnings[place] <= position.offset < ends[place]:
                return None
            client.seek(place, position.offset)
            record = await client.getone(place)
            value: bytes | None = record.value
            return value if record.offset == position.offset else None

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Any]:
        client = None
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._connect()
                yield client
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise Retryable(f"Kafka could not be asked ({type(error).__name__})") from None
        finally:
            if client is not None:
                await client.stop()
