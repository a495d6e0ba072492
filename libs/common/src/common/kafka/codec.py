"""How events become Kafka values and back, validated exactly once.

FastStream would decode JSON into a dict and let FastDepends validate it again; this codec validates the bytes straight
into the event class and hands that instance to the handler.
"""

from typing import TYPE_CHECKING, Any

from aiokafka import ConsumerRecord
from faststream.kafka.message import KafkaMessage
from faststream.message import StreamMessage

from common.errors import Permanent
from common.events import ANY_EVENT, Event
from common.events.envelope import CONTENT_TYPE

if TYPE_CHECKING:
    from fast_depends.library.serializer import SerializerProto


async def parse_record(record: ConsumerRecord) -> KafkaMessage:
    """Return a record as FastStream's message.

    Without its headers: nothing of ours is in them, and FastStream's own parser fails on one that is not text.
    """
    return KafkaMessage(
        body=record.value or b"",
        message_id=f"{record.offset}-{record.timestamp}",
        correlation_id=f"{record.topic}:{record.partition}:{record.offset}",
        raw_message=record,
        consumer=None,  # type: ignore[arg-type]  # its ack() does nothing: the watermark owns the offsets
    )


class EventCodec:
    """FastStream's codec for Jawab's events."""

    async def decode(self, msg: StreamMessage[Any]) -> Event:
        """Read an event. Raises pydantic.ValidationError, and Permanent, when the record is not one of ours."""
        if msg.raw_message.value is None:
            raise Permanent("the record has no value")
        event = ANY_EVENT.validate_json(msg.body)
        key = msg.raw_message.key
        if key != event.partitionkey.encode():
            # Its lane is its key's: under another it would be handled beside its conversation's records.
            raise Permanent("the record has no key" if key is None else "the record's key is not its event's")
        return event

    async def encode(self, msg: Any, serializer: "SerializerProto | None" = None) -> tuple[bytes, str | None]:  # noqa: ARG002 FastStream passes it
        """Write an event; bytes pass through as they are (a dead letter is the original value)."""
        if isinstance(msg, bytes):
            return msg, None
        if isinstance(msg, Event):
            return msg.to_json(), CONTENT_TYPE
        raise TypeError(f"only events and bytes are published, not {type(msg).__name__}")
