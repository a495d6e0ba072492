"""A service's link to Kafka: made when Kafka can be reached, however late, and told to the readiness probe.

A service starts its HTTP side at once. If Kafka is away it says so and keeps trying, so nobody has to start things in
the right order or restart a service after an outage.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaProducer
from faststream.kafka import KafkaBroker

from common.health import Unhealthy

log = structlog.get_logger("kafka")

RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)


class KafkaLink:
    """Starts a broker in the background and knows whether it has started."""

    def __init__(self, broker: KafkaBroker, topics: Sequence[str]) -> None:
        self._broker = broker
        self._topics = topics
        self._reason = "not connected yet"
        self.started = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the broker running for as long as the context is open."""
        connecting = asyncio.create_task(self._connect(), name="kafka link")
        try:
            yield
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            self.started.clear()
            await self._broker.stop()

    async def _connect(self) -> None:
        attempt = 0
        while True:
            try:
                await self._broker.start()
            except Exception as error:  # noqa: BLE001 whatever it is, Kafka is not usable yet
                self._reason = f"Kafka cannot be reached ({type(error).__name__})"
                log.warning("kafka.not_reachable", error=type(error).__name__, attempt=attempt + 1)
                await self._broker.stop()
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
            else:
                self.started.set()
                log.info("kafka.connected")
                return

    async def check(self) -> None:
        """Ask the cluster for its topics. Raises Unhealthy when it does not answer or one is missing."""
        if not self.started.is_set():
            raise Unhealthy(self._reason, "start Kafka, or correct KAFKA_BOOTSTRAP_SERVERS")
        client = producer_of(self._broker).client
        if not await client.force_metadata_update():
            raise Unhealthy("Kafka does not answer", "see whether its brokers are running")
        missing = [topic for topic in self._topics if not client.cluster.partitions_for_topic(topic)]
        if missing:
            raise Unhealthy(f"topics are missing: {', '.join(missing)}", "run `jawab topics apply`")


def producer_of(broker: KafkaBroker) -> AIOKafkaProducer:
    """Return aiokafka's producer inside a started broker (a FastStream internal; pinned by a canary test)."""
    return broker.config.producer._producer.producer  # type: ignore[attr-defined]
