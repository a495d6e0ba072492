"""The wiring of the cleanup service: privacy requests from Kafka, the status page, scheduled work, all in MongoDB."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from litestar import Litestar

from cleanup.deauthorization import Disconnector
from cleanup.erasure import Eraser
from cleanup.handlers import privacy_handler
from cleanup.job_records import JobRecords
from cleanup.jobs import scheduled_jobs
from cleanup.lease import Lease
from cleanup.log_reader import KafkaLogReader
from cleanup.metrics import CleanupMetrics
from cleanup.records import ErasureRecords
from cleanup.routes import privacy_routes
from cleanup.scheduler import Scheduler
from cleanup.second_passes import SecondPasses
from cleanup.settings import Settings
from cleanup.status_board import KafkaStatusBoard
from cleanup.token_watch import watch_tokens
from common.accounts import MongoStandings
from common.clock import SystemClock
from common.erasures import SETTLE_SECONDS
from common.events.privacy import PRIVACY
from common.health import Health
from common.kafka.broker import client_connection, kafka_broker
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.metrics import service_registry
from common.mongo import check_mongo, database, mongo_client
from common.service import create_service

GROUP = "cleanup"


def create_app(settings: Settings) -> Litestar:
    """Return the service, configured and not started."""
    clock = SystemClock(settings.clock_offset)
    registry = service_registry("cleanup")
    metrics = CleanupMetrics(registry)
    client = mongo_client(settings, service="cleanup")
    db = database(client)
    records = ErasureRecords(db)
    reader = KafkaLogReader(settings)
    eraser = Eraser(
        db,
        records,
        environment_account=settings.environment_account,
        metrics=metrics,
        clock=clock,
        reader=reader,
        settle=SETTLE_SECONDS,
    )
    scheduler = Scheduler(
        scheduled_jobs(settings, SecondPasses(db, eraser, reader, metrics=metrics, clock=clock)),
        lease=Lease(db),
        records=JobRecords(db),
        metrics=metrics,
        clock=clock,
        board=KafkaStatusBoard(client_connection(settings)),
    )
    broker = kafka_broker(settings, client_id="jawab-cleanup")
    key_ordered_subscriber(
        broker,
        PRIVACY,
        group=GROUP,
        handler=privacy_handler(
            eraser,
            Disconnector(db, MongoStandings(db), environment_account=settings.environment_account, metrics=metrics),
        ),
        settings=settings,
        metrics=KafkaMetrics(registry),
        clock=clock,
    )
    link = KafkaLink(broker, [PRIVACY, f"{PRIVACY}.dlq"])

    @asynccontextmanager
    async def connections(_: Litestar) -> AsyncIterator[None]:
        working = asyncio.gather(scheduler.run(), watch_tokens(db, metrics, clock))
        try:
            async with link.running():
                yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            await reader.close()
            await client.close()

    return create_service(
        "cleanup",
        routes=privacy_routes(records),
        lifespan=[connections],
        health=Health("cleanup", {"kafka": link.check, "mongodb": lambda: check_mongo(db)}),
        registry=registry,
    )
