"""The language model behind OpenAI's chat completions API, or any server that speaks it.

One policy of ours instead of the client's: a whole answer, tries and waits together, ends inside one time budget,
because a customer is waiting; only what passes by itself is tried again, once, and `Retry-After` is honoured where the
budget allows. Every failure becomes one of a closed set of reasons. What was spent is reported with failures as well.

What a server takes is learnt from what it refuses (`ai.llm.capabilities`), for all merchants or for one
(`ai.llm.learnt_of_merchants`), and what it answers is read whatever its form (`ai.llm.reading`): the body decides, not
the status alone. A request that is changed for a refusal is sent at once, and there are at most `MAX_CALLS` for one
answer.

An API that does not answer, or answers with server errors, is left alone by a circuit breaker
(`ai.llm.shared_breaker`): nobody then waits out a time-out of their own. A refusal, also of the rate, is an answer and
opens nothing. What is done about a message while the breaker is open is not decided here.

Images go as links that the API fetches itself. It answers 400 when it cannot (the link has expired, the picture is none
it knows) and when the model has no vision; the same is asked once more without them then.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import httpx2
import structlog
from openai import AsyncOpenAI

from ai.answer import schema
from ai.completion import Completion, ModelFailed, Usage
from ai.llm.bounded_body import ACCEPTED_ENCODINGS, bound_bodies
from ai.llm.capabilities import Capabilities, guessed
from ai.llm.learnt_of_merchants import LearntOfMerchants
from ai.llm.reading import read_body
from ai.llm.request import Changes, Request
from ai.llm.shared_breaker import SharedBreaker
from ai.openai_call import SHORTEST_TRY, call, paused
from ai.prompt import ChatMessage, in_json
from common.breaker import Breakers
from common.http_client import http_client as bounded_client
from common.kafka.slots import Slots

API = "openai"
MAX_CALLS = 8
"""Of one answer: every parameter that can be refused, and one more try."""

log = structlog.get_logger("ai")


class ModelObserver(Protocol):
    """Is told about every call."""

    def called(self, result: str, seconds: float) -> None:
        """Note one call: "ok" or a reason, and how long it took."""
        ...

    def images_refused(self) -> None:
        """Note that the API did not take a request with images."""
        ...


@dataclass(frozen=True)
class ModelLimits:
    """What one answer may take. `timeout` in seconds covers all tries; `thinking_tokens` come on top of `max_tokens`
    for a model that reasons.
    """

    model: str = "gpt-4o-mini"
    timeout: float = 20.0
    max_tokens: int = 500
    thinking_tokens: int = 4000
    temperature: float = 0.7
    concurrency: int = 64


class OpenAIModel:
    """Asks the model, with at most `limits.concurrency` answers in the making.

    Merchants take turns for them, and one that is slow leaves some to the others (`common.kafka.slots`).
    """

    def __init__(self, client: AsyncOpenAI, limits: ModelLimits, observer: ModelObserver, breakers: Breakers) -> None:
        self._client = client
        self._limits = limits
        self._observer = observer
        self._breaker = SharedBreaker(breakers)
        self._slots = Slots(limits.concurrency)
        self._learnt = LearntOfMerchants(guessed(limits.model, limits.thinking_tokens), now=time.monotonic)

    async def complete(self, messages: Sequence[ChatMessage], *, merchant: str = "") -> Completion:
        """Return the model's answer. Raises ModelFailed, and nothing else, when there is none."""
        await self._slots.acquire(merchant)
        try:
            return await self._within_budget(messages, merchant)
        finally:
            self._slots.release(merchant)

    async def _within_budget(self, messages: Sequence[ChatMessage], merchant: str) -> Completion:
        ends_at = time.monotonic() + self._limits.timeout
        learnt = self._learnt.of(merchant)
        before = learnt.form()
        changes = Changes(
            Request(before, messages), learnt, thinking=self._limits.thinking_tokens, observer=self._observer
        )
        spent = Usage()
        failed: ModelFailed | None = None
        attempt = 1
        for asked in range(1, MAX_CALLS + 1):
            try:
                completion = await self._call(changes.request, merchant, ends_at - time.monotonic())
            except ModelFailed as failure:
                spent += failure.usage
                if failed is not None and failure.reason == "held_back":
                    raise ModelFailed(failed.reason, spent, after=failed.after, refusal=failed.refusal) from None
                failed = failure
                if asked < MAX_CALLS and ends_at - time.monotonic() >= SHORTEST_TRY and changes.after(failure):
                    continue
                if asked == MAX_CALLS or not await paused(failure, attempt=attempt, ends_at=ends_at):
                    raise ModelFailed(failure.reason, spent, after=failure.after, refusal=failure.refusal) from None
                attempt += 1
            else:
                changes.worked()
                self._learnt.note(merchant, learnt)
                self._log_learnt(merchant, before, learnt.form())
                return Completion(completion.answer, completion.model, spent + completion.usage)
        raise AssertionError("the last call returns or raises")

    def _log_learnt(self, merchant: str, before: Capabilities, now: Capabilities) -> None:
        if now != before:
            log.info(
                "model.parameters_learnt",
                merchant=merchant,
                limit=now.limit,
                temperature=now.temperature,
                response_format=now.format,
                reasoning_effort=now.effort,
                thinking_tokens=now.thinking,
            )

    async def _call(self, request: Request, merchant: str, seconds: float) -> Completion:
        return await call(
            self._breaker,
            partial(self._ask, request, seconds),
            seconds=seconds,
            told=self._observer.called,
            owner=merchant,
        )

    async def _ask(self, request: Request, seconds: float) -> Completion:
        response = await self._client.chat.completions.with_raw_response.create(
            **parameters(self._limits, request.messages, request.form), timeout=seconds
        )
        return read_body(response.http_response.content)


def openai_client(
    *, api_key: str, base_url: str, timeout: float, connections: int, http_client: httpx2.AsyncClient | None = None
) -> AsyncOpenAI:
    """Return a client that leaves retrying to us and never waits longer than `timeout` seconds for bytes."""
    return AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout,
        max_retries=0,
        default_headers={"accept-encoding": ACCEPTED_ENCODINGS},
        http_client=bound_bodies(http_client or bounded_client(timeout=timeout, connections=connections)),
    )


def parameters(
    limits: ModelLimits, messages: Sequence[ChatMessage], form: Capabilities | None = None
) -> dict[str, Any]:
    """Return the request in a form; without one, in that which a model of this name most likely takes."""
    form = form or guessed(limits.model, limits.thinking_tokens)
    words = json.dumps(schema(), ensure_ascii=False)
    asked: dict[str, Any] = {
        "model": limits.model,
        "messages": list(messages) if form.format == "json_schema" else in_json(messages, words),
    }
    if form.format == "json_schema":
        asked["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema()},
        }
    elif form.format == "json_object":
        asked["response_format"] = {"type": "json_object"}
    if form.limit is not None:
        asked[form.limit] = limits.max_tokens + form.thinking
    if form.temperature:
        asked["temperature"] = limits.temperature
    if form.effort is not None:
        asked["reasoning_effort"] = form.effort
    return asked
