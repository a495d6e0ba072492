"""What a server takes in a request: guessed from the model's name, then learnt from what the server refuses. Pure.

Names of models say little: a router puts its own before them, an Azure deployment has a name of its own, and
servers that speak the same API take different parts of it. The server's own refusal says which parameter it was
(`error.param`, else the words), so the next request leaves it out, or uses the one that takes its place. What is
learnt is kept for `MAX_AGE`; nothing of it is secret. A refusal that names nothing is only a hint: the plainest
request is tried then, and only as long as no request of this form was ever accepted.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from ai.completion import Refusal

LimitName = Literal["max_tokens", "max_completion_tokens"]
Format = Literal["json_schema", "json_object"]
Effort = Literal["none", "minimal", "low", "medium", "high"]

MAX_AGE = 6 * 3600.0
"""Seconds: a server that was updated is asked in full again."""

_REASONING = re.compile(r"(?:^|[/:.])(?:o\d|gpt-(?:[5-9]|\d\d))")
_EFFORTS: Final[tuple[Effort, ...]] = ("none", "minimal", "low", "medium", "high")
_TOO_LARGE = re.compile(r"too large|at most|too high|exceeds|maximum value|less than", re.IGNORECASE)
_CONTEXT = re.compile(
    r"context[ _](?:length|window|size)|prompt is too long|reduce the length of the (?:messages|prompt)", re.IGNORECASE
)

_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "max_tokens": ("max_tokens",),
    "max_completion_tokens": ("max_completion_tokens",),
    "temperature": ("temperature",),
    "reasoning_effort": ("reasoning_effort", "reasoning effort", "thinking", "reasoning.effort"),
    "response_format": (
        "response_format",
        "response format",
        "json_schema",
        "json_object",
        "json schema",
        "json mode",
        "structured output",
        "grammar",
    ),
}
"""The parameters that can be done without, and what servers call them in their words."""

_NOT_OF_PARAMETERS = re.compile(
    r"context_length|model_not_found|string_above|unknown_url|image|audio|deploymentnotfound|not_found", re.IGNORECASE
)
"""Codes of refusals that no other form of the request would change."""


@dataclass(frozen=True)
class Capabilities:
    """The form of a request. `thinking` is the room in tokens beside the answer's own."""

    limit: LimitName | None = "max_tokens"
    temperature: bool = True
    format: Format | None = "json_schema"
    effort: Effort | None = None
    thinking: int = 0


def guessed(model: str, thinking: int) -> Capabilities:
    """Return what a model of this name most likely takes; `thinking`: the room of one that reasons."""
    if _REASONING.search(model):
        return Capabilities("max_completion_tokens", temperature=False, effort="low", thinking=thinking)
    return Capabilities()


def refused_parameter(capabilities: Capabilities, refusal: Refusal) -> str | None:
    """Return which of the parameters that were sent was refused, None where the refusal names none of them."""
    sent = _sent(capabilities)
    param = refusal.param.removeprefix("body.").split(".")[0].split("[")[0]
    if param in sent:
        return param
    if param in {"messages", "model", "input"}:
        return None
    words = refusal.words.lower()
    places = {
        name: min((at for alias in _NAMES[name] if (at := _find(words, alias)) >= 0), default=-1) for name in sent
    }
    mentioned = [name for name, at in places.items() if at >= 0]
    return min(mentioned, key=places.__getitem__, default=None)


