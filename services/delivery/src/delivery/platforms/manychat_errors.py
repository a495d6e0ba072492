"""What ManyChat's errors mean: one table over the body's code, one function over an answer.

The codes are those of ManyChat's published Swagger file (https://api.manychat.com/swagger). It may say "error" in the
body of a 200: the body's `status` decides, not only HTTP. Nothing is published about 401, 429 and server errors.
"""

from collections.abc import Mapping
from typing import Any

from common.errors import Finding, ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.platforms.calls import Answer, NoAnswer
from delivery.platforms.graph_errors import Meaning, whole
from delivery.platforms.sending import DAY_OLD, Action, Refused

API = "manychat"
NO_SUBSCRIBER = "no_subscriber"

UNCLEAR = Meaning(
    "unknown",
    "outcome_unknown",
    "ManyChat did not say whether it took this. Jawab looks for it in the conversation before anything is repeated.",
)
LIMIT = Meaning(
    "pause_call",
    "throttled",
    "ManyChat takes no more of these calls for now. Nothing was sent; it goes out by itself afterwards.",
)
KEY = Meaning(
    "refuse_key",
    "key_refused",
    "ManyChat does not accept the page's API key. Make a new one in ManyChat's settings and enter it: "
    "`jawab merchants add`, or MANYCHAT_API_KEY.",
)
NOT_SUBSCRIBED = Meaning(
    "elsewhere",
    NO_SUBSCRIBER,
    "The customer is no subscriber of this page in ManyChat. They become one when they write while ManyChat is "
    "connected; until then the access token of the account is needed to answer.",
)
CHANNEL = Meaning(
    "elsewhere",
    "channel_failed",
    "Instagram did not take the message from ManyChat. Check in ManyChat that the Instagram account is connected.",
)
USER_REFERENCE = Meaning(
    "refuse",
    "no_such_recipient",
    "ManyChat does not know whom this is for. Let the customer write again.",
)
REFUSED = Meaning(
    "refuse",
    "refused",
    "ManyChat did not accept the message. Check its content against ManyChat's limits, then send it again.",
)
NO_METHOD = Meaning(
    "refuse",
    "refused",
    "ManyChat has no such method or person. If nothing can be sent at all, correct MANYCHAT_BASE_URL.",
)

CHANNEL_FAILURES = range(3040, 3050)

KNOWN: Mapping[int, Meaning] = {
    2011: USER_REFERENCE,
    2012: USER_REFERENCE,
    3011: Meaning(
        "refuse",
        "window_closed",
        f"{DAY_OLD} and the message has no tag. Wait until they write again, or answer from the Instagram app.",
    ),
    3021: Meaning(
        "refuse",
        "window_closed",
        "The customer has not agreed to be notified once more. Wait until they write again.",
    ),
    3031: Meaning(
        "refuse",
        "window_closed",
        f"{DAY_OLD} and no reason for a notification was given. Wait until "
        "they write again, or answer from the Instagram app.",
    ),
    **dict.fromkeys(CHANNEL_FAILURES, CHANNEL),
}
"""What each code of `sendContent` and `sendFlow` means; validation errors have none."""

BY_STATUS: Mapping[int, Meaning] = {401: KEY, 403: KEY, 404: NO_METHOD, 408: UNCLEAR, 429: LIMIT}
SERVER_ERRORS = range(500, 600)


def meaning(answer: Answer | NoAnswer, *, repeatable: bool) -> ProcessingError:
    """Say what a failed call means: by the body's code first, then by HTTP status.

    `repeatable` is True for lookups and for what sets a value, which may be made again whatever became of the first.
    """
    if isinstance(answer, NoAnswer):
        known, label, said = UNCLEAR, "no_answer", answer.evidence
        repeatable = repeatable or not answer.left
    else:
        known, label, said = _of_answer(answer)
    action: Action = "retry" if repeatable and known.action == "unknown" else known.action
    after = answer.retry_after if isinstance(answer, Answer) else None
    return _error(action, known, said, after).found(Finding(API, label, action))


def _error(action: Action, known: Meaning, said: str, after: float | None) -> ProcessingError:
    match action:
        case "retry":
            return Retryable(f"ManyChat could not be reached; it is tried again. ({said})", after=after)
        case "unknown":
            return UnknownOutcome(f"{known.said} ({said})")
        case "pause_call":
            return Throttled(f"{known.said} ({said})", after=after)
        case _:
            return Refused(known.reason, f"{known.said} ({said})", elsewhere=action in {"elsewhere", "refuse_key"})


def _of_answer(answer: Answer) -> tuple[Meaning, str, str]:
    """Return the row of an answer, its label in the metrics, and how it is told in a log."""
    code = whole(answer.fields.get("code")) if answer.fields.get("status") == "error" else None
    known = KNOWN.get(code) if code is not None else None
    if known is not None:
        return known, str(code), f"ManyChat error {code}"
    said = f"ManyChat answered {answer.status}" if code is None else f"ManyChat error {code}"
    if answer.status in SERVER_ERRORS:
        return UNCLEAR, "http_5xx", said
    by_status = BY_STATUS.get(answer.status)
    if by_status is not None and by_status is not NO_METHOD:
        return by_status, f"http_{answer.status}", said
    if answer.succeeded and answer.fields.get("status") != "error":
        return UNCLEAR, "http_2xx", said
    if _names_a_missing_subscriber(answer.fields):
        return NOT_SUBSCRIBED, NO_SUBSCRIBER, said
    if by_status is not None:
        return by_status, f"http_{answer.status}", said
    return REFUSED, "validation" if code is None else "other", said


def _names_a_missing_subscriber(fields: Mapping[str, Any]) -> bool:
    """Tell whether a validation error, which has no code, is about the subscriber."""
    details = fields.get("details")
    listed = details.get("messages") if isinstance(details, dict) else None
    sentences = [fields.get("message"), *(listed if isinstance(listed, list) else [])]
    said = " ".join(str(one.get("message", "") if isinstance(one, dict) else one) for one in sentences).lower()
    return "subscriber" in said and ("not exist" in said or "not found" in said or "no subscriber" in said)
