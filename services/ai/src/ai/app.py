"""The wiring of the ai service: what customers wrote comes from Kafka, what to answer goes back, MongoDB keeps it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import structlog
from litestar import Litestar

from ai.announcing import Announcer
from ai.conversations import MongoConversations
from ai.decisions import MongoDecisions
from ai.handlers import Handlers
from ai.held_back import HeldBack
from ai.instagram_ai import InstagramAIService
from ai.media.download import Downloads
from ai.media.hearing import Ears
from ai.media.links import AllowedHosts
from ai.media.sight import Sight
from ai.media.transcription import API as AUDIO_API
from ai.media.transcription import OpenAITranscription
from ai.messages import MongoMessages
from ai.metrics import AIMetrics
from ai.model import API, ModelLimits, OpenAIModel, openai_client
from ai.notices import Notices
from ai.orchestrator import ConversationAIOrchestrator
from ai.ownership import MongoOwnership
from ai.rules import RuleEngine
from ai.ruling import Rulings
from ai.settings import OFF, Settings
from ai.turn import MOST_MESSAGES
from ai.unreadable import Unreadable
from ai.usage import UsageTally
from common.accounts import MongoStandings
from common.breaker import BreakerMetrics, Breakers
from common.clock import Clock, SystemClock
from common.erasures import MongoErasures
from common.events import Event
from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import OUTCOMES
from common.events.replies import REPLIES
from common.health import Health
from common.kafka.broker import kafka_broker, publish
from common.kafka.link import KafkaLink
from common.kafka.metrics import KafkaMetrics
from common.kafka.subscription import key_ordered_subscriber
from common.merchant_directory import MerchantDirectory, merchant_from_environment
from common.metrics import service_registry
from common.mongo import Database, check_mongo, database, ensure_indexes_once_reachable, mongo_client
from common.service import create_service

GROUP = "ai"
READS = (INTERACTIONS, OUTCOMES, CONTROL)

log = structlog.get_logger("ai")


def create_app(settings: Settings, *, clock: Clock | None = None) -> Litestar:
    """Return the service, configured and not started."""
    clock = clock or SystemClock(settings.clock_offset)
    registry = service_registry("ai")
    metrics = AIMetrics(registry)
    mongo = mongo_client(settings, service="ai")
    db = database(mongo)
    openai = openai_client(
        api_key=settings.openai_api_key.get_secret_value(),
        base_url=settings.openai_base_url,
        timeout=settings.openai_timeout,
        connections=settings.model_concurrency,
    )
    breaker_metrics = BreakerMetrics(registry)
    model = OpenAIModel(
        openai,
        ModelLimits(
            model=settings.openai_model,
            timeout=settings.openai_timeout,
            max_tokens=settings.openai_max_tokens,
            thinking_tokens=settings.openai_thinking_tokens,
            temperature=settings.openai_temperature,
            concurrency=settings.model_concurrency,
        ),
        metrics,
        Breakers(API, clock=clock, metrics=breaker_metrics),
    )
    messages = MongoMessages(db)
    conversations = MongoConversations(db, history_length=settings.history_length)
    tally = UsageTally(db)
    broker = kafka_broker(settings, client_id="jawab-ai")

    async def publish_events(events: Sequence[Event]) -> None:
        await publish(broker, events, timeout=settings.publish_timeout)

    decisions = MongoDecisions(db)
    hosts = AllowedHosts(settings.media_hosts)
    downloads = Downloads(hosts, timeout=settings.media_timeout, most_bytes=settings.media_max_bytes)
    transcription = OpenAITranscription(
        openai,
        model=settings.transcription_model,
        timeout=settings.openai_timeout,
        observer=metrics,
        breakers=Breakers(AUDIO_API, clock=clock, metrics=breaker_metrics),
    )
    ears = Ears(
        fetching=downloads,
        transcribing=transcription,
        transcripts=messages,
        spending=tally,
        observer=metrics,
        clock=clock,
        concurrency=settings.transcription_concurrency,
        max_recording=settings.media_max_bytes,
        memory=settings.media_memory_bytes,
        patience=settings.model_patience,
    )
    rules = RuleEngine()
    handlers = Handlers(
        merchants=MerchantDirectory(db, merchant_from_environment(settings, None), registry=registry, clock=clock),
        standings=MongoStandings(db),
        orchestrator=ConversationAIOrchestrator(
            messages=messages,
            conversations=conversations,
            decisions=decisions,
            answering=InstagramAIService(model),
            spending=tally,
            observer=metrics,
            publish=publish_events,
            clock=clock,
            # A turn's earlier messages are read back from the lines that are kept.
            most_messages=min(MOST_MESSAGES, settings.history_length),
            model_patience=settings.model_patience,
            rules=rules,
            ears=ears if settings.transcription_model != OFF else None,
            sight=Sight(hosts, settings.images) if settings.images != "off" else None,
            courtesies=publish_events,
        ),
        notices=Notices(
            messages=messages,
            lines=conversations,
            rulings=Rulings(rules, observer=metrics, clock=clock),
            announcer=Announcer(decisions=decisions, spending=tally, observer=metrics, publish=publish_events),
            observer=metrics,
            clock=clock,
        ),
        unreadable=Unreadable(
            conversations=conversations,
            rulings=Rulings(rules, observer=metrics, clock=clock),
            announcer=Announcer(decisions=decisions, spending=tally, observer=metrics, publish=publish_events),
            clock=clock,
        ),
        held_back=HeldBack(messages, conversations, decisions, publish_events, clock),
        messages=messages,
        conversations=conversations,
        ownership=MongoOwnership(db, history_length=settings.history_length),
        decisions=decisions,
        publish=publish_events,
        metrics=metrics,
        clock=clock,
        human_pause=timedelta(hours=settings.human_pause_hours),
        erasures=MongoErasures(db),
    )
    key_ordered_subscriber(
        broker,
        *READS,
        group=GROUP,
        handler=handlers.handle,
        settings=settings,
        metrics=KafkaMetrics(registry),
        clock=clock,
        buried=handlers.dead_lettered,
    )
    link = KafkaLink(broker, [*READS, REPLIES, *(f"{topic}.dlq" for topic in READS)])

    @asynccontextmanager
    async def connections(_: Litestar) -> AsyncIterator[None]:
        # Left in the opposite order: Kafka drains first, and needs all the others until then.
        async with AsyncExitStack() as stack:
            stack.push_async_callback(mongo.close)
            stack.push_async_callback(openai.close)
            stack.push_async_callback(downloads.aclose)
            await stack.enter_async_context(tally.running())
            await stack.enter_async_context(_indexed(db))
            await stack.enter_async_context(link.running())
            yield

    return create_service(
        "ai",
        routes=[],
        lifespan=[connections],
        health=Health("ai", {"kafka": link.check, "mongodb": lambda: check_mongo(db)}),
        registry=registry,
    )


@asynccontextmanager
async def _indexed(db: Database) -> AsyncIterator[None]:
    """Create the indexes as soon as MongoDB can be reached. Nothing waits for them: uniqueness rests on `_id` alone."""
    creating = asyncio.create_task(ensure_indexes_once_reachable(db, owner="ai"), name="indexes")
    try:
        yield
    finally:
        creating.cancel()
        await asyncio.gather(creating, return_exceptions=True)
