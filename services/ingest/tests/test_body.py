"""Bytes become a JSON object that everybody behind can read and write again, or one clear line."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.body import MAX_NESTING, BadBody, deeper_than, json_object


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "empty"),
        (b" \r\n\t ", "empty"),
        (b"hello", "not_json"),
        (b"{", "not_json"),
        (b"{} {}", "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":-Infinity}', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":"\xff"}', "not_json"),
        ('{"a":1}'.encode("utf-16"), "not_json"),
        (b"[]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"true", "not_an_object"),
        (b"7", "not_an_object"),
        (b"7.5", "not_an_object"),
        (b'"{}"', "not_an_object"),
        (b"[" * 10_000, "too_deep"),
        (b'{"entry":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too_deep"),
        (b'{"a":' * MAX_NESTING + b"{}" + b"}" * MAX_NESTING, "too_deep"),
        (b'{"a":' * 400 + b"1" + b"}" * 400, "too_deep"),
    ],
)
def test_what_is_no_json_object_says_what_it_is(raw, reason):
    with pytest.raises(BadBody) as refused:
        json_object(raw)
    assert refused.value.reason == reason
    assert "\n" not in refused.value.detail


def test_nesting_up_to_the_bound_is_read():
    raw = b'{"a":' * (MAX_NESTING - 1) + b"{}" + b"}" * (MAX_NESTING - 1)
    assert json_object(raw) == json.loads(raw)


def test_a_wide_body_is_not_a_deep_one():
    raw = json.dumps({"entry": [{"a": [1]}] * 500}).encode()
    assert len(json_object(raw)["entry"]) == 500


def test_half_an_emoji_is_replaced_because_utf8_cannot_hold_it():
    assert json_object(rb'{"text":"hi \ud83d","\udc00":["\ud83d\udc5c",1,null]}') == {
        "text": "hi �",
        "�": ["👜", 1, None],
    }


def test_a_byte_order_mark_is_ignored():
    assert json_object(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_an_enormous_integer_is_kept_as_its_digits():
    assert json_object(b'{"a":' + b"9" * 5000 + b"}") == {"a": "9" * 5000}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4), st.booleans())
def test_any_json_object_is_read_as_it_is(value, escaped):
    assert json_object(json.dumps(value, ensure_ascii=escaped).encode()) == value


@settings(deadline=None)
@given(json_values, st.integers(0, 5))
def test_depth_is_what_a_recursive_count_says(value, limit):
    def depth(part):
        if isinstance(part, dict):
            part = list(part.values())
        return 1 + max(map(depth, part), default=0) if isinstance(part, list) else 0

    assert deeper_than(value, limit) == (depth(value) > limit)
