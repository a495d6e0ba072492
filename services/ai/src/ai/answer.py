"""What a model is asked to give back, and what is made of it before a customer sees it. Pure."""

import re
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ai.language import Language
from ai.sentiment import Sentiment
from common.merchants import Channel

Intent = Literal[
    "greeting", "price", "product", "availability", "order", "delivery", "return", "complaint", "thanks", "other"
]

LONGEST_REPLY: Final[dict[Channel, int]] = {"direct_message": 1500, "comment": 300}
"""Characters. Longer answers are cut: nobody reads them in a chat, and a public comment is no place for a letter."""

LONGEST_FACT = 200


class Part(BaseModel):
    """A piece of a model's answer. What it adds of its own is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Lead(Part):
    """What the customer said about themselves; never guessed."""

    name: str | None = Field(default=None, repr=False)
    phone: str | None = Field(default=None, repr=False)
    email: str | None = Field(default=None, repr=False)
    interest: str | None = Field(default=None, repr=False)

    @field_validator("name", "phone", "email", "interest", mode="before")
    @classmethod
    def _short_or_nothing(cls, value: object) -> str | None:
        return value.strip()[:LONGEST_FACT] or None if isinstance(value, str) else None

    def known(self) -> dict[str, str]:
        """Return the fields that were said."""
        return {name: value for name, value in self.model_dump().items() if value}


class Answer(Part):
    """A model's whole answer."""

    reply: str = Field(min_length=1, repr=False)
    intent: Intent = "other"
    sentiment: Sentiment = "neutral"
    language: Language | None = None
    escalate: bool = False
    lead: Lead = Lead()

    @field_validator("reply", mode="before")
    @classmethod
    def _stripped(cls, value: object) -> object:
        return value.replace("\x00", "").strip() if isinstance(value, str) else value

    @field_validator("intent", "sentiment", "language", mode="before")
    @classmethod
    def _known_or_default(cls, value: object, info: Any) -> object:
        """Servers that do not enforce the schema make up values; none of them is worth losing the reply for."""
        known = {"intent": get_args(Intent), "sentiment": get_args(Sentiment), "language": get_args(Language)}
        if value in known[info.field_name]:
            return value
        return cls.model_fields[info.field_name].default

    @field_validator("lead", mode="before")
    @classmethod
    def _never_null(cls, value: object) -> object:
        return {} if value is None else value


def schema() -> dict[str, Any]:
    """Return the JSON schema of an answer in the strict form: every field required, nothing else allowed."""
    maybe = {"type": ["string", "null"]}
    lead = dict.fromkeys(Lead.model_fields, maybe)
    properties: dict[str, Any] = {
        "reply": {"type": "string", "description": "What the customer reads."},
        "intent": {"type": "string", "enum": list(get_args(Intent))},
        "sentiment": {"type": "string", "enum": list(get_args(Sentiment))},
        "language": {"type": "string", "enum": list(get_args(Language)), "description": "The customer's language."},
        "escalate": {"type": "boolean", "description": "True when a person of the shop has to take over."},
        "lead": {
            "type": "object",
            "description": "What the customer said about themselves; null where they said nothing.",
            "properties": lead,
            "required": list(lead),
            "additionalProperties": False,
        },
    }
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_SENTENCE_END = re.compile(r"[.!?؟…。\n]+[\"'»”)\]]*(?=\s|$)")


def shortened(text: str, longest: int) -> str:
    """Return `text` in at most `longest` characters: whole sentences where possible, else whole words and `…`."""
    if len(text) <= longest:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(text) if match.end() <= longest]
    if ends and ends[-1] >= longest // 3:
        return text[: ends[-1]].rstrip()
    cut = text[: longest - 1]
    space = max(cut.rfind(" "), cut.rfind("\n"))
    return (cut[:space] if space >= longest // 2 else cut).rstrip() + "…"