def lessons(capabilities: Capabilities, refusal: Refusal, *, thinking: int) -> Iterator[Capabilities]:
    """Yield the forms worth trying after a refusal that names a parameter, best first."""
    match refused_parameter(capabilities, refusal):
        case "temperature":
            yield replace(capabilities, temperature=False)
        case "response_format":
            if capabilities.format == "json_schema":
                yield replace(capabilities, format="json_object")
            yield replace(capabilities, format=None)
        case "reasoning_effort":
            offered = [one for one in _EFFORTS if f"'{one}'" in refusal.words or f'"{one}"' in refusal.words]
            for one in offered:
                if one != capabilities.effort:
                    yield replace(capabilities, effort=one)
            yield replace(capabilities, effort=None)
        case "max_tokens" | "max_completion_tokens":
            if capabilities.thinking and _TOO_LARGE.search(refusal.words):
                yield replace(capabilities, thinking=capabilities.thinking // 4)
                yield replace(capabilities, thinking=0)
            if is_of_context(refusal):
                yield replace(capabilities, limit=None)  # the server then takes what room there is
            else:
                yield from _other_limit(capabilities, thinking)


def is_of_context(refusal: Refusal) -> bool:
    """Tell whether a request was too long for the model, whatever the server calls that."""
    return _CONTEXT.search(refusal.code) is not None or _CONTEXT.search(refusal.words) is not None


def plainer(capabilities: Capabilities, refusal: Refusal, *, thinking: int) -> Iterator[Capabilities]:
    """Yield the forms worth trying after a refusal that names no parameter: with less, then with another limit."""
    if refusal.param in {"messages", "model"} or _NOT_OF_PARAMETERS.search(refusal.code):
        return
    plain = replace(capabilities, temperature=False, format=None, effort=None)
    yield plain
    yield from (form for form in _other_limit(plain, thinking) if form.effort is None)


def _other_limit(capabilities: Capabilities, thinking: int) -> Iterator[Capabilities]:
    if capabilities.limit == "max_tokens":
        # Only models that reason insist on this name, and their thinking counts as output.
        yield replace(
            capabilities, limit="max_completion_tokens", thinking=thinking, effort=capabilities.effort or "low"
        )
        yield replace(capabilities, limit="max_completion_tokens", thinking=thinking)
    elif capabilities.limit == "max_completion_tokens":
        yield replace(capabilities, limit="max_tokens")
    yield replace(capabilities, limit=None)


def _sent(capabilities: Capabilities) -> list[str]:
    sent: list[str] = [capabilities.limit] if capabilities.limit else []
    return [
        *sent,
        *(["temperature"] if capabilities.temperature else []),
        *(["response_format"] if capabilities.format else []),
        *(["reasoning_effort"] if capabilities.effort else []),
    ]


def _find(words: str, alias: str) -> int:
    """Return where `alias` stands by itself: `max_tokens` is no part of `xmax_tokensx`."""
    at = words.find(alias)
    while at >= 0:
        around = words[at - 1 : at] + words[at + len(alias) : at + len(alias) + 1]
        if not any(one.isalnum() or one == "_" for one in around):
            return at
        at = words.find(alias, at + 1)
    return -1


class Learnt:
    """What was learnt of one server and model: the form that the next request takes, and whether it ever worked."""

    def __init__(self, guess: Capabilities, *, now: Callable[[], float], max_age: float = MAX_AGE) -> None:
        self._guess = guess
        self._now = now
        self._max_age = max_age
        self._form = guess
        self._proven: Capabilities | None = None
        self._expires = float("inf")

    def form(self) -> Capabilities:
        """Return the form to ask in: what was learnt, or the guess when that has expired."""
        if self._now() >= self._expires:
            self._form, self._proven, self._expires = self._guess, None, float("inf")
        return self._form

    def is_proven(self, form: Capabilities) -> bool:
        """Tell whether a request of this form was accepted: then a refusal is about what it says, not how."""
        return self._proven is not None and replace(self._proven, thinking=0) == replace(form, thinking=0)

    def learn(self, form: Capabilities) -> bool:
        """Remember a form; return whether it is news."""
        if form == self._form:
            return False
        self._form = form
        self._expires = self._now() + self._max_age
        return True

    def prove(self, form: Capabilities) -> None:
        """Remember that a form was accepted: it is asked in from now on, but what one answer was given in room."""
        self._proven = form
        same = form.limit == self._form.limit
        self.learn(replace(form, thinking=self._form.thinking if same else form.thinking))
