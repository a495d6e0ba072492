"""What a server says is wrong: in the body of an error, or in an answer of HTTP 200. Pure.

The forms are those of OpenAI and Azure (`{"error": {message, type, param, code}}`), routers (the provider's own error
as text in `metadata.raw`, a number in `code`, HTTP 200), vLLM and Mistral (`{"object": "error", "message", "code"}`),
FastAPI (`{"detail": [{"loc", "msg"}]}`), llama.cpp and Ollama (`{"error": "words"}`).
"""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from ai.completion import Reason, Refusal

MAX_WORDS = 4000
MAX_DEPTH = 6

_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_CONTENT = frozenset(
    {"content_filter", "content_policy_violation", "moderation_blocked", "responsibleaipolicyviolation"}
)
_INVALID_ANSWER = frozenset({"json_validate_failed", "tool_use_failed", "output_parse_failed"})
"""The model's answer, not the request, was wrong: another try may be right."""

_STATUS_OF_WORD: Final[Mapping[str, int]] = {
    "server_error": 500,
    "internal_error": 500,
    "internal_server_error": 500,
    "api_error": 500,
    "overloaded_error": 503,
    "overloaded": 503,
    "service_unavailable": 503,
    "timeout": 504,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "too_many_requests": 429,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "permission_error": 403,
    "invalid_request_error": 400,
    "badrequesterror": 400,
    "model_not_found": 404,
    "not_found_error": 404,
}
"""What stands in `code` or `type` where an answer that calls itself well carries an error."""

_SPOKEN = frozenset({"message", "detail", "msg", "loc", "raw", "error", "metadata", "reason"})
"""Members of an error that are the server's own words. `input` and the like quote the request: customers' words."""


def refusal_of(body: object) -> Refusal:
    """Read the body of an error; what cannot be read is an error that says nothing."""
    error = _error_in(body)
    if not isinstance(error, Mapping):
        return Refusal(words=_words(error))
    code = error.get("code")
    return Refusal(
        param=_short(error.get("param")),
        code=(_short(code) if isinstance(code, str) else "") or _short(error.get("type")),
        words=_words(error),
    )


def error_in_answer(body: object) -> object | None:
    """Return the error that an answer of HTTP 200 carries instead of a completion, or None."""
    if not isinstance(body, Mapping):
        return None
    if body.get("error"):
        error: object = body["error"]
        return error
    if body.get("object") == "error" or ("detail" in body and "choices" not in body):
        return body
    return None


def reason_of_status(status: int, refusal: Refusal) -> Reason:
    """Return why a call failed, from an HTTP status and what the server says beside it."""
    code = refusal.code.lower()
    if code in _QUOTA:
        return "quota"
    if code in _CONTENT:
        return "refused"
    if code in _INVALID_ANSWER:
        return "not_valid"
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "bad_key"
    if status == HTTPStatus.PAYMENT_REQUIRED:
        return "quota"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return "rate_limited"
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}:
        return "unavailable"
    return "bad_request"


def reason_of_answer(error: object) -> Reason:
    """Return why an answer of HTTP 200 is an error: its own code decides; a server that gives none is not well."""
    refusal = refusal_of(error)
    code = error.get("code", error.get("status")) if isinstance(error, Mapping) else None
    status = _status(code)
    if status is None and isinstance(error, Mapping):
        named = (_short(error.get(name)).lower() for name in ("code", "type"))
        status = next((_STATUS_OF_WORD[one] for one in named if one in _STATUS_OF_WORD), None)
    return reason_of_status(status or HTTPStatus.BAD_GATEWAY, refusal)


def _status(code: object) -> int | None:
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    known = isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599  # noqa: PLR2004 HTTP's errors
    return code if known and isinstance(code, int) else None


def _error_in(body: object) -> object:
    inner: object = body.get("error") if isinstance(body, Mapping) else None
    return inner or body


def _words(value: object) -> str:
    return " ".join(_spoken(value, MAX_DEPTH))[:MAX_WORDS]


def _spoken(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value[:MAX_WORDS]
    elif depth and isinstance(value, Mapping):
        for name, one in list(value.items())[:50]:
            if name in _SPOKEN:
                yield from _spoken(one, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for one in value[:50]:
            yield from _spoken(one, depth - 1)


def _short(value: Any) -> str:
    return value[:200] if isinstance(value, str) else ""
