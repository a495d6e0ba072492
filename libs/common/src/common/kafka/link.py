"""A service's link to Kafka: made when Kafka can be reached, however late, and told to the readiness probe.

A service starts its HTTP side at once. If Kafka is away it says so and keeps trying, so nobody has to start things in
the right order or restart a service after an outage.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker

from common.health import Unhealthy
from common.kafka.topics import SOURCES, differences

log = structlog.get_logger("kafka")

START_KAFKA = "start Kafka, or correct KAFKA_BOOTSTRAP_SERVERS"
RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)


class KafkaLink:
    """Starts a broker in the background and knows whether it has started."""

    def __init__(self, broker: KafkaBroker, topics: Sequence[str]) -> None:
        self._broker = broker
        self._topics = topics
        self._problem = Unhealthy("not connected to Kafka yet", START_KAFKA)
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
                await self._knock()
                await self._broker.start()
            except Exception as error:  # noqa: BLE001 whatever it is, Kafka is not usable yet
                self._problem = (
                    error
                    if isinstance(error, Unhealthy)
                    else Unhealthy(f"Kafka cannot be reached ({type(error).__name__})", START_KAFKA)
                )
                log.warning("kafka.not_usable", reason=self._problem.reason, attempt=attempt + 1)
                await self._broker.stop()
                await asyncio.sleep(RETRY_SECONDS[min(attempt, len(RETRY_SECONDS) - 1)])
                attempt += 1
            else:
                self.started.set()
                log.info("kafka.connected")
                return

    async def _knock(self) -> None:
        """Look with a client of our own whether Kafka answers and the topics are as declared.

        FastStream leaks a producer for each start that fails, and a consumer that subscribes before its topics exist
        notices them only when its metadata expires.
        """
        visitor = self._broker.config.broker_config.builder()
        try:
            await visitor.start()
            _refuse_unfit(self._topics, await visitor._client.fetch_all_metadata())
        finally:
            await visitor.stop()

    async def check(self) -> None:
        """Ask the cluster for its topics. Raises Unhealthy when it does not answer, or one is missing or differs."""
        if not self.started.is_set():
            raise self._problem
        # All topics: the producer's own metadata covers only those it has written to.
        try:
            cluster = await producer_of(self._broker).client.fetch_all_metadata()
        except KafkaError as error:
            raise Unhealthy(
                f"Kafka does not answer ({type(error).__name__})", "see whether its brokers are running"
            ) from None
        _refuse_unfit(self._topics, cluster)


def _refuse_unfit(wanted: Sequence[str], cluster: ClusterMetadata) -> None:
    """Raise Unhealthy where a wanted topic is missing, or has other partitions than declared."""
    there = cluster.topics()
    if missing := [topic for topic in wanted if topic not in there]:
        raise Unhealthy(f"topics are missing: {', '.join(missing)}", "run `jawab topics apply`")
    found = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in wanted}
    if lines := differences(found, SOURCES):
        raise Unhealthy(
            f"{'; '.join(lines)}: the records of one conversation would lie with several replicas",
            "create the topics anew with `jawab topics apply`, and let nobody add partitions to them",
        )


def producer_of(broker: KafkaBroker) -> AIOKafkaProducer:
    """Return aiokafka's producer inside a started broker (a FastStream internal; pinned by a canary test)."""
    return broker.config.producer._producer.producer  # type: ignore[attr-defined]
