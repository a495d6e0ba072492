"""`privacy.requests.v1`: a person wants to be forgotten, or a merchant disconnected the app."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from common.events.envelope import Contract, Event

PRIVACY = "privacy.requests.v1"


class PrivacyRequest(Contract):
    """What was asked, and the code by which its state can be looked up."""

    code: str = Field(description="Unguessable; shown to the person who asked.")
    user_id: str = Field(
        description="The id the platform names. App-scoped: it may be nobody we know, which is said, not hidden."
    )
    account_id: str | None = Field(default=None, description="Set when an operator asked for one account's contact.")


class ErasureRequested(Event):
    """Everything about one person is to be erased."""

    topic: ClassVar[str] = PRIVACY
    type: Literal["com.jawab.erasure.requested.v1"] = "com.jawab.erasure.requested.v1"
    data: PrivacyRequest


class DeauthorizationReceived(Event):
    """A merchant removed the app: sending for that account must stop."""

    topic: ClassVar[str] = PRIVACY
    type: Literal["com.jawab.deauthorization.received.v1"] = "com.jawab.deauthorization.received.v1"
    data: PrivacyRequest


PrivacyEvent = Annotated[ErasureRequested | DeauthorizationReceived, Field(discriminator="type")]
