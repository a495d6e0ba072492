"""Whether what a model wrote as its reply is meant for a program, or says nothing: no customer is to read it. Pure."""

import re
from typing import Final

_OBJECT = re.compile(
    r"\{\s{0,20}(?:\\{0,3}[\"'“”‘’«][^\"'“”‘’«»{}\n]{1,60}[\"'“”‘’»]|[A-Za-z_][A-Za-z0-9_]{0,40})\s{0,20}:"
)
"""The first member of an object, whatever its quotes: JSON, Python, JavaScript, or what a keyboard made of them."""
_MEMBER = re.compile(r"[\"'](?:reply|intent|sentiment|escalate|lead)[\\\"']{1,4}\s{0,20}:")
_LINE = re.compile(r"^[ \t*-]{0,8}(?:intent|sentiment|escalate)[*\"']{0,4} ?[:=]", re.MULTILINE | re.IGNORECASE)
_CALL = re.compile(r"<\|?/?(?:tool_call|tool_response|function_call|function=|invoke )", re.IGNORECASE)

_NOTHING: Final = frozenset(
    {"null", "none", "nil", "undefined", "nan", "n/a", "true", "false", "string", "what the customer reads"}
)
"""What languages call nothing, and what the schema says instead of a reply."""


def is_for_a_machine(text: str) -> bool:
    """Tell whether a text holds an object of any notation, members of an answer, or the call of a tool."""
    return any(pattern.search(text) for pattern in (_OBJECT, _MEMBER, _LINE, _CALL))


def says_nothing(text: str) -> bool:
    """Tell whether a text is a word for nothing."""
    return text.strip(" .!\"'`<>[](){}\n\t").casefold() in _NOTHING
