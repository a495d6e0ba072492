"""Shows how the scheduled jobs stand through Kafka, where ingest finds it (`common.job_status`)."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from common.errors import Retryable
from common.events.privacy import PRIVACY
from common.job_status import STATUS_GROUP, JobStatus, encode

WITHIN_SECONDS = 10.0
PLACE = TopicPartition(PRIVACY, 0)


class KafkaStatusBoard:
    """Commits the statuses as metadata of a group that reads nothing, where they have changed."""

    def __init__(self, connection: Mapping[str, Any]) -> None:
        self._connection = connection
        self._shown = ""

    async def show(self, jobs: Mapping[str, JobStatus]) -> None:
        """Commit how the jobs stand. Raises Retryable."""
        text = encode(jobs)
        if text == self._shown:
            return
        client = AIOKafkaConsumer(
            **self._connection, client_id="jawab-cleanup-jobs", group_id=STATUS_GROUP, enable_auto_commit=False
        )
        try:
            async with asyncio.timeout(WITHIN_SECONDS):
                await client.start()
                client.assign([PLACE])
                await client.commit({PLACE: OffsetAndMetadata(0, text)})
        except (KafkaError, OSError) as error:  # TimeoutError is an OSError
            raise Retryable(f"Kafka did not take the jobs' status ({type(error).__name__})") from None
        finally:
            await client.stop()
        self._shown = text
