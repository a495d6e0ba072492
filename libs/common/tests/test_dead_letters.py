"""What a dead letter keeps of its record: all of it where it fits, and never more than it may."""

from datetime import UTC, datetime
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from common.kafka import dead_letters
from common.kafka.dead_letters import MAX_HEADERS, MAX_HEADERS_BYTES, OURS, letters_of

NOW = datetime(2026, 12, 1, tzinfo=UTC)
HEADER = st.tuples(st.text(max_size=30), st.one_of(st.none(), st.binary(max_size=5000)))


def letters(**record):
    lying = {"topic": "t", "partition": 2, "offset": 7, "key": b"1:2", "value": b"{}", "headers": ()} | record
    return letters_of(SimpleNamespace(**lying), group="ai", cause="a bug", attempts=3, at=NOW)


def test_a_letter_is_its_record_and_where_and_why_it_died():
    headers = (("x", b"\xff\xfe"), ("y", None), ("x", b"again"))
    whole = letters(headers=headers)[0]
    assert (whole.key, whole.value, tuple(whole.headers[:3])) == (b"1:2", b"{}", headers)
    assert dict(whole.headers[3:]) == {
        dead_letters.CAUSE: b"a bug",
        dead_letters.ATTEMPTS: b"3",
        dead_letters.GROUP: b"ai",
        dead_letters.TOPIC: b"t",
        dead_letters.PARTITION: b"2",
        dead_letters.OFFSET: b"7",
        dead_letters.FAILED_AT: NOW.isoformat().encode(),
    }


@given(
    st.lists(HEADER, max_size=100), st.one_of(st.none(), st.binary(max_size=3000)), st.one_of(st.none(), st.binary())
)
def test_whatever_a_record_brings_along_each_form_is_smaller_and_can_be_written(headers, key, value):
    forms = letters(headers=headers, key=key, value=value)
    sizes = [
        sum(len(name.encode()) + len(content or b"") for name, content in form.headers if name not in OURS)
        for form in forms
    ]
    assert sizes[0] <= MAX_HEADERS_BYTES
    assert sizes[1:] == [0, 0]
    assert all(len(form.headers) <= MAX_HEADERS + len(OURS) for form in forms)
    assert all(form.key is not None or form.value is not None for form in forms)
    assert (forms[0].key, forms[0].value or b"") == (key, value or b"")
    for form in forms:
        story = dict(form.headers)
        assert (story[dead_letters.TOPIC], story[dead_letters.PARTITION], story[dead_letters.OFFSET]) == (
            b"t",
            b"2",
            b"7",
        )


def test_what_is_left_out_of_a_records_headers_is_counted():
    whole = letters(headers=[(f"h{number}", b"") for number in range(100_000)])[0]
    assert dict(whole.headers)[dead_letters.DROPPED_HEADERS] == b"%d" % (100_000 - MAX_HEADERS)


def test_a_header_that_calls_itself_ours_is_not_believed():
    whole = letters(headers=[(dead_letters.OFFSET, b"1"), (dead_letters.CAUSE, b"none")])[0]
    assert [value for name, value in whole.headers if name == dead_letters.OFFSET] == [b"7"]
