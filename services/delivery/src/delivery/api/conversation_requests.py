"""What a person may ask for about a conversation, as the bodies of requests. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from common.events.replies import DirectMessage, InThread

LONGEST_MESSAGE = 10_000
INSTAGRAM_ID = r"^[0-9]{1,32}$"

AccountId = Annotated[str, StringConstraints(pattern=INSTAGRAM_ID)]
Line = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    account_id: AccountId | None = Field(
        default=None,
        alias="accountId",
        description="Which of the merchant's Instagram accounts it is about; its main one when not given.",
    )


class ControlBody(_Body):
    """The body of a takeover, a release or a resolution; it may be left out."""

    reason: Annotated[str, StringConstraints(max_length=200)] = Field(default="", description="For the log.")


class ReplyBody(_Body):
    """What a person says: a text, or any action into the thread."""

    text: Annotated[str, StringConstraints(max_length=LONGEST_MESSAGE)] | None = Field(default=None, repr=False)
    action: Annotated[InThread, Field(discriminator="kind")] | None = Field(default=None, repr=False)
    takeover: bool = Field(default=True, description="Whether Jawab is silent in this conversation from here on.")
    idempotency_key: Line | None = Field(
        default=None, alias="idempotencyKey", description="Two requests with the same key send one reply."
    )

    @field_validator("text")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must be more than white space")
        return value

    @field_validator("action", mode="wrap")
    @classmethod
    def _knows_every_field(cls, value: Any, handler: Any) -> InThread | None:
        action: InThread | None = handler(value)
        if action is not None and isinstance(value, Mapping):
            extra = next(_strangers(value, action.model_dump(mode="json")), None)
            if extra is not None:
                raise ValueError(f"{extra} is no field of {action.kind}")
        return action

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.text is None) == (self.action is None):
            raise ValueError('text: give either text or action, e.g. {"text": "..."}')
        if isinstance(self.action, DirectMessage) and not self.action.text.strip():
            raise ValueError("action.text: must be more than white space")
        return self

    @property
    def said(self) -> InThread:
        """What is to be sent."""
        return self.action if self.action is not None else DirectMessage(text=self.text or "")


def _strangers(given: object, known: object, path: str = "") -> Iterator[str]:
    """Yield the names in `given` that `known` does not have: contracts overlook them, and a person meant them."""
    if isinstance(given, Mapping) and isinstance(known, Mapping):
        for name, value in given.items():
            if name not in known:
                yield f"{path}{name}"
            else:
                yield from _strangers(value, known[name], f"{path}{name}.")
    elif isinstance(given, Sequence) and isinstance(known, Sequence) and not isinstance(given, str):
        for index, (one, other) in enumerate(zip(given, known, strict=False)):
            yield from _strangers(one, other, f"{path}{index}.")
