"""What no store can take never becomes a number, a field's name or an event."""

from collections.abc import Iterator
from typing import Any

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bounds import MAX_INT64, MIN_INT64, digits_of, int64_of, is_field_name, is_whole_text
from common.events import ANY_EVENT


def integers_in(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every integer that a JSON schema allows, with where it stands."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield path, schema
        for name, part in schema.items():
            yield from integers_in(part, f"{path}/{name}")
    elif isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from integers_in(part, f"{path}/{number}")


def test_every_integer_of_every_event_is_one_that_mongodb_stores():
    """A new field of a new event is found here by itself."""
    found = list(integers_in(ANY_EVENT.json_schema()))
    assert found
    for path, schema in found:
        assert schema.get("minimum", -(10**99)) >= MIN_INT64, path
        assert schema.get("maximum", 10**99) <= MAX_INT64, path


@given(st.integers() | st.integers(-2, 2).map(lambda near: MAX_INT64 + near) | st.integers(0, 10**5000))
def test_a_number_is_returned_exactly_where_bson_takes_it(number):
    found = int64_of(digits_of(number))
    if 0 < number <= MAX_INT64:
        assert found == number
        bson.encode({"number": found})
    else:
        assert found is None


@given(st.text() | st.from_regex(r"\s*[0-9]{1,40}\s*", fullmatch=True) | st.just("9" * 5000))
def test_any_text_is_a_number_of_64_bits_or_none(text):
    found = int64_of(digits_of(text))
    assert found is None or (0 < found <= MAX_INT64 and int(text.strip()) == found)


@pytest.mark.parametrize("value", [None, True, False, 0, -1, 1.5, "", " ", "0", "000", "-1", "1.5", "١٢٣", "²", [], {}])
def test_what_is_no_positive_whole_number_has_no_digits(value):
    assert digits_of(value) is None


@given(st.text(alphabet=st.characters(), max_size=80))
def test_a_field_name_is_one_that_bson_takes_and_no_query_means_anything_by(name):
    if is_field_name(name):
        bson.encode({name: 1})
        assert not set(name) & set("$.\0")


@given(st.text(alphabet=st.characters(), max_size=20))
def test_whole_text_is_what_bson_takes(text):
    try:
        bson.encode({"text": text})
    except (UnicodeEncodeError, bson.errors.InvalidStringData):
        assert not is_whole_text(text)
    else:
        assert is_whole_text(text)
