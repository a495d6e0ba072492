"""A merchant: one Instagram account, its keys (sealed), its voice, its rules, and how its replies are sent.

The document in the `merchants` collection is the contract between the operator (`jawab merchants`, or an editor) who
writes it, and the AI and delivery services that read it. Keys and tokens are sealed (`common.sealing`).
"""

from datetime import timedelta
from typing import Annotated, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Channel = Literal["direct_message", "comment"]
Match = Literal["contains", "equals", "regex", "any_of", "sentiment"]
RouteName = Literal["manychat", "graph"]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
AppId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]

DEFAULT_PERSONA = "a friendly, professional Iraqi sales assistant"


class MerchantPart(BaseModel):
    """A piece of a merchant's document. Unknown fields are refused: a misspelt rule must not be silently off."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class When(MerchantPart):
    """When a rule applies. Texts are compared without regard to case, accents, Arabic vowel marks and punctuation."""

    channel: Channel
    match: Match = Field(
        description="contains: a word or phrase anywhere; equals: nothing but it; any_of: one of several words "
        "anywhere; regex: a Python expression; sentiment: positive, neutral or negative."
    )
    values: tuple[Text, ...] = Field(min_length=1, max_length=200)


class Then(MerchantPart):
    """What a rule does: `reply` answers where the customer wrote; `alert` tells the merchant's people."""

    reply: dict[Literal["ar", "fr", "en"], Text] = Field(
        default_factory=dict, description="The answer by language; {price_link} and {shop} are filled in."
    )
    private_reply: dict[Literal["ar", "fr", "en"], Text] = Field(
        default_factory=dict, description="For a comment: also answer in a direct message."
    )
    hide_comment: bool = False
    alert: str | None = Field(default=None, description="A short reason for the notification, e.g. negative_comment.")


class Rule(MerchantPart):
    """One rule: the first that applies decides, and no model is asked."""

    name: Identifier
    when: When
    then: Then
    enabled: bool = True


class Merchant(MerchantPart):
    """A merchant as stored: `_id` is `id`."""

    id: Identifier
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    account_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] = Field(
        description="The Instagram professional account's id: `entry.id` of its webhooks."
    )
    access_token: str | None = Field(default=None, repr=False, description="Sealed.")
    manychat_api_key: str | None = Field(default=None, repr=False, description="Sealed.")
    manychat_igsid_field: int | None = Field(
        default=None, description="The ManyChat custom field that holds a subscriber's Instagram-scoped id."
    )
    routes: tuple[RouteName, ...] = Field(default=("manychat", "graph"), min_length=1)
    persona: Text = DEFAULT_PERSONA
    facts: Annotated[str, StringConstraints(max_length=8000)] = Field(
        default="", description="What the model may say about the shop: opening hours, delivery, returns."
    )
    price_link: str = "https://example.com/prices"
    rules: tuple[Rule, ...] | None = Field(default=None, max_length=200, description="None: the default rules.")
    operator_webhook: str | None = None
    turn_pause: float = Field(
        default=0.0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds of silence after which a customer who writes several messages is answered; 0: at once.",
    )
    quiet_hours: float | None = Field(
        default=None,
        gt=0,
        le=24 * 30,
        allow_inf_nan=False,
        description="How long Jawab is silent after a person answered a customer; None: HUMAN_PAUSE_HOURS.",
    )
    other_apps: Literal["person", "ignore"] = Field(
        default="person", description="Whether what another app sends from this account counts as a person's answer."
    )
    tool_apps: tuple[AppId, ...] = Field(
        default=(), max_length=50, description="Apps whose messages are never a person's, by their Meta app ids."
    )
    connected: bool = True

    def quiet_time(self, usual: timedelta) -> timedelta:
        """Return how long Jawab is silent after a person answered; `usual` where the merchant has no wish."""
        return timedelta(hours=self.quiet_hours) if self.quiet_hours is not None else usual

    @classmethod
    def from_document(cls, document: dict[str, object]) -> "Merchant":
        """Read a stored document. Raises pydantic.ValidationError."""
        return cls.model_validate({**{k: v for k, v in document.items() if k != "_id"}, "id": document.get("_id")})

    def to_document(self) -> dict[str, object]:
        """Return the document to store."""
        document = self.model_dump(mode="json", exclude_none=True)
        document["_id"] = document.pop("id")
        return document


class MerchantNotReadable(Exception):
    """A merchant's stored document is not valid; the message names the fields."""


class Merchants(Protocol):
    """Finds merchants."""

    async def of_account(self, account_id: str) -> Merchant | None:
        """Return the merchant of an Instagram account, or None when nobody here has that account."""
        ...

    async def by_id(self, merchant_id: str) -> Merchant | None:
        """Return the merchant of that id, or None."""
        ...
