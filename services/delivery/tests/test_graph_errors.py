"""The Graph API's error table: each row against a list written down here, and what falls back to which row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Permanent, ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.platforms.calls import Answer, NoAnswer
from delivery.platforms.graph_errors import KNOWN, meaning, name_of
from delivery.platforms.sending import ALREADY_ANSWERED, Refused

SECRET = "token EAAsecret of customer Layla"


def error(code, subcode=None, status=400, **more):
    body = {"error": {"message": SECRET, "type": "OAuthException", "code": code} | more}
    if subcode is not None:
        body["error"]["error_subcode"] = subcode
    return Answer(status, body)


# Written from Meta's error references, apart from the code: action of a send, action of a read, reason.
EXPECTED = {
    "-1": ("unknown", "retry", None),
    "1": ("unknown", "retry", None),
    "1/1357046": ("sent_or_unknown", "retry", None),
    "2": ("unknown", "retry", None),
    "2/1545133": ("unknown", "retry", None),
    "4": ("pause_app", "pause_app", None),
    "341": ("pause_app", "pause_app", None),
    "20": ("sent_or_unknown", "retry", None),
    "17": ("pause_account", "pause_account", None),
    "32": ("pause_account", "pause_account", None),
    "613": ("pause_account", "pause_account", None),
    "613/2534040": ("pause_account", "pause_account", None),
    "80001": ("pause_account", "pause_account", None),
    "80002": ("pause_account", "pause_account", None),
    "80006": ("pause_account", "pause_account", None),
    "368": ("hold", "hold", "blocked_for_policy"),
    "4/2207051": ("hold", "hold", "blocked_for_policy"),  # one account's, though its code is the whole app's limit
    "25/2207050": ("restrict", "restrict", "account_restricted"),
    "10/2534022": ("refuse", "refuse", "window_closed"),
    "10/2018278": ("refuse", "refuse", "window_closed"),
    "10/2018300": ("other_app", "other_app", "other_app_owns_thread"),
    "100/2534037": ("other_app", "other_app", "other_app_owns_thread"),
    "10/2018108": ("refuse", "refuse", "person_unavailable"),
    "551": ("refuse", "refuse", "person_unavailable"),
    "551/1545041": ("refuse", "refuse", "person_unavailable"),
    "200/1545041": ("refuse", "refuse", "person_unavailable"),
    "10/1893063": ("restrict", "restrict", "account_restricted"),
    "100/2534029": ("restrict", "restrict", "account_restricted"),
    "2022": ("restrict", "restrict", "account_restricted"),
    "3": ("reconnect", "reconnect", "permission_missing"),
    "10": ("reconnect", "reconnect", "permission_missing"),
    "10/2534077": ("reconnect", "reconnect", "permission_missing"),
    "200": ("reconnect", "reconnect", "permission_missing"),
    "200/2534041": ("reconnect", "reconnect", "permission_missing"),
    "102": ("reconnect", "reconnect", "token_expired"),
    "190": ("reconnect", "reconnect", "token_expired"),
    "190/458": ("reconnect", "reconnect", "token_expired"),
    "190/460": ("reconnect", "reconnect", "token_expired"),
    "190/463": ("reconnect", "reconnect", "token_expired"),
    "190/467": ("reconnect", "reconnect", "token_expired"),
    "100/33": ("refuse", "refuse", "no_such_recipient"),
    "100/2534014": ("refuse", "refuse", "no_such_recipient"),
    "100/2018001": ("refuse", "refuse", "no_such_recipient"),
    "100/2534025": ("done", "done", ALREADY_ANSWERED),
    "100/2534013": ("refuse_and_alert", "refuse_and_alert", "account_not_linked"),
    "100": ("refuse", "refuse", "bad_request"),
    "100/2534015": ("refuse", "refuse", "bad_request"),
    "100/2018008": ("once_more", "once_more", "bad_media"),
    "100/2018047": ("refuse", "refuse", "bad_media"),
    "100/2018109": ("refuse", "refuse", "bad_media"),
    "100/2018294": ("refuse", "refuse", "bad_media"),
    "36000": ("refuse", "refuse", "bad_media"),
    "230": ("ignore", "ignore", "profile_unavailable"),
    "9010": ("ignore", "ignore", "profile_unavailable"),
    "506": ("refuse", "refuse", "duplicate_content"),
    "1609005": ("refuse", "refuse", "bad_link"),
}
CLASSES = {
    "retry": Retryable,
    "unknown": UnknownOutcome,
    "sent_or_unknown": UnknownOutcome,
    "pause_app": Throttled,
    "pause_account": Throttled,
}


def parsed(name):
    code, _, subcode = name.partition("/")
    return int(code), int(subcode) if subcode else None


def said(answer, *, repeatable=False):
    """Return what an answer means, as (action, label, reason)."""
    found = meaning(answer, repeatable=repeatable)
    assert type(found) is CLASSES.get(found.finding.action, Refused)
    assert found.finding.api == "graph"
    return found.finding.action, found.finding.code, found.reason if isinstance(found, Refused) else None


def test_every_row_is_expected_here_and_every_expected_row_is_there():
    assert {name_of(*key) for key in KNOWN} == EXPECTED.keys()


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("status", [400, 403, 500])
def test_a_row_means_the_same_whatever_the_status(name, status):
    send, read, reason = EXPECTED[name]
    assert said(error(*parsed(name), status)) == (send, name, reason)
    assert said(error(*parsed(name), status), repeatable=True) == (read, name, reason)


@pytest.mark.parametrize("name", EXPECTED)
def test_codes_given_as_text_mean_the_same(name):
    code, subcode = parsed(name)
    assert said(error(str(code), None if subcode is None else str(subcode))) == said(error(code, subcode))


@pytest.mark.parametrize("key", KNOWN)
def test_every_row_has_sentences_for_the_merchant(key):
    """One says what happened, another what to do or that nothing need be done."""
    sentences = KNOWN[key].said.replace(": `jawab merchants connect`", "").split(". ")
    assert len(sentences) >= 2
    assert KNOWN[key].said[0].isupper()
    assert KNOWN[key].said.endswith((".", "`."))
    assert "Graph API" not in KNOWN[key].said


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(190, 999), ("reconnect", "190/other", "token_expired")),
        (error(10, 999), ("suspend", "10/other", "permission_missing")),
        (error(200, 999), ("suspend", "200/other", "permission_missing")),
        (error(201), ("reconnect", "200-299", "permission_missing")),
        (error(299), ("reconnect", "200-299", "permission_missing")),
        (error(299, 999), ("suspend", "200-299/other", "permission_missing")),
        (error(100, 999), ("refuse", "100/other", "bad_request")),
        (error(551, 999), ("refuse", "551/other", "person_unavailable")),
        (error(368, 1390008), ("suspend", "368/other", "blocked_for_policy")),
        (error(2022, 999), ("suspend", "2022/other", "account_restricted")),
        (error(102, 999), ("reconnect", "102/other", "token_expired")),
        (error(613, 999), ("pause_account", "613/other", None)),
        (error(4, 999), ("pause_account", "4/other", None)),
        (error(341, 999), ("pause_account", "341/other", None)),
        (error(2, 999), ("unknown", "2/other", None)),
        (error(300), ("refuse", "other", "refused")),
        (error(4711), ("refuse", "other", "refused")),
        (error(4711, status=403), ("refuse", "other", "permission_missing")),
        (error(4711, status=429), ("pause_account", "other", None)),
        (error(4711, status=500), ("unknown", "other", None)),
        (error(4711, is_transient=True), ("unknown", "other", None)),
        (error(4711, is_transient="yes"), ("refuse", "other", "refused")),
        (error(190, is_transient=True), ("reconnect", "190", "token_expired")),
        (error(1, status=429), ("pause_account", "http_429", None)),
    ],
)
def test_what_is_not_quite_known_falls_back_to_its_code_then_to_the_status(answer, expected):
    assert said(answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(401), ("refuse", "http_401", "token_expired")),
        (Answer(403), ("refuse", "http_403", "permission_missing")),
        (Answer(404), ("refuse", "http_404", "no_such_recipient")),
        (Answer(408), ("unknown", "http_408", None)),
        (Answer(429), ("pause_account", "http_429", None)),
        (Answer(400), ("refuse", "http_other", "refused")),
        (Answer(302), ("refuse", "http_other", "refused")),
        (Answer(500), ("unknown", "http_5xx", None)),
        (Answer(503, {"error": {}}), ("unknown", "http_5xx", None)),
        (Answer(200), ("unknown", "http_2xx", None)),
        (Answer(200, {}), ("unknown", "http_2xx", None)),
        (Answer(400, {"error": "invalid"}), ("refuse", "http_other", "refused")),
        (Answer(400, {"error": {"code": True}}), ("refuse", "http_other", "refused")),
        (Answer(400, {"error": {"code": "ten"}}), ("refuse", "http_other", "refused")),
        (Answer(400, {"error": {"code": "9" * 30}}), ("refuse", "http_other", "refused")),
        (Answer(400, [1]), ("refuse", "http_other", "refused")),
        (NoAnswer(left=True, evidence="ReadTimeout"), ("unknown", "no_answer", None)),
        (NoAnswer(left=False, evidence="ConnectError"), ("retry", "no_answer", None)),
    ],
)
def test_an_answer_without_a_code_is_judged_by_its_status(answer, expected):
    assert said(answer) == expected


@pytest.mark.parametrize(
    "sentence",
    [
        "The requested user cannot be found.",
        "(#100) No matching user found",
        "Recipient does not exist",
        "USER NOT FOUND",
    ],
)
@pytest.mark.parametrize("subcode", [None, 4711])
def test_a_bad_request_about_a_missing_user_is_not_laid_to_the_content(sentence, subcode):
    answer = error(100, subcode, message=sentence)
    assert said(answer) == ("refuse", "100/no_user", "no_such_recipient")
    assert "content" not in meaning(answer, repeatable=False).detail


@pytest.mark.parametrize(
    ("subcode", "sentence", "label"),
    [
        (None, "The text is too long for a user", "100"),
        (None, "The image cannot be found", "100"),
        (2534025, "The user cannot be found", "100/2534025"),
    ],
)
def test_other_bad_requests_keep_their_row(subcode, sentence, label):
    assert said(error(100, subcode, message=sentence))[1] == label


def test_code_20_after_a_send_leaves_its_outcome_unknown():
    """The public answer was there when the platform said 20/1772107."""
    assert said(error(20, 1772107)) == ("sent_or_unknown", "20/other", None)


@pytest.mark.parametrize("answer", [Answer(200), Answer(500), Answer(408), NoAnswer(left=True, evidence="ReadError")])
def test_a_call_that_may_be_repeated_is(answer):
    assert said(answer, repeatable=True)[0] == "retry"


@pytest.mark.parametrize("answer", [Answer(401), Answer(403)])
def test_a_status_alone_stops_no_account(answer):
    """It may be a proxy's."""
    assert said(answer)[0] == "refuse"


