"""`python -m common.kafka.apply_topics`: creates the topics from inside any service's image.

The operator's command does the same with more comfort (`jawab topics apply`), but is not part of an image.
"""

import asyncio
import sys
import time
from typing import Self

from aiokafka.errors import KafkaError
from pydantic import ValidationError, model_validator
from pydantic_settings import SettingsError

from common.kafka.broker import client_connection
from common.kafka.topic_admin import apply
from common.kafka.topics import TopicReport, TopicsDiffer
from common.service import EXIT_MISCONFIGURED, misconfiguration
from common.settings import KafkaSettings, named

PATIENCE = 60.0
"""Seconds until a cluster that does not answer is given up: it may be starting at the same moment."""


class TopicSettings(KafkaSettings):
    """How often each record is kept."""

    replication_factor: int = named("KAFKA_REPLICATION_FACTOR", default=1, ge=1)
    min_insync_replicas: int = named("KAFKA_MIN_INSYNC_REPLICAS", default=1, ge=1)

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError("KAFKA_MIN_INSYNC_REPLICAS must not be larger than KAFKA_REPLICATION_FACTOR")
        return self


async def apply_patiently(settings: TopicSettings, *, patience: float) -> list[TopicReport]:
    """Create what is missing, trying for `patience` seconds. Raises TopicsDiffer, and KafkaError or OSError at last."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return await apply(
                client_connection(settings),
                replication_factor=settings.replication_factor,
                min_insync_replicas=settings.min_insync_replicas,
            )
        except (KafkaError, OSError, TimeoutError):
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(1.0)


def main() -> int:
    """Print a line per topic and return the exit code."""
    try:
        settings = TopicSettings()
    except (ValidationError, SettingsError, ValueError) as error:
        return _failed(misconfiguration(error), EXIT_MISCONFIGURED)
    try:
        reports = asyncio.run(apply_patiently(settings, patience=PATIENCE))
    except TopicsDiffer as error:
        return _failed(str(error), 1)
    except (KafkaError, OSError, TimeoutError) as error:
        return _failed(f"{type(error).__name__} from {settings.bootstrap_servers}: see whether Kafka is running", 1)
    for report in reports:
        sys.stdout.write(f"{report.state:8} {report.topic.name} ({report.topic.partitions} partitions)\n")
    return 0


def _failed(line: str, code: int) -> int:
    sys.stderr.write(f"topics: {line}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
