"""The language model behind OpenAI's chat completions API, or any server that speaks it.

One policy of ours instead of the client's: a whole answer, tries and waits together, ends inside one time budget,
because a customer is waiting; only what passes by itself is tried again, once, and `Retry-After` is honoured where the
budget allows. Every failure becomes one of a closed set of reasons. What was spent is reported with failures as well.

An API that does not answer, or answers with server errors, is left alone by a circuit breaker, one for this service's
key: nobody then waits out a time-out of their own. A refusal, also of the rate, is an answer and opens nothing. What is
done about a message while the breaker is open is not decided here.

Images go as links that the API fetches itself. It answers 400 when it cannot (the link has expired, the picture is none
it knows) and when the model has no eyes; the same is asked once more without them then.
"""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import httpx2
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from ai.answer import Answer, schema
from ai.completion import Completion, ModelFailed, Usage
from ai.openai_call import call, paused
from ai.prompt import ChatMessage, without_images
from common.breaker import Breakers
from common.http_client import http_client as bounded_client

API = "openai"
_REASONING = re.compile(r"^(?:o\d|gpt-[5-9])")


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
    """What one answer may take. `timeout` in seconds covers all tries."""

    model: str = "gpt-4o-mini"
    timeout: float = 20.0
    max_tokens: int = 500
    temperature: float = 0.7
    concurrency: int = 64


class OpenAIModel:
    """Asks the model, with at most `limits.concurrency` answers in the making; others wait in the order they came."""

    def __init__(self, client: AsyncOpenAI, limits: ModelLimits, observer: ModelObserver, breakers: Breakers) -> None:
        self._client = client
        self._limits = limits
        self._observer = observer
        self._breakers = breakers
        self._slots = asyncio.Semaphore(limits.concurrency)

    async def complete(self, messages: Sequence[ChatMessage]) -> Completion:
        """Return the model's answer. Raises ModelFailed, and nothing else, when there is none."""
        async with self._slots:
            return await self._within_budget(messages)

    async def _within_budget(self, messages: Sequence[ChatMessage]) -> Completion:
        ends_at = time.monotonic() + self._limits.timeout
        spent = Usage()
        failed: ModelFailed | None = None
        attempt = 1
        while True:
            try:
                completion = await self._call(messages, ends_at - time.monotonic())
            except ModelFailed as failure:
                spent += failure.usage
                if failed is not None and failure.reason == "held_back":
                    raise ModelFailed(failed.reason, spent, after=failed.after) from None
                failed = failure
                if failure.reason == "bad_request" and (plain := without_images(messages)) != messages:
                    self._observer.images_refused()
                    messages = plain
                    continue
                if not await paused(failure, attempt=attempt, ends_at=ends_at):
                    raise ModelFailed(failure.reason, spent, after=failure.after) from None
                attempt += 1
            else:
                return Completion(completion.answer, completion.model, spent + completion.usage)

    async def _call(self, messages: Sequence[ChatMessage], seconds: float) -> Completion:
        return await call(
            self._breakers, partial(self._ask, messages, seconds), seconds=seconds, told=self._observer.called
        )

    async def _ask(self, messages: Sequence[ChatMessage], seconds: float) -> Completion:
        response: ChatCompletion = await self._client.chat.completions.create(
            **parameters(self._limits, messages), timeout=seconds
        )
        return read_completion(response)


def openai_client(
    *, api_key: str, base_url: str, timeout: float, connections: int, http_client: httpx2.AsyncClient | None = None
) -> AsyncOpenAI:
    """Return a client that leaves retrying to us and never waits longer than `timeout` seconds for bytes."""
    return AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        timeout=timeout,
        max_retries=0,
        http_client=http_client or bounded_client(timeout=timeout, connections=connections),
    )


def parameters(limits: ModelLimits, messages: Sequence[ChatMessage]) -> dict[str, Any]:
    """Return the request. Reasoning models take no temperature and call the bound on tokens by another name."""
    asked: dict[str, Any] = {
        "model": limits.model,
        "messages": list(messages),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": schema()},
        },
    }
    if _REASONING.match(limits.model):
        return {**asked, "max_completion_tokens": limits.max_tokens}
    return {**asked, "max_tokens": limits.max_tokens, "temperature": limits.temperature}


def read_completion(response: ChatCompletion) -> Completion:
    """Return what the model said. Raises ModelFailed when it refused, was cut off, or said something else."""
    usage = _usage_of(response)
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices or getattr(choices[0], "message", None) is None:
        raise ModelFailed("not_valid", usage)
    choice = choices[0]
    if choice.finish_reason == "content_filter" or getattr(choice.message, "refusal", None):
        raise ModelFailed("refused", usage)
    if choice.finish_reason == "length":
        raise ModelFailed("truncated", usage)
    try:
        answer = Answer.model_validate(json.loads(choice.message.content or ""))
    except (ValidationError, ValueError, TypeError, RecursionError):
        raise ModelFailed("not_valid", usage) from None
    return Completion(answer, str(response.model or ""), usage)


def _usage_of(response: ChatCompletion) -> Usage:
    spent = getattr(response, "usage", None)
    return Usage(_count(getattr(spent, "prompt_tokens", 0)), _count(getattr(spent, "completion_tokens", 0)))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