@pytest.mark.parametrize(
    "message",
    [
        "Invalid appsecret_proof provided in the API argument",
        "API calls from the server require an appsecret_proof argument",
    ],
)
def test_a_wrong_app_secret_is_told_to_people_and_not_taken_for_bad_content(message):
    wrong = Answer(400, {"error": {"message": message, "type": "GraphMethodException", "code": 100}})
    for repeatable in (True, False):
        expected = ("refuse_and_alert", "100/appsecret_proof", "app_secret_wrong")
        assert said(wrong, repeatable=repeatable) == expected


@pytest.mark.parametrize("more", [{"code": 100, "error_subcode": 33}, {"code": 190}, {"code": 2}])
def test_other_errors_mean_what_their_code_says_whatever_words_they_come_with(more):
    assert said(Answer(400, {"error": {"message": "appsecret_proof", **more}}))[1] != "100/appsecret_proof"


def test_the_platforms_own_wait_is_kept():
    assert meaning(Answer(429, retry_after=12.0), repeatable=False).after == 12.0


@pytest.mark.parametrize("key", KNOWN)
@pytest.mark.parametrize("repeatable", [True, False])
def test_what_the_provider_said_is_never_repeated(key, repeatable):
    found = meaning(error(*key), repeatable=repeatable)
    told = f"{found} {getattr(found, 'detail', '')} {getattr(found, 'evidence', '')} {getattr(found, 'reason', '')}"
    assert "EAAsecret" not in told
    assert "Layla" not in told
    assert name_of(*key) in told or isinstance(found, Permanent)
    if isinstance(found, Refused):
        assert name_of(*key) in found.detail


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["code", "error"]), inner, max_size=2),
    max_leaves=8,
)
codes = st.sampled_from([code for code, _ in KNOWN]) | st.integers(-10, 400) | json_values
subcodes = st.sampled_from([subcode for _, subcode in KNOWN]) | json_values
words = json_values | st.just("Invalid appsecret_proof provided")
bodies = json_values | st.fixed_dictionaries(
    {
        "error": json_values
        | st.fixed_dictionaries(
            {"code": codes, "error_subcode": subcodes, "is_transient": json_values, "message": words}
        )
    }
)
LABELS = EXPECTED.keys() | {f"{name}/other" for name in EXPECTED if "/" not in name}
LABELS |= {
    "100/appsecret_proof",
    "other",
    "no_answer",
    "200-299",
    "200-299/other",
    "http_2xx",
    "http_5xx",
    "http_other",
}
LABELS |= {f"http_{status}" for status in (401, 403, 404, 408, 429)}


@given(st.integers(200, 599), bodies, st.booleans())
def test_any_body_at_all_has_one_meaning_with_a_label_from_a_closed_set(status, body, repeatable):
    found = meaning(Answer(status, body), repeatable=repeatable)
    assert isinstance(found, ProcessingError)
    assert found.finding.code in LABELS
    if repeatable:
        assert not isinstance(found, UnknownOutcome)
