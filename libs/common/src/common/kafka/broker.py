"""The one place where a connection to Kafka is configured.

`acks=all` and an idempotent producer, because a 200 to a webhook means that its events are in the log exactly once;
no automatic topics, because a misspelt topic must fail; a linger of 5 ms, because a batch of webhook items then goes
out as one request.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from faststream.kafka import KafkaBroker

from common.events import Event
from common.kafka.codec import EventCodec
from common.kafka.security import broker_security, client_security
from common.kafka.topics import MAX_RECORD_BYTES
from common.settings import KafkaSettings

LINGER_MS = 5


def kafka_broker(settings: KafkaSettings, *, client_id: str) -> KafkaBroker:
    """Return a broker that is configured and not yet connected."""
    return KafkaBroker(
        settings.bootstrap_servers,
        client_id=client_id,
        acks="all",
        enable_idempotence=settings.idempotence,
        linger_ms=LINGER_MS,
        max_request_size=MAX_RECORD_BYTES,
        request_timeout_ms=int(settings.request_timeout * 1000),
        metadata_max_age_ms=60_000,
        allow_auto_create_topics=False,
        graceful_timeout=settings.drain_timeout,
        codec=EventCodec(),  # type: ignore[arg-type]  # FastStream's DecodedMessage has no room for classes
        **broker_security(settings),
        apply_types=False,  # the codec has validated already
        logger=None,  # FastStream logs exceptions with the values in them
    )


def client_connection(settings: KafkaSettings) -> dict[str, Any]:
    """Return aiokafka's connection arguments, for admin clients and readers that are not FastStream's."""
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "request_timeout_ms": int(settings.request_timeout * 1000),
        **client_security(settings),
    }


async def publish(broker: KafkaBroker, events: Sequence[Event], *, timeout: float) -> None:
    """Append `events` and return when every one of them is acknowledged.

    They are handed to the producer one after another, so events of one key keep their order, and acknowledged together.
    Raises TimeoutError when `timeout` seconds pass first (some may still be appended: ids make that harmless),
    KafkaError or OSError when Kafka refuses or is away.
    """
    async with asyncio.timeout(timeout):
        pending = [
            await broker.publish(event, event.topic, key=event.partitionkey.encode(), no_confirm=True)
            for event in events
        ]
        await asyncio.gather(*pending)
