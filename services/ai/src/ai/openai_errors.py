"""What an error of OpenAI's API means, whichever of its endpoints gave it. Pure."""

from collections.abc import Mapping
from typing import Final

import httpx2
import openai

from ai.completion import Reason

PASSING: Final[frozenset[Reason]] = frozenset({"timeout", "unavailable", "rate_limited"})
"""What may be different a moment later. A timeout only counts here if it left time in the budget."""

NOT_WELL: Final[frozenset[Reason]] = frozenset({"timeout", "unavailable"})
"""What speaks against the API itself."""

_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_REFUSED = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
_TOO_MANY_REQUESTS, _UNAUTHORIZED, _FORBIDDEN, _REQUEST_TIMEOUT, _CONFLICT = 429, 401, 403, 408, 409
_SERVER_ERROR = 500


def reason_of(error: Exception) -> Reason:
    """Return why a call failed, from what the client raised."""
    if isinstance(error, TimeoutError | openai.APITimeoutError | httpx2.TimeoutException):
        return "timeout"
    if isinstance(error, openai.APIResponseValidationError):
        return "not_valid"
    if isinstance(error, openai.APIStatusError):
        return _reason_of_status(error.status_code, error.code)
    if isinstance(error, openai.APIConnectionError | httpx2.TransportError | ConnectionError):
        return "unavailable"
    return "not_valid"  # an answer that the client itself could not read


def _reason_of_status(status: int, code: str | None) -> Reason:
    if code in _QUOTA:
        return "quota"
    if code in _REFUSED:
        return "refused"
    if status in {_UNAUTHORIZED, _FORBIDDEN}:
        return "bad_key"
    if status == _TOO_MANY_REQUESTS:
        return "rate_limited"
    if status >= _SERVER_ERROR or status in {_REQUEST_TIMEOUT, _CONFLICT}:
        return "unavailable"
    return "bad_request"


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
