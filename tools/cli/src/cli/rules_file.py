"""A merchant's rules as a file that a person edits: YAML (and so JSON), checked before anything is stored. Pure.

A rule that cannot work must not be stored: the services would skip it silently, or refuse the whole merchant.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from ai.rules import Patterns
from common.merchants import Rule
from common.wrong_input import problems

RULES = TypeAdapter(tuple[Rule, ...])
SENTIMENTS = frozenset({"positive", "neutral", "negative"})
PLACEHOLDERS = frozenset({"price_link", "shop"})
NAMED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
FOREIGN_LINE_ENDS = frozenset("\r\x85\u2028\u2029")
MOST_RULES = 200
MOST_TOLD = 5
MOST_BYTES = 1024 * 1024


class NotRules(ValueError):
    """The text is not a list of valid rules; the message says where and why."""


def read_rules(text: str) -> tuple[Rule, ...]:
    """Read rules from YAML or JSON. Raises NotRules."""
    if len(text.encode()) > MOST_BYTES:
        raise NotRules("the file is above 1 MiB")
    try:
        loaded = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}: " if mark else ""
        raise NotRules(f"{place}{getattr(error, 'problem', None) or 'not YAML'}") from None
    if isinstance(loaded, dict) and set(loaded) == {"rules"}:
        loaded = loaded["rules"]
    if not isinstance(loaded, list):
        raise NotRules("there must be a list of rules")
    try:
        rules = RULES.validate_python(loaded)
    except ValidationError as error:
        raise NotRules(_listed([f"{_place(loaded, one.place)}: {one.fix}" for one in problems(error)])) from None
    if wrong := impossible(rules):
        raise NotRules(_listed(wrong))
    return rules


def _listed(wrong: Sequence[str]) -> str:
    more = f"; and {len(wrong) - MOST_TOLD} more" if len(wrong) > MOST_TOLD else ""
    return "; ".join(wrong[:MOST_TOLD]) + more


def impossible(rules: Sequence[Rule]) -> list[str]:
    """Return a line for each rule that is well formed and still cannot work."""
    if len(rules) > MOST_RULES:
        return [f"there are {len(rules)} rules, at most {MOST_RULES} are read"]
    wrong = [f"there are {n} rules named {name}" for name, n in Counter(r.name for r in rules).items() if n > 1]
    for rule in rules:
        wrong += [f"{rule.name}: {one}" for one in _impossible(rule)]
    return wrong


def _impossible(rule: Rule) -> list[str]:
    wrong = []
    when, then = rule.when, rule.then
    if when.match == "regex":
        wrong += [
            f"when.values: {value!r} is not a regular expression, or repeats too much"
            for value in when.values
            if Patterns().search(value, "") == "not_compiled"
        ]
    if when.match == "sentiment" and (unknown := sorted(set(when.values) - SENTIMENTS)):
        wrong.append(f"when.values: {', '.join(unknown)} is no sentiment; there are {', '.join(sorted(SENTIMENTS))}")
    if when.channel != "comment" and (then.private_reply or then.hide_comment):
        wrong.append("then.private_reply and then.hide_comment are for comments")
    if not (then.reply or then.private_reply or then.hide_comment or then.alert):
        wrong.append("then: it does nothing; give reply, private_reply, hide_comment or alert")
    for text in (*then.reply.values(), *then.private_reply.values()):
        wrong += _wrong_placeholders(text)
    return wrong


def _wrong_placeholders(text: str) -> list[str]:
    """Find misspelt placeholders: a customer would read them. Other braces are left as they are when it is sent."""
    unknown = sorted(set(NAMED.findall(text)) - PLACEHOLDERS)
    return [f"then: {{{name}}} is unknown; there are {{price_link}} and {{shop}}" for name in unknown]


def _place(loaded: list[Any], location: tuple[int | str, ...]) -> str:
    """Name a rule by its name where it has one; a number is hard to find in a long file."""
    index, *rest = location
    rule = loaded[index] if isinstance(index, int) and index < len(loaded) else None
    name = rule.get("name") if isinstance(rule, dict) else None
    return ".".join([str(name) if name else f"rule {int(index) + 1}", *map(str, rest)])


def write_rules(rules: Sequence[Rule]) -> str:
    """Return rules as YAML that `read_rules` reads to the same."""
    data = [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]
    return yaml.dump(data, Dumper=_Exact, allow_unicode=True, sort_keys=False, width=110) if data else "[]\n"


class _Exact(yaml.SafeDumper):
    """Escapes the line ends that YAML would read back as another one."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if set(text) & FOREIGN_LINE_ENDS else None)


_Exact.add_representer(str, _text)
