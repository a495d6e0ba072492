"""What ManyChat's errors mean: one table over the body's code, one function over an answer.

The codes are those of ManyChat's published Swagger file (https://api.manychat.com/swagger). It may say "error" in the
body of a 200: the body's `status` decides, not only HTTP.
"""

from collections.abc import Mapping
from typing import Any

from common.errors import ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.calls import Answer, NoAnswer
from delivery.sending import Refused

NO_SUBSCRIBER = "no_subscriber"
NEW_KEY = "enter the page's ManyChat API key again: `jawab merchants add`, or MANYCHAT_API_KEY"

REFUSALS: Mapping[int, tuple[str, str]] = {
    3011: ("window_closed", "the customer's last message is more than 24 hours old and no message tag was given"),
    3021: ("window_closed", "the customer gave no one-time permission to be notified"),
    3031: ("window_closed", "the customer's last message is more than 24 hours old and no reason was given"),
}
CHANNEL_FAILURES = range(3040, 3050)
REFUSED_KEY = frozenset({401, 403})
TOO_MANY_REQUESTS = 429
REQUEST_TIMEOUT = 408
SERVER_ERRORS = range(500, 600)


def meaning(answer: Answer | NoAnswer, *, repeatable: bool) -> ProcessingError:
    """Say what a failed call means: by the body's code first, then by HTTP status.

    `repeatable` is True for lookups, which may be made again whatever became of the first.
    """
    if isinstance(answer, NoAnswer):
        if repeatable or not answer.left:
            return Retryable(f"ManyChat: {answer.evidence}")
        return UnknownOutcome(f"no answer: {answer.evidence}")
    if answer.status == TOO_MANY_REQUESTS:
        return Throttled("ManyChat: 429", after=answer.retry_after)
    if answer.status in REFUSED_KEY:
        return Refused("key_refused", f"{NEW_KEY} (ManyChat answered {answer.status})")
    said_error = answer.fields.get("status") == "error"
    if answer.status in SERVER_ERRORS or answer.status == REQUEST_TIMEOUT or (answer.succeeded and not said_error):
        evidence = f"ManyChat answered {answer.status} without saying what happened"
        return Retryable(evidence, after=answer.retry_after) if repeatable else UnknownOutcome(evidence)
    code = answer.fields.get("code")
    if isinstance(code, int) and code in REFUSALS:
        reason, advice = REFUSALS[code]
        return Refused(reason, f"{advice} (ManyChat error {code})")
    if isinstance(code, int) and code in CHANNEL_FAILURES:
        return Refused("channel_failed", f"the channel refused it (ManyChat error {code})", elsewhere=True)
    if _names_a_missing_subscriber(answer.fields):
        return Refused(NO_SUBSCRIBER, "the customer is no subscriber of this page in ManyChat", elsewhere=True)
    shown = f"ManyChat error {code}" if isinstance(code, int) else f"ManyChat answered {answer.status}"
    return Refused("refused", f"ManyChat did not accept the request ({shown})")


def _names_a_missing_subscriber(fields: Mapping[str, Any]) -> bool:
    """Tell whether a validation error, which has no code, is about the subscriber."""
    details = fields.get("details")
    listed = details.get("messages") if isinstance(details, dict) else None
    sentences = [fields.get("message"), *(listed if isinstance(listed, list) else [])]
    said = " ".join(str(one.get("message", "") if isinstance(one, dict) else one) for one in sentences).lower()
    return "subscriber" in said and ("not exist" in said or "not found" in said or "no subscriber" in said)
