"""What a person may ask for about a conversation, as the bodies of requests. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from common.events.replies import DirectMessage, InThread
from delivery.api.fields import LONGEST_LINE, InstagramId, Line, Message, says_something, tag


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    account_id: InstagramId | None = Field(
        default=None,
        alias="accountId",
        description="Which of the merchant's Instagram accounts it is about; its main one when not given.",
    )


class ControlBody(_Body):
    """The body of a takeover, a release or a resolution; it may be left out."""

    reason: Annotated[str, StringConstraints(max_length=LONGEST_LINE)] = Field(default="", description="For the log.")


class ReplyBody(_Body):
    """What a person says: a text, or any action into the thread."""

    text: Message | None = Field(default=None, repr=False)
    action: Annotated[InThread, Field(discriminator="kind")] | None = Field(default=None, repr=False)
    takeover: bool = Field(default=True, description="Whether Jawab is silent in this conversation from here on.")
    idempotency_key: Line | None = Field(
        default=None, alias="idempotencyKey", description="Two requests with the same key send one reply."
    )

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
        if isinstance(self.action, DirectMessage):
            _checked("action.text", says_something, self.action.text)
            _checked("action.message_tag", tag, self.action.message_tag)
        return self

    @property
    def said(self) -> InThread:
        """What is to be sent."""
        return self.action if self.action is not None else DirectMessage(text=self.text or "")


def _checked(name: str, check: Callable[[str], str], value: str | None) -> None:
    """Check what stands inside an action. Raises ValueError that names it."""
    try:
        if value is not None:
            check(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


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
