"""Errors that people see: what a field must be, in plain words, and never what was written in it."""

import re
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from common.merchants import Merchant, Rule
from common.wrong_input import INSTAGRAM_ID, problems

FOR_PROGRAMMERS = re.compile(
    r"should|Input|valid (string|integer|number|list|dictionary|tuple|boolean)|error,|instance of"
)
JUNK: tuple[Any, ...] = (
    None,
    True,
    17,
    1.5,
    "",
    "private words",
    "x" * 20_000,
    [],
    ["private words"],
    {},
    {"a": 1},
    [{}],
    b"\xff",
)


class Sample(BaseModel, extra="forbid"):
    """One field of each kind."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=5)] = "x"
    id: Annotated[str, StringConstraints(pattern=INSTAGRAM_ID)] = "1"
    count: int = Field(default=1, ge=1, le=9)
    share: float = Field(default=1, gt=0, lt=1, allow_inf_nan=False)
    flag: bool = True
    kind: Literal["a", "b"] = "a"
    some: tuple[int, ...] = Field(default=(), max_length=2)
    by: dict[Literal["ar", "en"], int] = Field(default_factory=dict)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": ""}, "text must not be empty"),
        ({"text": "123456"}, "text must have at most 5 characters"),
        ({"text": 1}, "text must be a text"),
        ({"id": "abc"}, "id must be an Instagram id: 1 to 32 digits"),
        ({"count": 0}, "count must be at least 1"),
        ({"count": "ten"}, "count must be a whole number"),
        ({"count": 10}, "count must be at most 9"),
        ({"share": 0}, "share must be above 0"),
        ({"share": 1}, "share must be below 1"),
        ({"share": float("nan")}, "share must be a finite number"),
        ({"flag": "perhaps"}, "flag must be true or false"),
        ({"kind": "c"}, "kind must be one of a, b"),
        ({"some": 1}, "some must be a list"),
        ({"some": [1, "x"]}, "some.1 must be a whole number"),
        ({"some": [1, 2, 3]}, "some must have at most 2 entries"),
        ({"by": {"fr": 1}}, "by.fr must be one of ar, en"),
        ({"txet": 1}, "txet is no field here"),
    ],
)
def test_each_problem_names_its_field_and_what_it_must_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Sample(**given)
    assert [problem.sentence() for problem in problems(caught.value)] == [said]


@pytest.mark.parametrize("model", [Merchant, Rule, Sample])
def test_no_field_of_a_merchant_answers_in_a_programmers_words(model: type[BaseModel]) -> None:
    seen = 0
    for name in model.model_fields:
        for junk in JUNK:
            with pytest.raises(ValidationError) as caught:
                model.model_validate({name: junk, "no_such_field": 1})
            for problem in problems(caught.value):
                seen += 1
                assert not FOR_PROGRAMMERS.search(problem.fix), (problem.place, problem.fix)
                assert "private words" not in problem.fix
    assert seen
