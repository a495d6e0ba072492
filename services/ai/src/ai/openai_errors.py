"""What an error of OpenAI's API means, whichever of its endpoints gave it. Pure."""

from collections.abc import Mapping
from typing import Final

import httpx2
import openai

from ai.completion import ModelFailed, Reason, Refusal
from ai.llm.bounded_body import BodyNotRead
from ai.llm.refusal import reason_of_status, refusal_of

PASSING: Final[frozenset[Reason]] = frozenset({"timeout", "unavailable", "rate_limited", "not_valid"})
"""What may be different a moment later. A timeout only counts here if it left time in the budget."""

NOT_WELL: Final[frozenset[Reason]] = frozenset({"timeout", "unavailable"})
"""What speaks against the API itself."""


def failure_of(error: Exception) -> ModelFailed:
    """Return the failure that an error of the client means, with what the server says about it."""
    refusal = refusal_of(error.body) if isinstance(error, openai.APIStatusError) else Refusal()
    return ModelFailed(reason_of(error), after=retry_after(error), refusal=refusal)


def reason_of(error: Exception) -> Reason:
    """Return why a call failed, from what the client raised."""
    if isinstance(error, TimeoutError | openai.APITimeoutError | httpx2.TimeoutException):
        return "timeout"
    if isinstance(error, openai.APIResponseValidationError):
        return "not_valid"
    if isinstance(error, openai.APIStatusError):
        return reason_of_status(error.status_code, refusal_of(error.body))
    if isinstance(error.__cause__, BodyNotRead | httpx2.DecodingError):
        return "not_valid"
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError | ConnectionError):
        return "unavailable"
    return "not_valid"  # an answer that the client itself could not read


def is_of_connection(error: Exception) -> bool:
    """Tell whether a call failed for lack of a connection, whatever was asked: a time-out may lie in what was asked."""
    if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
        return isinstance(error.__cause__ or error, httpx2.ConnectTimeout)
    return isinstance(error, openai.APIConnectionError | httpx2.NetworkError | ConnectionError)


def retry_after(error: Exception) -> float | None:
    """Return the seconds a provider asked to wait, or None when it did not say (dates are not used by these APIs)."""
    if not isinstance(error, openai.APIStatusError):
        return None
    return seconds_to_wait(error.response.headers)


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the wait from `retry-after-ms` or `retry-after`, never negative."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None
