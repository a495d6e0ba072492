"""Examples of a page are read as they stand, and compared by shape."""

import pytest

from devkit.http_examples import Example, differences, examples

PAGE = """
```http
POST /things
Idempotency-Key: 7

{"a": 1}

HTTP/1.1 202 Accepted
Location: /things/1

{"id": "1"}
```

```http
GET /things/1

HTTP/1.1 404 Not Found
```
"""


def test_a_request_and_its_answer_are_read_with_headers_and_bodies():
    assert examples(PAGE) == [
        Example("POST", "/things", {"Idempotency-Key": "7"}, {"a": 1}, 202, {"Location": "/things/1"}, {"id": "1"}),
        Example("GET", "/things/1", {}, None, 404, {}, None),
    ]


def test_an_example_without_an_answer_is_a_mistake():
    with pytest.raises(ValueError, match="without an answer"):
        examples("```http\nGET /things\n```\n")


@pytest.mark.parametrize(
    ("shown", "real", "found"),
    [
        ({"a": 1}, {"a": 2.5}, []),
        ({"a": None}, {"a": "x"}, []),
        ({"a": "x"}, {"a": "y"}, []),
        ({"a": [{"b": 1}]}, {"a": [{"c": 1}]}, [".a[].b: shown, not answered", ".a[].c: answered, not shown"]),
        ({"a": "1"}, {"a": 1}, [".a: shown as str, answered as int"]),
        ({"a": {}}, {"a": []}, [".a: shown as dict, answered as list"]),
    ],
)
def test_fields_and_types_are_compared_and_values_are_not(shown, real, found):
    assert differences(shown, real) == found
