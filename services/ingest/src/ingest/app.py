"""Ingest's wiring: what is made, what is given to whom, and what runs while the service runs."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
from faststream.kafka import KafkaBroker
from litestar import Litestar

from common.clock import Clock, SystemClock
from common.health import Health
from common.kafka.broker import client_connection, kafka_broker
from common.metrics import service_registry
from common.public_address import is_local
from common.service import create_service
from ingest.backlog import Backlog, BacklogReader
from ingest.body import MAX_BODY_BYTES
from ingest.metrics import IngestMetrics
from ingest.publishing import KafkaPublisher, Publisher
from ingest.reception import Reception
from ingest.routes import instagram_routes, manychat_routes, privacy_routes, queue_routes
from ingest.settings import Settings

log = structlog.get_logger("ingest")


def create_app(
    settings: Settings,
    *,
    broker: KafkaBroker | None = None,
    publisher: Publisher | None = None,
    backlog: BacklogReader | None = None,
    clock: Clock | None = None,
) -> Litestar:
    """Return the app. Kafka is reached through `broker`, unless a `publisher` or a `backlog` takes its place."""
    clock = clock or SystemClock(settings.clock_offset)
    kafka: KafkaPublisher | None = None
    if publisher is None:
        kafka = KafkaPublisher(
            broker or kafka_broker(settings, client_id="ingest"),
            deadline=settings.ack_deadline,
        )
        publisher = kafka
    stages = backlog or Backlog({**client_connection(settings), "client_id": "ingest-backlog"}, clock)
    registry = service_registry("ingest")
    reception = Reception(settings, publisher, IngestMetrics(registry), clock)

    @asynccontextmanager
    async def running(_: Litestar) -> AsyncIterator[None]:
        if not settings.development and is_local(settings.public_url):
            log.warning("public_url.is_local", fix="set PUBLIC_URL: Meta is given a status page nobody can reach")
        async with AsyncExitStack() as stack:
            if kafka is not None:
                await stack.enter_async_context(kafka.running())
            stack.push_async_callback(stages.close)
            yield

    return create_service(
        "ingest",
        routes=[
            *instagram_routes(reception, settings),
            *manychat_routes(reception, settings),
            *privacy_routes(reception, settings),
            *queue_routes(reception, stages),
        ],
        lifespan=[running],
        health=Health("ingest", {"kafka": publisher.check}),
        registry=registry,
        max_body=MAX_BODY_BYTES,
    )
