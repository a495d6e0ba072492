"""The requests and answers that a page of the documentation shows, so that tests can hold them to the real routes.

An example is a block ```http: the request line, headers, an empty line and a JSON body, then the answer likewise.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

BLOCK = re.compile(r"^```http\n((?:(?!```)[^\n]*\n)*+)```$", re.MULTILINE)


@dataclass(frozen=True)
class Message:
    """One half of an example: its first line, its headers, and its body as JSON, None where it has none."""

    first: str
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True)
class Example:
    """A request and the answer to it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    status: int
    answer_headers: Mapping[str, str]
    answer: Any


def examples(page: str) -> list[Example]:
    """Return the examples of a page in order. Raises ValueError where one cannot be read."""
    return [_example(block) for block in BLOCK.findall(page)]


def _example(block: str) -> Example:
    asked, _, answered = block.partition("HTTP/1.1 ")
    if not answered:
        raise ValueError(f"an example without an answer: {block[:60]!r}")
    request, answer = _message(asked), _message(answered)
    method, path = request.first.split(" ")
    status = int(answer.first.split(" ")[0])
    return Example(method, path, request.headers, request.body, status, answer.headers, answer.body)


def _message(text: str) -> Message:
    head, _, body = text.strip().partition("\n\n")
    first, *lines = head.splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    return Message(first, headers, json.loads(body) if body.strip() else None)


def differences(shown: Any, real: Any, place: str = "") -> list[str]:
    """Return where an answer has other fields, or values of another type, than the page shows; null is any type."""
    if shown is None or real is None:
        return []
    if isinstance(shown, dict) and isinstance(real, dict):
        odd = [f"{place}.{name}: shown, not answered" for name in shown.keys() - real.keys()]
        odd += [f"{place}.{name}: answered, not shown" for name in real.keys() - shown.keys()]
        for name in shown.keys() & real.keys():
            odd += differences(shown[name], real[name], f"{place}.{name}")
        return sorted(odd)
    if isinstance(shown, list) and isinstance(real, list):
        pairs = zip(shown, real, strict=False)
        return [odd for one, other in pairs for odd in differences(one, other, f"{place}[]")]
    numbers = (int, float)
    same = type(shown) is type(real) or (isinstance(shown, numbers) and isinstance(real, numbers))
    return [] if same else [f"{place}: shown as {type(shown).__name__}, answered as {type(real).__name__}"]
