"""Whatever a body holds, the answer names fields in plain words and repeats nothing that was written."""

import json
import re
from typing import Any, get_args

import pytest
from litestar import Response

from common.events.replies import InThread
from delivery.api.answers import read
from delivery.api.conversation_requests import ControlBody, ReplyBody
from delivery.api.utility_messages import SendRequest

FOR_PROGRAMMERS = re.compile(r"should|Input|error,|instance of|literal|dictionary|tuple|function-wrap")
JUNK: tuple[Any, ...] = (None, True, 17, 1.5, "", " ", "private words", "x" * 20_000, [], ["private words"], {}, [{}])
ACTIONS = get_args(InThread)


def refusals(model: type[Any], body: dict[str, Any]) -> list[str]:
    answer = read(json.dumps(body).encode(), model, example="{}")
    assert isinstance(answer, Response), body
    return [answer.content["detail"], *(f"{one['field']}: {one['problem']}" for one in answer.content["extra"])]


@pytest.mark.parametrize("model", [SendRequest, ReplyBody, ControlBody])
def test_no_field_is_refused_in_a_programmers_words(model: type[Any]) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    for name in names:
        for junk in JUNK:
            for told in refusals(model, {name: junk, "no_such_field": 1}):
                assert not FOR_PROGRAMMERS.search(told), told
                assert "private words" not in told


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_no_field_of_an_action_is_refused_in_a_programmers_words(action: type[Any]) -> None:
    kind = action.model_fields["kind"].default
    for name in action.model_fields:
        for junk in JUNK:
            body = {"action": {"kind": kind, name: junk}, "no_such_field": 1}
            for told in refusals(ReplyBody, body):
                assert not FOR_PROGRAMMERS.search(told), told
                assert "private words" not in told
