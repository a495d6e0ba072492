"""How the Graph API writes things: the ``fields=`` language (names, each with an optional nested list in braces), paths
with a version in front, and times."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from devkit.sandbox.calls import Call

Fields = dict[str, "Fields"]

_VERSION = re.compile(r"^/v\d+(?:\.\d+)?(?=/|$)")
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


def parts_of(path: str) -> list[str]:
    """Return the segments of a path behind its version, of which any is accepted, and none."""
    return [part for part in _VERSION.sub("", path).split("/") if part]


def head_of(call: Call) -> str:
    """Return the id that a call is about: the first segment of its path."""
    return parts_of(call.request.path)[0]


def graph_time(seconds: float) -> str:
    """Return a moment, in seconds since 1970, as the platform writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")
