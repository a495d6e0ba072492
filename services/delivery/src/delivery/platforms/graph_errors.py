"""What the Graph API's errors mean: one table over (code, subcode), one function over an answer.

The codes are those of Meta's "Instagram Platform" and "Messenger Platform" error references. `type` says nothing: Meta
answers an `OAuthException` for a closed window as well as for an expired token. The sentences are ours, for the
merchant: the platform's own may quote a token or a customer. `docs/errors.md` shows the table (`delivery.errors_page`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from common.errors import Finding, ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.platforms.calls import Answer, NoAnswer
from delivery.platforms.sending import ALREADY_ANSWERED, DAY_OLD, Action, Refused

API = "graph"


@dataclass(frozen=True)
class Meaning:
    """What one error means: what is done about it, a stable code, and a sentence for the merchant."""

    action: Action
    reason: str
    said: str


UNCLEAR = Meaning(
    "unknown",
    "outcome_unknown",
    "Instagram did not say whether it took this. Jawab looks for it in the conversation before anything is repeated.",
)
MAYBE_SENT = Meaning(
    "sent_or_unknown",
    "outcome_unknown",
    "Instagram reported an error although the message was probably sent. Jawab looks for it in the conversation and "
    "never repeats it blindly.",
)
APP_LIMIT = Meaning(
    "pause_app",
    "throttled",
    "Instagram takes no more calls from the whole app for now. Nothing was sent; it goes out by itself afterwards.",
)
ACCOUNT_LIMIT = Meaning(
    "pause_account",
    "throttled",
    "Instagram takes no more calls for this account for now. Nothing was sent; it goes out by itself afterwards.",
)
WINDOW = Meaning(
    "refuse",
    "window_closed",
    f"{DAY_OLD}, so Instagram allows no reply. Wait until they write again, or answer from the Instagram app.",
)
OTHER_APP = Meaning(
    "other_app",
    "other_app_owns_thread",
    "Another app has this conversation. Let it hand the conversation back, or disconnect it in Instagram's settings.",
)
UNAVAILABLE = Meaning(
    "refuse",
    "person_unavailable",
    "This person cannot be reached now: they blocked the account, closed theirs, or take no messages. Nothing can be "
    "done but wait for them to write.",
)
RESTRICTED = Meaning(
    "restrict",
    "account_restricted",
    "Instagram has restricted this account. Read the account's status in the Instagram app, do what it asks, then "
    "connect the account again: `jawab merchants connect`.",
)
BLOCKED = Meaning(
    "hold",
    "blocked_for_policy",
    "Instagram has blocked the account's messages for some hours because of its policies. Stop campaigns and read "
    "the account's alerts; Jawab tries again by itself afterwards.",
)
PERMISSION = Meaning(
    "reconnect",
    "permission_missing",
    "The account no longer lets Jawab do this. Switch on access to messages for connected tools in Instagram, then "
    "connect the account again and grant every permission: `jawab merchants connect`.",
)
TOKEN = Meaning(
    "reconnect",
    "token_expired",
    "The account's access token is not accepted any more. Connect the account again: `jawab merchants connect`.",
)
NO_PERSON = Meaning(
    "refuse",
    "no_such_recipient",
    "The person or comment does not exist any more, or belongs to another account. There is nobody to answer.",
)
CONTENT = Meaning(
    "refuse",
    "bad_request",
    "Instagram does not accept this message. Check its content, its length and whom it is for, then send it again.",
)
MEDIA = Meaning(
    "refuse",
    "bad_media",
    "Instagram could not use the picture or file: it is too large, of a kind it does not take, or its link does not "
    "open. Check the link in a browser and send it again.",
)
NO_PROFILE = Meaning(
    "ignore",
    "profile_unavailable",
    "Instagram does not tell who this person is. Messages are not affected; there is nothing to do.",
)
BAD_LINK = Meaning(
    "refuse",
    "bad_link",
    "Instagram could not open a link in this message. See that the page opens without signing in, then send it again.",
)


def _token(happened: str) -> Meaning:
    return replace(TOKEN, said=f"{happened} Connect the account again: `jawab merchants connect`.")


KNOWN: Mapping[tuple[int, int | None], Meaning] = {
    (-1, None): UNCLEAR,
    (1, None): UNCLEAR,
    (1, 1357046): MAYBE_SENT,
    (2, None): UNCLEAR,
    (2, 1545133): UNCLEAR,
    (3, None): PERMISSION,
    (4, None): APP_LIMIT,
    (4, 2207051): BLOCKED,
    (10, None): PERMISSION,
    (10, 1893063): RESTRICTED,
    (10, 2018108): UNAVAILABLE,
    (10, 2018278): WINDOW,
    (10, 2018300): OTHER_APP,
    (10, 2534022): WINDOW,
    (10, 2534077): PERMISSION,
    (17, None): ACCOUNT_LIMIT,
    (20, None): MAYBE_SENT,
    (25, 2207050): RESTRICTED,
    (32, None): ACCOUNT_LIMIT,
    (100, None): CONTENT,
    (100, 33): NO_PERSON,
    (100, 2018001): NO_PERSON,
    (100, 2018008): replace(MEDIA, action="once_more"),
    (100, 2018047): MEDIA,
    (100, 2018109): MEDIA,
    (100, 2018294): MEDIA,
    (100, 2534013): Meaning(
        "refuse_and_alert",
        "account_not_linked",
        "The Facebook page is not linked with this Instagram account. Link them in the page's settings, then send it "
        "again.",
    ),
    (100, 2534014): NO_PERSON,
    (100, 2534015): CONTENT,
    (100, 2534025): Meaning(
        "done",
        ALREADY_ANSWERED,
        "The comment has had its one private reply, or is more than 7 days old. Answer below the comment, or wait "
        "until the person writes.",
    ),
    (100, 2534029): RESTRICTED,
    (100, 2534037): OTHER_APP,
    (102, None): TOKEN,
    (190, None): TOKEN,
    (190, 458): _token("The app was removed from the account."),
    (190, 460): _token("The account's password was changed, which ended the access token."),
    (190, 463): _token("The account's access token has expired."),
    (190, 467): _token("The account's access token is no longer valid."),
    (200, None): PERMISSION,
    (200, 1545041): UNAVAILABLE,
    (200, 2534041): PERMISSION,
    (230, None): NO_PROFILE,
    (341, None): APP_LIMIT,
    (368, None): BLOCKED,
    (506, None): Meaning(
        "refuse",
        "duplicate_content",
        "The same text was posted a moment ago, and Instagram takes it only once. Change the words, or leave it.",
    ),
    (551, None): UNAVAILABLE,
    (551, 1545041): UNAVAILABLE,
    (613, None): ACCOUNT_LIMIT,
    (613, 2534040): ACCOUNT_LIMIT,
    (2022, None): RESTRICTED,
    (9010, None): NO_PROFILE,
    (36000, None): MEDIA,
    (80001, None): ACCOUNT_LIMIT,
    (80002, None): ACCOUNT_LIMIT,
    (80006, None): ACCOUNT_LIMIT,
    (1609005, None): BAD_LINK,
}
"""What each error means, by (code, subcode); a subcode that is not listed falls back to its code alone."""

WRONG_PROOF = Meaning(
    "refuse_and_alert",
    "app_secret_wrong",
    "Instagram does not accept the proof that calls are signed with: the secret is not that of the app to which the "
    "account's token belongs. Correct IG_APP_SECRET or META_APP_SECRET, or connect the account again with this app: "
    "`jawab merchants connect`.",
)
PROOF = "appsecret_proof"
"""What the platform's sentence names where it refuses a call for its proof, or for the want of one."""

