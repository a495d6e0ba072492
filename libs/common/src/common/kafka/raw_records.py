"""Appends records as bytes: what goes to the dead letters, or to the partition where it belongs, stays as it was.

FastStream's own publishing makes text of headers, adds some, and cannot write a record whose header has no value.
"""

from collections.abc import Sequence

from faststream.kafka import KafkaBroker

from common.kafka.link import producer_of

Headers = Sequence[tuple[str, bytes | None]]


class RawRecords:
    """The log, to append to."""

    def __init__(self, broker: KafkaBroker) -> None:
        self._broker = broker

    async def append(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int | None = None,
    ) -> None:
        """Append a record, written now unless a time is given, and return when it is acknowledged.

        Raises KafkaError, and what aiokafka raises otherwise.
        """
        await producer_of(self._broker).send_and_wait(
            topic, value, key=key, headers=list(headers), timestamp_ms=timestamp_ms
        )
