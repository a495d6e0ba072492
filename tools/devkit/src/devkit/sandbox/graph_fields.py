"""The ``fields=`` language of the Graph API: names, each with an optional nested list in braces."""

import re
from collections.abc import Mapping
from typing import Any

Fields = dict[str, "Fields"]

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|\.limit\(\d+\)|[{},]")


def parse_fields(text: str) -> Fields:
    """Read ``id,messages.limit(5){id,from}`` as ``{"id": {}, "messages": {"id": {}, "from": {}}}``."""
    root: Fields = {}
    stack = [root]
    last: Fields = root
    for word in _WORD.findall(text):
        if word == "{":
            stack.append(last)
        elif word == "}":
            if len(stack) > 1:
                stack.pop()
        elif word[0].isalpha() or word[0] == "_":
            last = stack[-1].setdefault(word, {})
    return root


def pick(known: Mapping[str, Any], fields: Fields, default: tuple[str, ...]) -> dict[str, Any]:
    """Return the asked-for fields that are known, or the default ones; ``id`` always comes along."""
    names = list(fields) or list(default)
    picked = {name: known[name] for name in names if name in known}
    if "id" in known:
        picked.setdefault("id", known["id"])
    return picked
