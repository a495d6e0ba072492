"""The wiring of the delivery service: replies and observations from Kafka, two outside APIs, everything in MongoDB."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import httpx2
import structlog
from litestar import Litestar
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry

from common.accounts import MongoStandings
from common.breaker import BreakerMetrics, Breakers
from common.clock import Clock, SteadyClock, SystemClock
from common.erasures import MongoErasures
from common.events import AnyEvent, Event
from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.replies import REPLIES, REQUESTED
from common.health import Health
from common.http_client import http_client
from common.kafka.barrier import KafkaReadBarrier
from common.kafka.broker import kafka_broker, publish
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.merchant_directory import MerchantDirectory, merchant_from_environment
from common.merchants import Merchants
from common.metrics import service_registry
from common.mongo import check_mongo, database, ensure_indexes_once_reachable, mongo_client
from common.platform_clock import PlatformClock
from common.request_rate import RequestRate
from common.sealing import Sealer
from common.service import create_service
from delivery.api.acceptance import Acceptance
from delivery.api.conversation_routes import conversation_routes
from delivery.api.conversations import Conversations, LogEnd
from delivery.api.routes import utility_message_routes
from delivery.api.utility_messages import UtilityMessagesService
from delivery.clock_watch import ClockWatch
from delivery.consequences import APIS, Consequences
from delivery.contacts import Contacts
from delivery.dead_replies import DeadReplies
from delivery.echoes import EchoReader
from delivery.erased import dead_unless_erased, unless_erased
from delivery.first_seen import FirstSeen
from delivery.handlers import dead_lettered, delivery_handler, lane_of, observations_of
from delivery.ledger import Ledger
from delivery.message_lookup import MessageLookup
from delivery.metrics import DeliveryMetrics, PaceMetrics
from delivery.mongo import MongoContacts, MongoLedger
from delivery.observations import Observer
from delivery.outcomes import Publish
from delivery.own_comments import OwnComments
from delivery.pace.pacing import Pacing, pacing
from delivery.pace.pauses import PauseMetrics, Pauses
from delivery.pace.shared_count import SharedCount
from delivery.patience import Patience
from delivery.platforms.calls import OutsideApi
from delivery.platforms.instagram import Graph
from delivery.platforms.manychat import ManyChat
from delivery.platforms.operator import Operator
from delivery.platforms.outside import Outside
from delivery.read_receipts import ReadReceipts
from delivery.reports import Reports
from delivery.resolution import Eyes
from delivery.sender import InstagramMessageSender
from delivery.settings import Settings
from delivery.stopping import StopMetrics, Stops
from delivery.sweeper import Sweeper

log = structlog.get_logger("delivery")

GROUP = "delivery"
OBSERVED = (INTERACTIONS, CONTROL)
READ = (REPLIES, REQUESTED, *OBSERVED)
NEEDED = (*READ, OUTCOMES, *(f"{topic}.dlq" for topic in READ))
SPARE_CONNECTIONS = 20
"""For what is not paced: lookups, typing, reading back."""


def create_app(settings: Settings) -> Litestar:
    """Return the service, configured and not started."""
    registry = service_registry("delivery")
    metrics = DeliveryMetrics(registry)
    patience = Patience(
        call_timeout=settings.call_timeout,
        settle=settings.settle,
        deadline=settings.unknown_deadline,
        human_pause=timedelta(hours=settings.human_pause_hours),
    )
    client = mongo_client(settings, service="delivery")
    db = database(client)
    sealer = Sealer([key.get_secret_value() for key in settings.encryption_keys])
    merchants = MerchantDirectory(db, merchant_from_environment(settings, sealer), registry=registry)
    apis = _outside_apis(settings, metrics)
    # Delivery has the platform's clock: what it writes and compares is about the platform's messages.
    clock = PlatformClock(SystemClock(settings.clock_offset), [apis.graph.clock, apis.manychat.clock])
    watch = ClockWatch(
        clock=clock,
        apis=(apis.graph, apis.manychat),
        db=db,
        metrics=metrics,
        max_offset=settings.max_clock_offset,
    )
    first_seen = FirstSeen()
    ledger, contacts, erasures = MongoLedger(db), MongoContacts(db, clock), MongoErasures(db)
    notifier = Operator(apis.operator, metrics=metrics)
    stops = Stops(
        standings=MongoStandings(db),
        merchants=merchants,
        operator=notifier,
        clock=clock,
        metrics=StopMetrics(registry),
    )
    breakers = partial(Breakers, clock=SteadyClock(clock.machine), metrics=BreakerMetrics(registry))
    turns = _pacing(settings, registry)
    outside = Outside(
        graph=Graph(apis.graph, app_secret=settings.app_secret),
        manychat=ManyChat(apis.manychat),
        operator=notifier,
        graph_breakers=breakers("graph"),
        manychat_breakers=breakers("manychat"),
        consequences=Consequences(
            pauses=Pauses(clock=SteadyClock(clock.machine), metrics=PauseMetrics(registry), apis=APIS),
            stops=stops,
            clock=clock,
            metrics=metrics,
        ),
        pacing=turns,
    )
    link = KafkaLink(broker := kafka_broker(settings, client_id="jawab-delivery"), NEEDED)

    async def append(events: Sequence[Event]) -> None:
        if not link.started.is_set():
            raise ConnectionError("Kafka is not connected")
        await publish(broker, events, timeout=settings.publish_timeout)

    reports = Reports(publish=append, merchants=merchants, operator=notifier, metrics=metrics)
    dead = DeadReplies(
        ledger=ledger, contacts=contacts, merchants=merchants, reports=reports, clock=clock, metrics=metrics
    )
    observer = Observer(
        merchants=merchants,
        contacts=contacts,
        echoes=EchoReader(
            ledger=ledger,
            contacts=contacts,
            publish=append,
            clock=clock,
            metrics=metrics,
            patience=patience,
            first_seen=first_seen,
            app_id=settings.app_id,
        ),
        own_comments=OwnComments(ledger=ledger, clock=clock, metrics=metrics),
        reads=ReadReceipts(ledger=ledger, patience=patience, first_seen=first_seen),
        lookup=MessageLookup(reader=outside, sealer=sealer, publish=append, metrics=metrics),
        reports=reports,
        stops=stops,
        clock=clock,
        metrics=metrics,
        patience=patience,
    )

    async def handle(event: AnyEvent) -> None:
        await on_event(event)  # made last: what sends needs the barrier, and the barrier needs the subscriber

    subscriber = key_ordered_subscriber(
        broker,
        *READ,
        group=GROUP,
        handler=handle,
        settings=settings,
        metrics=KafkaMetrics(registry),
        clock=clock,
        lane_of=lane_of,
        buried=dead_unless_erased(dead_lettered(dead, observer), erasures),
    )
    barrier = KafkaReadBarrier(subscriber, settings, topics=OBSERVED, lane=observations_of, look_within=settings.settle)
    sender = InstagramMessageSender(
        merchants=merchants,
        contacts=contacts,
        ledger=ledger,
        outside=outside,
        reports=reports,
        sealer=sealer,
        clock=clock,
        metrics=metrics,
        patience=patience,
        margin=settings.margin,
        pacing=turns,
        barrier=barrier,
        stops=stops,
        first_seen=first_seen,
    )
    sweeper = Sweeper(
        ledger=ledger,
        contacts=contacts,
        eyes=Eyes(merchants=merchants, sealer=sealer, reader=outside, ledger=ledger),
        reports=reports,
        clock=clock,
        metrics=metrics,
        abandoned_after=settings.abandoned_after,
    )
    on_event = unless_erased(delivery_handler(sender, observer), erasures, sender)

    async def consume() -> None:
        # The unique index comes first: without it one comment could be answered twice.
        await ensure_indexes_once_reachable(db, owner="delivery")
        await watch.first_look()
        async with link.running():
            await asyncio.gather(
                sweeper.sweep_regularly(settings.sweep_interval), stops.refresh_regularly(), watch.watch_regularly()
            )

    @asynccontextmanager
    async def connections(_: Litestar) -> AsyncIterator[None]:
        consuming = asyncio.create_task(consume(), name="consume")
        try:
            yield
        finally:
            consuming.cancel()
            await asyncio.gather(consuming, return_exceptions=True)
            await barrier.close()
            await turns.close()
            await asyncio.gather(*(one.aclose() for one in apis.clients))
            await client.close()

    return create_service(
        "delivery",
        routes=_http_api(
            settings,
            merchants=merchants,
            contacts=contacts,
            ledger=ledger,
            publish=append,
            clock=clock,
            log_end=barrier.log_end,
        ),
        lifespan=[connections],
        health=Health("delivery", {"kafka": link.check, "mongodb": lambda: check_mongo(db), "clock": watch.check}),
        registry=registry,
    )


@dataclass(frozen=True)
class _OutsideApis:
    graph: OutsideApi
    manychat: OutsideApi
    operator: OutsideApi
    clients: Sequence[httpx2.AsyncClient]


def _outside_apis(settings: Settings, metrics: DeliveryMetrics) -> _OutsideApis:
    """Return the outside APIs, a client for each: those that hang leave the sends of the others their connections."""
    clients = [
        http_client(timeout=settings.call_timeout, connections=settings.connections + SPARE_CONNECTIONS)
        for _ in range(3)
    ]
    graph, manychat, operator = clients
    api = partial(OutsideApi, observe=metrics.observe_call)
    return _OutsideApis(
        graph=api("graph", graph, settings.graph_url, timeout=settings.call_timeout),
        manychat=api("manychat", manychat, settings.manychat_url, timeout=settings.call_timeout),
        operator=api("operator", operator, "", timeout=min(settings.call_timeout, 5.0)),
        clients=clients,
    )


def _http_api(
    settings: Settings,
    *,
    merchants: Merchants,
    contacts: Contacts,
    ledger: Ledger,
    publish: Publish,
    clock: Clock,
    log_end: LogEnd,
) -> list[ControllerRouterHandler]:
    """Return the routes for programs and for people."""
    acceptance = Acceptance(ledger=ledger, publish=publish, clock=clock)
    conversations = Conversations(
        merchants=merchants,
        contacts=contacts,
        acceptance=acceptance,
        publish=publish,
        clock=clock,
        margin=settings.margin,
        human_pause=timedelta(hours=settings.human_pause_hours),
        log_end=log_end,
    )
    jwt_secrets = [secret.get_secret_value() for secret in settings.jwt_secrets]
    messages = UtilityMessagesService(merchants=merchants, acceptance=acceptance)
    per_minute = settings.api_per_minute  # for programs and for people each: a broadcast keeps nobody from taking over
    return [
        *utility_message_routes(messages, jwt_secrets=jwt_secrets, clock=clock, rate=RequestRate(per_minute)),
        *conversation_routes(conversations, jwt_secrets=jwt_secrets, clock=clock, rate=RequestRate(per_minute)),
    ]


def _pacing(settings: Settings, registry: CollectorRegistry) -> Pacing:
    """Return the pace of this replica, which it shares with the others where there is a place to count together."""
    url = settings.limits_url
    return pacing(
        settings.limits,
        places=settings.connections,
        metrics=PaceMetrics(registry),
        replicas=settings.replicas,
        shared=SharedCount(url.get_secret_value()) if url is not None else None,
    )
