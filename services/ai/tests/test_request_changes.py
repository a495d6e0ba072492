"""Changing a refused request ends, whatever a server says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai.completion import ModelFailed, Refusal
from ai.llm.capabilities import MAX_AGE, Capabilities, Learnt, guessed, refused_parameter
from ai.llm.request import MAX_ROOM, Changes, Request

NAMES = ["max_tokens", "max_completion_tokens", "temperature", "reasoning_effort", "response_format"]
MESSAGES = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
REFUSALS = st.builds(
    Refusal,
    param=st.sampled_from(["", "messages", "model", "response_format.json_schema", *NAMES]),
    code=st.sampled_from(["", "unsupported_parameter", "context_length_exceeded", "model_not_found"]),
    words=st.lists(st.sampled_from([*NAMES, "too large", "thinking", "'high'", "'none'", "json schema"])).map(" ".join),
)
FAILURES = st.builds(
    lambda reason, refusal, only_thoughts: ModelFailed(reason, refusal=refusal, only_thoughts=only_thoughts),
    st.sampled_from(["bad_request", "bad_request", "bad_request", "truncated", "not_valid"]),
    REFUSALS,
    st.booleans(),
)


class Unobserved:
    def images_refused(self):
        pass


@given(st.sampled_from(["gpt-4o", "gpt-5", "x"]), st.lists(FAILURES, max_size=60), st.sampled_from([0, 10, 4000]))
def test_no_form_is_asked_twice_and_the_room_is_bounded(model, failures, thinking):
    learnt = Learnt(guessed(model, thinking), now=lambda: 0.0)
    changes = Changes(Request(learnt.form(), MESSAGES), learnt, thinking=thinking, observer=Unobserved())

    def now():
        return changes.request.form, len(changes.request.messages)

    asked = [now(), *(now() for failure in failures if changes.after(failure))]
    assert len(set(asked)) == len(asked)
    assert all(form.thinking <= thinking * MAX_ROOM for form, _ in asked)
    assert learnt.form().thinking <= thinking * MAX_ROOM


@given(REFUSALS)
def test_only_what_was_sent_can_have_been_refused(refusal):
    form = Capabilities("max_completion_tokens", temperature=False, format=None, effort="low")
    assert refused_parameter(form, refusal) in {None, "max_completion_tokens", "reasoning_effort"}


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("gpt-5-mini", True),
        ("o4-mini", True),
        ("openai/gpt-5-mini", True),
        ("azure:o3", True),
        ("gpt-10", True),
        ("gpt-4o-mini", False),
        ("gpt-oss-20b", False),
        ("my-o1-shop", False),
        ("llama-3.3-70b", False),
    ],
)
def test_a_models_name_gives_the_first_guess(model, reasons):
    assert (guessed(model, 4000).limit == "max_completion_tokens") is reasons


def test_what_was_learnt_expires():
    clock = [0.0]
    learnt = Learnt(guessed("m", 0), now=lambda: clock[0])
    assert learnt.learn(Capabilities(temperature=False))
    learnt.prove(Capabilities(temperature=False))
    clock[0] = MAX_AGE - 1
    assert learnt.form() == Capabilities(temperature=False)
    assert learnt.is_proven(learnt.form())
    clock[0] = MAX_AGE
    assert learnt.form() == Capabilities()
    assert not learnt.is_proven(learnt.form())
