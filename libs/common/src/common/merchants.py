"""A merchant: its Instagram accounts, their keys (sealed), its voice, its rules, and how its replies are sent.

The document in the `merchants` collection is the contract between the operator (`jawab merchants`, or an editor) who
writes it, and the AI and delivery services that read it. Keys and tokens are sealed (`common.sealing`).

Code always has a merchant *as seen by one of its accounts*: that account's id and keys stand at the top, the others
under `other_accounts`. So a reply can only be sent with the keys of the account that the customer wrote to.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal, Protocol, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from common.bounds import Int64
from common.sealing import Sealer, SecretField

Channel = Literal["direct_message", "comment", "mention"]
Match = Literal["contains", "equals", "regex", "any_of", "sentiment", "always"]
RouteName = Literal["manychat", "graph"]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
AppId = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=2000)]

DEFAULT_PERSONA = "a friendly, professional Iraqi sales assistant"

OUTSIDE_THE_MODEL = frozenset({"_id", "connected"})
"""What may stand in a document and is no field: `connected` is told by `common.accounts` now."""


class MerchantPart(BaseModel):
    """A piece of a merchant's document. Unknown fields are refused: a misspelt rule must not be silently off."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class When(MerchantPart):
    """When a rule applies. Texts are compared without regard to case, accents, Arabic vowel marks and punctuation."""

    channel: Channel = Field(
        description="mention: the account was named in somebody's caption or comment; mostly told without its text."
    )
    match: Match = Field(
        description="contains: a word or phrase anywhere; equals: nothing but it; any_of: one of several words "
        "anywhere; regex: a Python expression; sentiment: positive, neutral or negative; always: whatever was said."
    )
    values: tuple[Text, ...] = Field(default=(), max_length=200, description="What is looked for; none for always.")

    @model_validator(mode="after")
    def _looks_for_something(self) -> Self:
        if (self.match == "always") == bool(self.values):
            raise ValueError("values: at least one is needed, but none with match always")
        return self


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


class Account(MerchantPart):
    """One Instagram account, and the keys by which it is used."""

    account_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,32}$")] = Field(
        description="The Instagram professional account's id: `entry.id` of its webhooks."
    )
    username: Annotated[str, StringConstraints(max_length=100)] = ""
    app_scoped_id: str | None = Field(
        default=None,
        description="The id by which Meta's callbacks name who connected the account; learnt when it is connected.",
    )
    access_token: str | None = Field(default=None, repr=False, description="Sealed.")
    token_issued_at: AwareDatetime | None = Field(default=None, description="Only one that is a day old is renewed.")
    token_expires_at: AwareDatetime | None = Field(default=None, description="None: not known.")
    manychat_api_key: str | None = Field(default=None, repr=False, description="Sealed.")
    manychat_igsid_field: Int64 | None = Field(
        default=None, description="The ManyChat custom field that holds a subscriber's Instagram-scoped id."
    )

    def opened(self, field: SecretField, sealer: Sealer) -> str | None:
        """Return a secret of the account as it is used; None where there is none. Raises NotOpenable."""
        sealed = getattr(self, field)
        return None if sealed is None else sealer.open(sealed, self.account_id, field)


class Merchant(Account):
    """A merchant as seen by one of its accounts; stored as seen by its main one, `_id` being `id`."""

    id: Identifier
    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    other_accounts: tuple[Account, ...] = Field(default=(), max_length=100)
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
    human_agent: bool = Field(
        default=False,
        description="Meta has given the app the Human Agent feature: people may answer for 7 days, the bot never.",
    )
    show_typing: bool = Field(default=True, description="Show the customer that an answer is being written.")
    mark_seen: bool = Field(default=False, description="Mark a customer's messages as seen when they are answered.")
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

    @model_validator(mode="after")
    def _has_an_account_once(self) -> Self:
        ids = [account.account_id for account in self.accounts]
        twice = sorted({one for one in ids if ids.count(one) > 1})
        if twice:
            raise ValueError(f"other_accounts names an account twice: {', '.join(twice)}")
        return self

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All its accounts, the one at the top first."""
        return (Account(**_of_account(self)), *self.other_accounts)

    def seen_by(self, account_id: str) -> "Merchant | None":
        """Return the merchant with this account's id and keys at the top; None when it has no such account."""
        if account_id == self.account_id:
            return self
        account = next((one for one in self.other_accounts if one.account_id == account_id), None)
        if account is None:
            return None
        others = tuple(one for one in self.accounts if one.account_id != account_id)
        return self.model_copy(update={**_of_account(account), "other_accounts": others})

    def with_account(self, account: Account) -> "Merchant":
        """Return the merchant with this account in place of the one of its id, or beside the others."""
        if account.account_id == self.account_id:
            return self.model_copy(update=_of_account(account))
        others = {one.account_id: one for one in self.other_accounts}
        others[account.account_id] = account
        return self.model_copy(update={"other_accounts": tuple(others.values())})

    def quiet_time(self, usual: timedelta) -> timedelta:
        """Return how long Jawab is silent after a person answered; `usual` where the merchant has no wish."""
        return timedelta(hours=self.quiet_hours) if self.quiet_hours is not None else usual

    @classmethod
    def from_document(cls, document: dict[str, object]) -> "Merchant":
        """Read a stored document. Raises pydantic.ValidationError."""
        fields = {name: value for name, value in document.items() if name not in OUTSIDE_THE_MODEL}
        return cls.model_validate({**fields, "id": document.get("_id")})

    def to_document(self) -> dict[str, object]:
        """Return the document to store."""
        document = self.model_dump(mode="json", exclude_none=True)
        document["_id"] = document.pop("id")
        if not self.other_accounts:
            del document["other_accounts"]  # an empty list would be a value to the unique index over the accounts
        return document


def _of_account(of: Account) -> dict[str, Any]:
    return {name: getattr(of, name) for name in Account.model_fields}


class MerchantNotReadable(Exception):
    """A merchant's stored document is not valid, and never was; the message names the fields."""


BROKEN_MERCHANT_SECONDS = 15.0
"""After which a record is tried again whose merchant could not be read: somebody has to mend the document first."""


class Merchants(Protocol):
    """Finds merchants."""

    async def of_account(self, account_id: str) -> Merchant | None:
        """Return the merchant as seen by this Instagram account, or None when nobody here has that account."""
        ...

    async def by_id(self, merchant_id: str) -> Merchant | None:
        """Return the merchant of that id as seen by its main account, or None."""
        ...