AMBIGUOUS_CODE = 100
"""The code that the platform gives to a wrong proof, to a recipient that does not exist and to bad content alike. Where
it gives no subcode, or one that is not listed, only its sentence tells them apart."""

NOT_FOUND_PHRASES = ("cannot be found", "could not be found", "not found", "no matching user", "does not exist")
MAX_MESSAGE = 1000

PERMISSION_CODES = range(200, 300)
STOPPING: frozenset[Action] = frozenset({"reconnect", "restrict", "hold"})
TOKEN_CODES = frozenset({102, 190})

REFUSED = Meaning(
    "refuse",
    "refused",
    "Instagram refused this and gave a reason that Jawab does not know. Look the number up in Meta's documentation.",
)
BY_STATUS: Mapping[int, Meaning] = {
    401: replace(TOKEN, action="refuse"),
    403: replace(PERMISSION, action="refuse"),
    404: Meaning(
        "refuse",
        "no_such_recipient",
        "The person or comment does not exist any more. If nothing can be sent at all, correct INSTAGRAM_GRAPH_URL.",
    ),
    408: UNCLEAR,
    429: ACCOUNT_LIMIT,
}
"""What an answer without a known code means: it may be a proxy's, so no account is stopped for it."""

TOO_MANY_REQUESTS = 429
SERVER_ERRORS = range(500, 600)


def suspected(of_code: Meaning) -> Meaning:
    """Return what a subcode means that is not listed, where its code alone would stop the account.

    Other subcodes of these codes are about one message or one contact: several contacts have to meet it.
    """
    said = (
        "Instagram refused this for a reason that Jawab does not know. If it refuses other customers, too, the account "
        f"is stopped for an hour; it may mean: {of_code.said}"
    )
    return replace(of_code, action="suspend", said=said)


