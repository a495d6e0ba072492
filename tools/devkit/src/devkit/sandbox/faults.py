"""Misbehaviour to order: rules that make a room slow, wrong, silent or gone for chosen calls.

A rule names an api and a behaviour, may be narrowed to a path, method, kind, account, contact or text, and hits a
number of calls, or each with a probability drawn from a seed, for good or for a while. The first rule that takes a
call is used.
"""

import math
import random
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from itertools import count
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from devkit.sandbox.calls import Call

Api = Literal["openai", "manychat", "graph", "operator", "media"]
Behaviour = Literal[
    "slow",
    "hang",
    "drop",
    "drop_before",
    "rate_limited",
    "server_error",
    "graph_error",
    "manychat_error",
    "answer",
    "headers",
    "invalid_key",
    "insufficient_quota",
    "context_length",
    "refusal",
    "length",
    "malformed",
    "empty",
]

MAX_RULES = 1000
MAX_SECONDS = 600.0
MAX_WINDOW_SECONDS = 24 * 3600.0
MAX_HEADERS = 20
MAX_BODY_CHARACTERS = 4 * 1024 * 1024

HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=32_768)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]+$", max_length=100)]

ONLY_FOR: dict[str, Api] = {
    "graph_error": "graph",
    "manychat_error": "manychat",
    "invalid_key": "openai",
    "insufficient_quota": "openai",
    "context_length": "openai",
    "refusal": "openai",
    "length": "openai",
    "malformed": "openai",
    "empty": "openai",
}
"""Behaviours that only one api can have, because they are its own words."""


class FaultRule(BaseModel):
    """One order to misbehave."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api: Api
    behaviour: Behaviour
    path: str | None = None
    """A pattern of the path below the api's own prefix, ``*`` and ``?`` allowed, e.g. ``*/messages``."""
    method: str | None = None
    kind: str | None = None
    """What the journal calls such a call, e.g. ``message`` or ``private_reply``; a pattern too."""
    account: str | None = None
    contact: str | None = None
    text: str | None = None
    """A part of the text sent, or of the last customer message the model is asked about."""
    skip: int = Field(default=0, ge=0)
    """How many matching calls to let pass first."""
    starts_in_seconds: Annotated[float, Field(ge=0.0, le=MAX_WINDOW_SECONDS)] = 0.0
    """How long after it was set the rule comes into force."""
    lasts_seconds: Annotated[float, Field(gt=0.0, le=MAX_WINDOW_SECONDS)] | None = None
    """How long it is in force then; none means until it is used up or deleted."""
    times: int | None = Field(default=None, ge=1)
    """How many calls to hit; none means until the rule is deleted."""
    probability: float = Field(default=1.0, ge=0.0, le=1.0)
    seed: int = 0
    seconds: Annotated[float, Field(ge=0.0, le=MAX_SECONDS)] = 0.0
    """How long to wait first; for ``hang``, how long at most (0: ten minutes)."""
    effect: bool | None = None
    """Whether the call takes effect all the same; by default only for ``slow``, ``drop`` and ``headers``."""
    status: int | None = Field(default=None, ge=200, le=599)
    code: int | None = None
    subcode: int | None = None
    message: str | None = None
    retry_after: float | None = Field(default=None, ge=0)
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict, max_length=MAX_HEADERS)
    """Headers of the answer, in place of the api's own of these names, e.g. ``X-App-Usage``."""
    body: str | None = Field(default=None, max_length=MAX_BODY_CHARACTERS)
    """For ``answer``: the body as it is, JSON or not."""

    @model_validator(mode="after")
    def _suits(self) -> Self:
        only = ONLY_FOR.get(self.behaviour)
        if only is not None and only != self.api:
            raise ValueError(f"behaviour: {self.behaviour} is only for api {only}, not {self.api}")
        if self.behaviour in {"graph_error", "manychat_error"} and self.code is None:
            raise ValueError(f"code: {self.behaviour} needs the error's code")
        if self.behaviour == "answer" and self.status is None:
            raise ValueError("status: answer needs the answer's status")
        if self.behaviour == "headers" and not self.headers:
            raise ValueError("headers: headers needs some")
        if self.behaviour == "slow" and not self.seconds:
            raise ValueError("seconds: slow needs how long")
        if self.behaviour in {"slow", "headers"} and self.effect is False:
            raise ValueError(f"effect: {self.behaviour} always has one; use server_error")
        if self.behaviour == "drop_before" and self.effect:
            raise ValueError("effect: drop_before has none; use drop")
        return self

    @property
    def takes_effect(self) -> bool:
        """Whether a call hit by this rule still does what it asks for."""
        return self.behaviour in {"slow", "drop", "headers"} if self.effect is None else self.effect

    def matches(self, call: Call) -> bool:
        """Say whether the rule is about such a call."""
        return (
            self.api == call.api
            and (self.method is None or self.method.upper() == call.request.method)
            and (self.path is None or fnmatchcase(call.request.path, self.path))
            and (self.kind is None or fnmatchcase(call.kind, self.kind))
            and (self.account is None or self.account == call.account)
            and (self.contact is None or self.contact == call.contact)
            and (self.text is None or self.text in call.text)
        )


class _Standing:
    """A rule in force, with what it has left."""

    def __init__(self, number: int, rule: FaultRule, now: float) -> None:
        self.number = number
        self.rule = rule
        self.starts = now + rule.starts_in_seconds
        self.ends = math.inf if rule.lasts_seconds is None else self.starts + rule.lasts_seconds
        self.hits = 0
        self.passed = 0
        self._random = random.Random(rule.seed)  # noqa: S311 - a repeatable experiment, not a secret

    def takes(self, call: Call, now: float) -> bool:
        rule = self.rule
        if not self.starts <= now < self.ends:
            return False
        if (rule.times is not None and self.hits >= rule.times) or not rule.matches(call):
            return False
        if self.passed < rule.skip:
            self.passed += 1
            return False
        if rule.probability < 1.0 and self._random.random() >= rule.probability:
            return False
        self.hits += 1
        return True

    def told(self) -> dict[str, Any]:
        left = None if self.rule.times is None else self.rule.times - self.hits
        rule = self.rule.model_dump(exclude_none=True, exclude_defaults=True)
        return {"id": self.number, "hits": self.hits, "left": left, "rule": rule}


class Faults:
    """The rules in force, in the order they were set."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._rules: dict[int, _Standing] = {}
        self._numbers = count(1)

    def add(self, rule: FaultRule) -> int:
        """Put a rule in force and return its number; raise ValueError above a thousand that are not over."""
        now = self._now()
        self._rules = {number: standing for number, standing in self._rules.items() if now < standing.ends}
        if len(self._rules) >= MAX_RULES:
            raise ValueError(f"faults: {MAX_RULES} rules are in force; delete some first")
        number = next(self._numbers)
        self._rules[number] = _Standing(number, rule, now)
        return number

    def take(self, call: Call) -> FaultRule | None:
        """Return the rule that hits this call, counting the hit, or None."""
        now = self._now()
        return next((standing.rule for standing in self._rules.values() if standing.takes(call, now)), None)

    def remove(self, number: int) -> bool:
        """Lift one rule; False when there is none of that number."""
        return self._rules.pop(number, None) is not None

    def clear(self) -> None:
        """Lift every rule."""
        self._rules.clear()

    def told(self) -> list[dict[str, Any]]:
        """Return the rules with their hits, as JSON would have them."""
        return [standing.told() for standing in self._rules.values()]
