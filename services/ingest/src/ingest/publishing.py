"""How events get into Kafka: all of them acknowledged inside the deadline, or the request is told to come again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from aiokafka.errors import KafkaError
from faststream.exceptions import FastStreamException
from faststream.kafka import KafkaBroker

from common.events import Event
from common.events.interactions import INTERACTIONS
from common.events.privacy import PRIVACY
from common.kafka.broker import publish
from common.kafka.link import KafkaLink

TOPICS = (INTERACTIONS, PRIVACY)


class NotPublished(Exception):
    """Kafka did not acknowledge everything in time; some may be in the log, which derived ids make harmless."""


class Publisher(Protocol):
    """Where events go."""

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all `events` are acknowledged. Raises NotPublished."""
        ...

    async def check(self) -> None:
        """Raise common.health.Unhealthy when nothing can be published."""
        ...


class KafkaPublisher:
    """Publishes to Kafka, each batch inside a deadline in seconds."""

    def __init__(self, broker: KafkaBroker, *, deadline: float) -> None:
        self._broker = broker
        self._deadline = deadline
        self._link = KafkaLink(broker, TOPICS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connected to Kafka, however late it comes up, while the context is open."""
        async with self._link.running():
            yield

    async def publish(self, events: Sequence[Event]) -> None:
        """Return when all `events` are acknowledged. Raises NotPublished."""
        if not self._link.started.is_set():
            raise NotPublished("Kafka is not connected")
        try:
            await publish(self._broker, events, timeout=self._deadline)
        except (KafkaError, FastStreamException, OSError) as error:  # TimeoutError is an OSError
            raise NotPublished(type(error).__name__) from error

    async def check(self) -> None:
        """Raise Unhealthy when Kafka does not answer or a topic is missing."""
        await self._link.check()
