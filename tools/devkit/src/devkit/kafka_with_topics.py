"""An embedded Kafka that has Jawab's topics: what tests start from."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.kafka import topic_admin
from devkit.kafka import EmbeddedKafka


@contextmanager
def kafka_with_topics(folder: Path) -> Iterator[EmbeddedKafka]:
    """Run a broker with Jawab's topics for as long as the context is open. Must not be entered inside an event loop."""
    with EmbeddedKafka(folder) as broker:
        asyncio.run(topic_admin.apply({"bootstrap_servers": broker.bootstrap}))
        yield broker
