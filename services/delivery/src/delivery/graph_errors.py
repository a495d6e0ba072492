"""What the Graph API's errors mean: one table over (code, subcode), one function over an answer.

The codes are those of Meta's "Instagram Platform" and "Messenger Platform" error references. `type` says nothing: Meta
answers an `OAuthException` for a closed window as well as for an expired token.
"""

from collections.abc import Mapping

from common.errors import ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.calls import Answer, NoAnswer
from delivery.sending import ALREADY_ANSWERED, Refused

THROTTLED = frozenset({4, 17, 32, 341, 613, 80001, 80002, 80006})
"""Codes that say "not now": the app's, the account's, or the business use case's limit."""

NOT_SAID = frozenset({-1, 1, 2})
"""Codes that say nothing about whether a message went out; 1/1357046 even says that it did."""

RECONNECT = "the merchant has to connect the account again and grant every permission"
NEW_TOKEN = "renew the access token: `jawab merchants add`, or INSTAGRAM_ACCESS_TOKEN"  # noqa: S105 not a secret
WINDOW = "the customer has to write first: direct messages are allowed for 24 hours after their last one"
TRY_ANOTHER_WAY = "the person cannot be reached now (blocked, deactivated, or messages switched off)"
MEND_CONTENT = "the platform does not accept this content"

REFUSALS: Mapping[tuple[int, int | None], tuple[str, str]] = {
    (3, None): ("permission_missing", RECONNECT),
    (10, None): ("permission_missing", RECONNECT),
    (10, 2534022): ("window_closed", WINDOW),
    (10, 2018278): ("window_closed", WINDOW),
    (10, 2018300): ("other_app_owns_thread", "another app has control of this conversation"),
    (10, 2018108): ("person_unavailable", TRY_ANOTHER_WAY),
    (10, 1893063): ("account_restricted", "see the account's status in Instagram"),
    (10, 2534077): ("permission_missing", RECONNECT),
    (100, None): ("bad_request", MEND_CONTENT),
    (100, 33): ("no_such_recipient", "the person or comment does not exist, or the token may not see it"),
    (100, 2018001): ("no_such_recipient", "the person does not exist, or belongs to another account"),
    (100, 2534014): ("no_such_recipient", "the person does not exist, or belongs to another account"),
    (100, 2534013): ("account_not_linked", "link the page with the Instagram account again"),
    (100, 2534025): (ALREADY_ANSWERED, "the comment has had its one private reply, or is too old for it"),
    (100, 2534029): ("account_restricted", "see the account's status in Instagram"),
    (100, 2534037): ("other_app_owns_thread", "another app has control of this conversation"),
    (190, None): ("token_expired", NEW_TOKEN),
    (200, 1545041): ("person_unavailable", TRY_ANOTHER_WAY),
    (368, None): ("blocked_for_policy", "Meta has blocked sending for a while: read the app's alerts, stop campaigns"),
    (506, None): ("duplicate_content", "the same text was posted a moment ago"),
    (551, None): ("person_unavailable", TRY_ANOTHER_WAY),
    (2022, None): ("account_restricted", "see the account's status in Instagram"),
    (36000, None): ("bad_request", MEND_CONTENT),
    (1609005, None): ("bad_request", MEND_CONTENT),
}
"""What each refusal means, by (code, subcode); a subcode that is not listed falls back to its code alone."""

BY_STATUS: Mapping[int, tuple[str, str]] = {
    401: ("token_expired", NEW_TOKEN),
    403: ("permission_missing", RECONNECT),
    404: ("no_such_recipient", "the person or comment does not exist; or correct INSTAGRAM_GRAPH_URL"),
}
"""What a refusal without a known code means."""

PERMISSION_CODES = range(200, 300)
TOO_MANY_REQUESTS = 429
REQUEST_TIMEOUT = 408
SERVER_ERRORS = range(500, 600)


def meaning(answer: Answer | NoAnswer, *, repeatable: bool) -> ProcessingError:
    """Say what a failed call means: by (code, subcode) first, then by HTTP status.

    `repeatable` is True for calls that change nothing or set what is set already; only those may be made again when
    nobody knows whether the first one worked.
    """
    if isinstance(answer, NoAnswer):
        if repeatable or not answer.left:
            return Retryable(f"Graph API: {answer.evidence}")
        return UnknownOutcome(f"no answer: {answer.evidence}")
    error = answer.fields.get("error")
    code = _number(error.get("code")) if isinstance(error, dict) else None
    subcode = _number(error.get("error_subcode")) if isinstance(error, dict) else None
    said = f"Graph API error {code}" + (f"/{subcode}" if subcode is not None else "")
    if code in THROTTLED or answer.status == TOO_MANY_REQUESTS:
        return Throttled(said if code is not None else "Graph API: 429", after=answer.retry_after)
    if code is not None and code not in NOT_SAID:
        known = REFUSALS.get((code, subcode)) or REFUSALS.get((code, None))
        if known is None and code in PERMISSION_CODES:
            known = ("permission_missing", RECONNECT)
        if known is not None:
            return Refused(known[0], f"{known[1]} ({said})")
    if code in NOT_SAID or answer.status in SERVER_ERRORS or answer.status == REQUEST_TIMEOUT or answer.succeeded:
        evidence = said if code is not None else f"Graph API answered {answer.status} without saying what happened"
        return Retryable(evidence, after=answer.retry_after) if repeatable else UnknownOutcome(evidence)
    reason, advice = BY_STATUS.get(answer.status, ("refused", "see the error in Meta's documentation"))
    return Refused(reason, f"{advice} ({said if code is not None else f'Graph API answered {answer.status}'})")


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
