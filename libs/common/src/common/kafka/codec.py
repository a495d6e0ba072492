"""How events become Kafka values and back, validated exactly once.

FastStream would decode JSON into a dict and let FastDepends validate it again; this codec validates the bytes straight
into the event class and hands that instance to the handler.
"""

from typing import TYPE_CHECKING, Any

from faststream.message import StreamMessage

from common.events import ANY_EVENT, Event
from common.events.envelope import CONTENT_TYPE

if TYPE_CHECKING:
    from fast_depends.library.serializer import SerializerProto


class EventCodec:
    """FastStream's codec for Jawab's events."""

    async def decode(self, msg: StreamMessage[Any]) -> Event:
        """Read an event. Raises pydantic.ValidationError when the value is none of ours."""
        return ANY_EVENT.validate_json(msg.body)

    async def encode(self, msg: Any, serializer: "SerializerProto | None" = None) -> tuple[bytes, str | None]:  # noqa: ARG002 FastStream passes it
        """Write an event; bytes pass through as they are (a dead letter is the original value)."""
        if isinstance(msg, bytes):
            return msg, None
        if isinstance(msg, Event):
            return msg.to_json(), CONTENT_TYPE
        raise TypeError(f"only events and bytes are published, not {type(msg).__name__}")
