"""Jawab's contracts: every event of every topic as one frozen class, and the union that reads any of them.

Rules for changing them: never remove or rename a field, never make a new one required, never change a meaning; a new
meaning is a new type with the next version. `docs/schemas/` is generated from these classes and CI fails on drift.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter

from common.events.control import ControlEvent
from common.events.envelope import Contract, Event
from common.events.interactions import InteractionEvent
from common.events.outcomes import OutcomeEvent
from common.events.privacy import PrivacyEvent
from common.events.replies import ReplyGenerated, ReplyRequested

AnyEvent = Annotated[
    InteractionEvent | ReplyGenerated | ReplyRequested | OutcomeEvent | ControlEvent | PrivacyEvent,
    Field(discriminator="type"),
]

ANY_EVENT: TypeAdapter[AnyEvent] = TypeAdapter(AnyEvent)
"""Reads any event: `ANY_EVENT.validate_json(value)`. Raises pydantic.ValidationError."""

__all__ = [
    "ANY_EVENT",
    "AnyEvent",
    "Contract",
    "ControlEvent",
    "Event",
    "InteractionEvent",
    "OutcomeEvent",
    "PrivacyEvent",
    "ReplyGenerated",
    "ReplyRequested",
]
