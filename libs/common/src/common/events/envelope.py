"""The envelope of every event: CloudEvents 1.0, structured JSON.

`source` and `id` together identify an event (CloudEvents 1.0, section "REQUIRED attributes"); since ids are derived,
a redelivery collides with its first delivery instead of looking new. `causationid` names the event that led to this
one and `traceparent` (W3C Trace Context) the trace, so any reply can be followed back to its webhook.
"""

from typing import ClassVar, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

CONTENT_TYPE = "application/cloudevents+json"
TYPE_PREFIX = "com.jawab."


class Contract(BaseModel):
    """A value that crosses a process boundary: immutable, and tolerant of fields that a newer writer adds."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Event(Contract):
    """The attributes that every event has. Each subclass fixes `type` and adds `data`."""

    topic: ClassVar[str]
    """The Kafka topic that carries this type."""

    specversion: Literal["1.0"] = "1.0"
    id: str = Field(min_length=1, description="Derived from what is described: equal for the same thing seen twice.")
    source: str = Field(description="Who says so, e.g. /ingest/instagram.")
    type: str
    subject: str = Field(description="The conversation, <account>:<contact>; for privacy requests the request code.")
    time: AwareDatetime = Field(description="When the thing happened, by the clock of whoever reported it.")
    datacontenttype: Literal["application/json"] = "application/json"
    partitionkey: str = Field(description="The Kafka key of the record.")
    traceparent: str | None = Field(default=None, description="W3C trace context.")
    causationid: str | None = Field(default=None, description="The id of the event that led to this one.")

    def to_json(self) -> bytes:
        """Return the event as it is written to Kafka: UTF-8 JSON, absent optional fields left out."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_json(cls, value: bytes) -> Self:
        """Read one event of exactly this type. Raises pydantic.ValidationError."""
        return cls.model_validate_json(value)