def meanings() -> tuple[Meaning, ...]:
    """Return what any error may mean."""
    return (*KNOWN.values(), *BY_STATUS.values(), PERMISSION)


def meaning(answer: Answer | NoAnswer, *, repeatable: bool) -> ProcessingError:
    """Say what a failed call means: by (code, subcode) first, then by HTTP status.

    `repeatable` is True for calls that change nothing or set what is set already; only those may be made again when
    nobody knows whether the first one worked.
    """
    if isinstance(answer, NoAnswer):
        known, label, said = UNCLEAR, "no_answer", answer.evidence
        repeatable = repeatable or not answer.left
    else:
        known, label, said = _of_answer(answer)
    action: Action = "retry" if repeatable and known.action in {"unknown", "sent_or_unknown"} else known.action
    after = answer.retry_after if isinstance(answer, Answer) else None
    return _error(action, known, said, after).found(Finding(API, label, action))


def _error(action: Action, known: Meaning, said: str, after: float | None) -> ProcessingError:
    match action:
        case "retry":
            return Retryable(f"Instagram could not be reached; it is tried again. ({said})", after=after)
        case "unknown" | "sent_or_unknown":
            return UnknownOutcome(f"{known.said} ({said})")
        case "pause_app" | "pause_account" | "pause_call":
            return Throttled(f"{known.said} ({said})", after=after)
        case _:
            return Refused(known.reason, f"{known.said} ({said})")


def _of_answer(answer: Answer) -> tuple[Meaning, str, str]:
    """Return the row of an answer, its label in the metrics, and how it is told in a log."""
    error = answer.fields.get("error")
    fields: Mapping[str, Any] = error if isinstance(error, dict) else {}
    code, subcode = whole(fields.get("code")), whole(fields.get("error_subcode"))
    if code is None:
        return *_by_status(answer), f"Graph API answered {answer.status}"
    said = f"Graph API error {code}" + (f"/{subcode}" if subcode is not None else "")
    row = _by_code(code, subcode)
    if code == AMBIGUOUS_CODE and (subcode is None or (code, subcode) not in KNOWN):
        row = _by_sentence(str(fields.get("message"))) or row
    if row is not None and not (row[0] is UNCLEAR and answer.status == TOO_MANY_REQUESTS):
        return *row, said
    if row is None and fields.get("is_transient") is True and answer.status not in BY_STATUS:
        return UNCLEAR, "other", said
    known, label = _by_status(answer)
    return known, "other" if row is None else label, said


def _by_sentence(message: str) -> tuple[Meaning, str] | None:
    said = message[:MAX_MESSAGE].lower()
    if PROOF in said:
        return WRONG_PROOF, f"{AMBIGUOUS_CODE}/{PROOF}"
    if ("user" in said or "recipient" in said) and any(phrase in said for phrase in NOT_FOUND_PHRASES):
        return NO_PERSON, f"{AMBIGUOUS_CODE}/no_user"
    return None


def _by_code(code: int, subcode: int | None) -> tuple[Meaning, str] | None:
    exact = KNOWN.get((code, subcode))
    if exact is not None:
        return exact, name_of(code, subcode)
    of_code = KNOWN.get((code, None)) or (PERMISSION if code in PERMISSION_CODES else None)
    if of_code is None:
        return None
    label = name_of(code, None) if (code, None) in KNOWN else f"{PERMISSION_CODES.start}-{PERMISSION_CODES.stop - 1}"
    if of_code.action in STOPPING and subcode is not None and code not in TOKEN_CODES:
        of_code = suspected(of_code)
    elif of_code is APP_LIMIT and subcode is not None:
        # Others of its subcodes are about one account (4/2207051). A limit of the app meets every account, and tells it
        # in X-App-Usage, too.
        of_code = ACCOUNT_LIMIT
    return of_code, label if subcode is None else f"{label}/other"


def _by_status(answer: Answer) -> tuple[Meaning, str]:
    if answer.status in SERVER_ERRORS:
        return UNCLEAR, "http_5xx"
    if answer.succeeded:
        return UNCLEAR, "http_2xx"
    known = BY_STATUS.get(answer.status)
    return (known, f"http_{answer.status}") if known is not None else (REFUSED, "http_other")


def name_of(code: int, subcode: int | None) -> str:
    """Return how a row is called in metrics and in the documentation, e.g. `10/2534022`."""
    return str(code) if subcode is None else f"{code}/{subcode}"


def whole(value: object) -> int | None:
    """Return a code given as a number or as its digits; None for anything else."""
    if isinstance(value, str):
        digits = value.removeprefix("-")
        return int(value) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None  # noqa: PLR2004
    return value if isinstance(value, int) and not isinstance(value, bool) else None
