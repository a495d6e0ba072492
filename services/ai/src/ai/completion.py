"""What comes of asking a model: an answer with its cost, or one of a closed set of reasons why there is none."""

from dataclasses import dataclass, field
from typing import Literal

from ai.answer import Answer

Reason = Literal[
    "timeout",
    "unavailable",
    "held_back",
    "rate_limited",
    "quota",
    "bad_key",
    "bad_request",
    "refused",
    "truncated",
    "not_valid",
]
"""`held_back`: nothing was asked, because the circuit breaker is open; all others are what a call ended with."""


@dataclass(frozen=True)
class Usage:
    """Tokens spent."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


NOTHING = Usage()

SHORTEST_WAIT = 0.5
"""Seconds: a provider that asks to come again at once is not asked in a loop."""


@dataclass(frozen=True)
class Refusal:
    """What a server says is wrong with a request. `words` may quote it: they are never logged."""

    param: str = ""
    code: str = ""
    words: str = field(default="", repr=False)


@dataclass(frozen=True)
class Completion:
    """A model's answer, which model gave it and what it cost."""

    answer: Answer
    model: str
    usage: Usage


class ModelFailed(Exception):
    """No answer could be had; `reason` is from a closed set, `usage` is what was spent all the same.

    `after` is when the provider may be asked again, in seconds. `refusal` is what the server says was wrong, where it
    says so. `only_thoughts`: the room for the answer was used up before it began.
    """

    def __init__(
        self,
        reason: Reason,
        usage: Usage | None = None,
        *,
        after: float | None = None,
        refusal: Refusal | None = None,
        only_thoughts: bool = False,
    ) -> None:
        super().__init__(reason)
        self.reason: Reason = reason
        self.usage = usage or Usage()
        self.after = after
        self.refusal = refusal or Refusal()
        self.only_thoughts = only_thoughts


def worth_waiting(failure: ModelFailed, *, waited: float, patience: float) -> float | None:
    """Return the seconds until the model may be asked again, None when the customer has to be told now.

    Only where the other side named a time and nothing was asked of it or spent: it is held back, or limits its rate.
    `waited` is for how long the message has been here, `patience` how long its customer may wait for the model.
    """
    if failure.reason not in {"held_back", "rate_limited"} or failure.after is None:
        return None
    wait = max(failure.after, SHORTEST_WAIT)
    return wait if waited + wait < patience else None
