"""What comes of asking a model: an answer with its cost, or one of a closed set of reasons why there is none."""

from dataclasses import dataclass
from typing import Literal

from ai.answer import Answer

Reason = Literal[
    "timeout", "unavailable", "rate_limited", "quota", "bad_key", "bad_request", "refused", "truncated", "not_valid"
]


@dataclass(frozen=True)
class Usage:
    """Tokens spent."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


NOTHING = Usage()


@dataclass(frozen=True)
class Completion:
    """A model's answer, which model gave it and what it cost."""

    answer: Answer
    model: str
    usage: Usage


class ModelFailed(Exception):
    """No answer could be had; `reason` is from a closed set, `usage` is what was spent all the same."""

    def __init__(self, reason: Reason, usage: Usage | None = None, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.usage = usage or Usage()
        self.after = after
