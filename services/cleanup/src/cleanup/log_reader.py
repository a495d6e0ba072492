"""What cleanup asks of Kafka besides its own subscription: where the topics end, and what one record says.

Both go through a client that belongs to no group and is made for the one question: erasures are rare.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from common.errors import Retryable
from common.kafka.topics import TOPICS
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
    """Asks a real Kafka; `connection` are aiokafka's arguments."""

    def __init__(self, connection: Mapping[str, Any], *, timeout: float = ASK_SECONDS) -> None:
        self._connection = connection
        self._timeout = timeout

    async def ends(self, topics: Sequence[str]) -> Mapping[str, Sequence[int]]:
        """Return where every partition of these topics ends. Raises Retryable."""
        async with self._client() as client:
            places = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS[topic])]
            ends = await client.end_offsets(places)
            return {
                topic: [ends[TopicPartition(topic, number)] for number in range(PARTITIONS[topic])] for topic in topics
            }

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
        client = AIOKafkaConsumer(
            **self._connection, client_id="jawab-cleanup-reader", group_id=None, enable_auto_commit=False
        )
        try:
            async with asyncio.timeout(self._timeout):
                await client.start()
                yield client
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise Retryable(f"Kafka could not be asked ({type(error).__name__})") from None
        finally:
            await client.stop()
