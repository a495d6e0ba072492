"""What a model is asked to give back, and what is made of it before a customer sees it. Pure."""

import re
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from ai.language import Language
from ai.llm.json_in_text import after_thoughts, parsed, values_in, without_half_characters
from ai.llm.machine_text import is_for_a_machine, says_nothing
from ai.llm.reply_text import MAX_CHARACTERS, plain
from ai.sentiment import Sentiment
from common.merchants import Channel

Intent = Literal[
    "greeting", "price", "product", "availability", "order", "delivery", "return", "complaint", "thanks", "other"
]

LONGEST_REPLY: Final[dict[Channel, int]] = {"direct_message": 1500, "comment": 300}
"""Characters. Longer answers are cut: nobody reads them in a chat, and a public comment is no place for a letter."""

LONGEST_FACT = 200


MAX_JSON = 3 * MAX_CHARACTERS
"""Characters of a reply that is JSON, escapes included."""
MAX_WRAPPINGS = 3
_NOT: Final = (False, None, "", "false", "False", "no", "null", 0)


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
        return without_half_characters(value).strip()[:LONGEST_FACT] or None if isinstance(value, str) else None

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

    @model_validator(mode="before")
    @classmethod
    def _unwrapped(cls, value: object) -> object:
        """Take the words out of a reply that is itself the JSON of an answer; where that cannot be read, none is left.

        An agent is called where either of the two asks for one.
        """
        for _ in range(MAX_WRAPPINGS):
            if not isinstance(value, dict) or not _is_json(value.get("reply")):
                return value
            found = (one for one in values_in(value["reply"][:MAX_JSON]) if isinstance(one, dict) and "reply" in one)
            inner = next(found, {"reply": ""})
            value = {**value, "reply": inner["reply"], "escalate": inner.get("escalate") or value.get("escalate")}
        return {**value, "reply": ""} if isinstance(value, dict) and _is_json(value.get("reply")) else value

    @field_validator("reply", mode="before")
    @classmethod
    def _plain(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        text = plain(after_thoughts(value[:MAX_JSON]) or "")
        return "" if is_for_a_machine(text) or says_nothing(text) else text

    @field_validator("escalate", mode="before")
    @classmethod
    def _in_doubt_an_agent(cls, value: object) -> bool:
        """Anything that is not clearly a no calls an agent: a reply is not lost for it, and no customer either."""
        return value not in _NOT

    @field_validator("intent", "sentiment", "language", mode="before")
    @classmethod
    def _known_or_default(cls, value: object, info: Any) -> object:
        """Servers that do not enforce the schema make up values; none of them is worth losing the reply for."""
        known = {"intent": get_args(Intent), "sentiment": get_args(Sentiment), "language": get_args(Language)}
        if isinstance(value, str) and value in known[info.field_name]:
            return value
        return cls.model_fields[info.field_name].default

    @field_validator("lead", mode="before")
    @classmethod
    def _never_else(cls, value: object) -> object:
        return value if isinstance(value, dict | Lead) else {}


def _is_json(reply: object) -> bool:
    """Tell whether a reply is meant for a program: the JSON of an answer, or anything else of that kind."""
    if not isinstance(reply, str):
        return False
    head = reply[:MAX_JSON].strip()
    if is_for_a_machine(head):
        return True
    return head[:1] in {"{", "["} and any(isinstance(one, dict | list) for one in parsed(head))


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


_SENTENCE_END = re.compile(r"(?<![.!?؟…。])[.!?؟…。]++[\"'»”)\]]*+(?=\s|$)|\n")
"""Linear: a run of marks is looked at once, from its beginning (`tests/contract/test_linear_patterns.py`)."""


def shortened(text: str, longest: int) -> str:
    """Return `text` in at most `longest` characters: whole sentences where possible, else whole words and `…`.

    It is cut before anything is searched: what an answer costs does not grow with its length.
    """
    if len(text) <= longest:
        return text
    head = text[: longest + 1]  # with the character that shows whether a sentence ends at the cut
    end = max((match.end() for match in _SENTENCE_END.finditer(head) if match.end() <= longest), default=0)
    if end >= longest // 3 and (whole := head[:end].rstrip()):
        return whole
    cut = head[: longest - 1]
    space = max(cut.rfind(" "), cut.rfind("\n"))
    return (cut[:space] if space >= longest // 2 else cut).rstrip() + "…"
