"""A merchant's rules as a file: read back as written, and refused with a place and a reason."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai.rules import DEFAULT_RULES
from cli.rules_file import NotRules, read_rules, write_rules
from common.merchants import Rule, Then, When

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="{}"), min_size=1, max_size=30)
RULES = st.builds(
    Rule,
    name=st.from_regex(r"[a-z][a-z0-9-]{0,10}", fullmatch=True),
    when=st.builds(When, channel=st.just("comment"), match=st.just("contains"), values=st.tuples(TEXTS)),
    then=st.builds(Then, reply=st.dictionaries(st.sampled_from(["ar", "fr", "en"]), TEXTS, min_size=1)),
    enabled=st.booleans(),
)


def rule(**changes: object) -> dict[str, object]:
    return {
        "name": "hours",
        "when": {"channel": "direct_message", "match": "contains", "values": ["دوام"]},
        "then": {"reply": {"ar": "من 9 للـ 9"}},
    } | changes


def refused(*rules: dict[str, object]) -> str:
    with pytest.raises(NotRules) as caught:
        read_rules(json.dumps(rules))
    return str(caught.value)


@settings(max_examples=40)
@given(st.lists(RULES, max_size=4, unique_by=lambda one: one.name))
def test_rules_read_back_as_they_were_written(rules: list[Rule]) -> None:
    assert read_rules(write_rules(rules)) == tuple(rules)


def test_the_default_rules_are_valid_and_readable() -> None:
    written = write_rules(DEFAULT_RULES)
    assert read_rules(written) == DEFAULT_RULES
    assert "مرحبا" in written


def test_json_and_a_rules_key_are_read_too() -> None:
    assert read_rules(json.dumps([rule()])) == read_rules(json.dumps({"rules": [rule()]}))
    assert read_rules("[]") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a list of rules"),
        ("hello", "a list of rules"),
        ("a: [1", "line 1"),
        ("- {name: x", "line"),
        ("!!python/object/apply:os.system [true]", "constructor"),
        ("[" * 1200, "YAML"),
    ],
)
def test_what_is_no_list_of_rules_is_said(text: str, said: str) -> None:
    with pytest.raises(NotRules, match=said):
        read_rules(text)


def test_a_misspelt_field_is_found_by_the_rules_name() -> None:
    assert "hours.then.replay: is no field here" in refused(rule(then={"replay": {"ar": "x"}}))
    assert "rule 1.name" in refused({"when": rule()["when"], "then": rule()["then"]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"when": {"channel": "comment", "match": "regex", "values": ["(unclosed"]}}, "not a regular expression"),
        ({"when": {"channel": "comment", "match": "regex", "values": ["(a{999}){999}"]}}, "repeats too much"),
        ({"when": {"channel": "comment", "match": "sentiment", "values": ["angry"]}}, "angry is no sentiment"),
        ({"then": {}}, "it does nothing"),
        ({"then": {"private_reply": {"ar": "x"}}}, "are for comments"),
        ({"then": {"reply": {"fr": "voici {prix_link}"}}}, "{prix_link} is unknown"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(changes: dict[str, object], said: str) -> None:
    assert said in refused(rule(**changes))


def test_what_a_field_must_be_is_said_in_plain_words() -> None:
    wrong = {"channel": "direct_message", "match": "contians", "values": []}
    assert refused(rule(when=wrong)).startswith("hours.when.match: must be one of contains, equals, regex")
    assert "hours.when: values: at least one is needed" in refused(rule(when={**wrong, "match": "contains"}))
    many = refused(*(rule(name=f"r{number}", enabled="perhaps") for number in range(8)))
    assert many.startswith("r0.enabled: must be true or false; r1.enabled")
    assert many.endswith("; and 3 more")


def test_two_rules_of_one_name_are_refused() -> None:
    assert "2 rules named hours" in refused(rule(), rule())


def test_braces_that_name_nothing_stay_as_they_are() -> None:
    assert read_rules(json.dumps([rule(then={"reply": {"en": "Sizes {S, M} :{ see {price_link}"}})]))
