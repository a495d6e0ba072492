"""ManyChat's error table: each row against a list written down here, and what falls back to which row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProcessingError, Retryable, Throttled, UnknownOutcome
from delivery.platforms.calls import Answer, NoAnswer
from delivery.platforms.manychat_errors import KNOWN, meaning
from delivery.platforms.sending import Refused

SECRET = "key 99:secret of customer Layla"


def failed(code=None, status=400, messages=(), message=SECRET):
    body = {"status": "error", "message": message}
    if code is not None:
        body["code"] = code
    if messages:
        body["details"] = {"messages": [{"message": one} for one in messages]}
    return Answer(status, body)


def said(answer, *, repeatable=False):
    """Return what an answer means, as (action, label, reason), and whether another route may serve."""
    found = meaning(answer, repeatable=repeatable)
    classes = {"retry": Retryable, "unknown": UnknownOutcome, "pause_call": Throttled}
    assert type(found) is classes.get(found.finding.action, Refused)
    assert found.finding.api == "manychat"
    if isinstance(found, Refused):
        return found.finding.action, found.finding.code, found.reason, found.elsewhere
    return found.finding.action, found.finding.code, None, False


# Written from ManyChat's Swagger file, apart from the code.
EXPECTED = {
    2011: ("refuse", "no_such_recipient", False),
    2012: ("refuse", "no_such_recipient", False),
    3011: ("refuse", "window_closed", False),
    3021: ("refuse", "window_closed", False),
    3031: ("refuse", "window_closed", False),
    **dict.fromkeys(range(3040, 3050), ("elsewhere", "channel_failed", True)),
}


def test_every_row_is_expected_here_and_every_expected_row_is_there():
    assert KNOWN.keys() == EXPECTED.keys()


@pytest.mark.parametrize("code", EXPECTED)
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("form", [int, str])
@pytest.mark.parametrize("repeatable", [True, False])
def test_a_code_decides_whatever_the_status(code, status, form, repeatable):
    action, reason, elsewhere = EXPECTED[code]
    assert said(failed(form(code), status), repeatable=repeatable) == (action, str(code), reason, elsewhere)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (failed(3050), ("refuse", "other", "refused", False)),
        (failed(3050, 500), ("unknown", "http_5xx", None, False)),
        (failed(3050, 429), ("pause_call", "http_429", None, False)),
        (failed(messages=["Subscriber does not exist"]), ("elsewhere", "no_subscriber", "no_subscriber", True)),
        (failed(message="Subscriber not found"), ("elsewhere", "no_subscriber", "no_subscriber", True)),
        (failed(status=404, message="Subscriber not found"), ("elsewhere", "no_subscriber", "no_subscriber", True)),
        (failed(messages=["The text is too long"]), ("refuse", "validation", "refused", False)),
        (failed(messages=["The text is too long"], status=200), ("refuse", "validation", "refused", False)),
        (Answer(400, {"status": "error", "details": {"messages": "odd"}}), ("refuse", "validation", "refused", False)),
        (failed(status=404), ("refuse", "http_404", "refused", False)),
        (Answer(404, None), ("refuse", "http_404", "refused", False)),
        (Answer(401, None), ("refuse_key", "http_401", "key_refused", True)),
        (failed(status=403), ("refuse_key", "http_403", "key_refused", True)),
        (Answer(408), ("unknown", "http_408", None, False)),
        (Answer(429, None), ("pause_call", "http_429", None, False)),
        (failed(status=500), ("unknown", "http_5xx", None, False)),
        (Answer(502, None), ("unknown", "http_5xx", None, False)),
        (Answer(200, None), ("unknown", "http_2xx", None, False)),
        (Answer(200, {}), ("unknown", "http_2xx", None, False)),
        (Answer(200, {"status": "queued"}), ("unknown", "http_2xx", None, False)),
        (Answer(200, {"status": "success", "code": 3011}), ("unknown", "http_2xx", None, False)),
        (NoAnswer(left=True, evidence="ReadError"), ("unknown", "no_answer", None, False)),
        (NoAnswer(left=False, evidence="ConnectError"), ("retry", "no_answer", None, False)),
    ],
)
def test_what_has_no_known_code_is_judged_by_its_status(answer, expected):
    assert said(answer) == expected
    if expected[0] == "unknown":
        assert said(answer, repeatable=True)[0] == "retry"


def test_a_named_wait_is_kept():
    assert meaning(Answer(429, None, retry_after=3.0), repeatable=False).after == 3.0


@pytest.mark.parametrize("answer", [failed(), failed(3011), failed(3041), failed(status=401), failed(status=404)])
def test_what_manychat_said_is_never_repeated_and_the_merchant_is_told_what_to_do(answer):
    found = meaning(answer, repeatable=False)
    assert "secret" not in found.detail
    assert "Layla" not in found.detail
    assert len(found.detail.split(". ")) >= 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["status", "code", "message", "messages", "details"]), inner, max_size=3)
    ),
    max_leaves=8,
)
bodies = json_values | st.fixed_dictionaries(
    {"status": st.just("error"), "code": st.sampled_from(list(KNOWN)) | json_values, "details": json_values}
)
LABELS = {str(code) for code in KNOWN} | {"other", "validation", "no_subscriber", "no_answer", "http_2xx", "http_5xx"}
LABELS |= {f"http_{status}" for status in (401, 403, 404, 408, 429)}


@given(st.integers(200, 599), bodies, st.booleans())
def test_any_body_at_all_has_one_meaning_with_a_label_from_a_closed_set(status, body, repeatable):
    found = meaning(Answer(status, body), repeatable=repeatable)
    assert isinstance(found, ProcessingError)
    assert found.finding.code in LABELS
    if repeatable:
        assert not isinstance(found, UnknownOutcome)
