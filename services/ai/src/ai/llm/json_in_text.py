"""Finding JSON in what a model wrote: alone, after its thoughts, in a code fence, or behind a sentence. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_STARTS = 16
"""How many braces are tried as the beginning of an object: each may be read to the end of the text."""

_THOUGHTS_END: Final = ("</think>", "</thinking>", "</thought>", "</reasoning>", "[/think]", "<|message|>")
_THOUGHTS_BEGIN: Final = ("<think>", "<thinking>", "<thought>", "<reasoning>", "[think]", "<|channel|>")
_FENCED = re.compile(r"```[a-zA-Z0-9_-]{0,20}\s{0,5}([^`]{1,100000})```")
_decoder = json.JSONDecoder(strict=False)  # models write line breaks inside strings


def after_thoughts(text: str) -> str | None:
    """Return what follows a model's thoughts, None where they never end: what stands in them is a draft."""
    lowered = text.lower()
    if len(lowered) != len(text):  # a letter whose small form is longer: places would not agree
        lowered = text
    end = max((at + len(mark) for mark in _THOUGHTS_END if (at := lowered.rfind(mark)) >= 0), default=0)
    return None if any(mark in lowered[end:] for mark in _THOUGHTS_BEGIN) else text[end:].strip()


def without_half_characters(text: str) -> str:
    """Return the text without lone surrogates: JSON can name half an emoji, no store and no message can keep it."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def parsed(text: str) -> Iterator[Any]:
    """Yield what the whole text is as JSON, or nothing."""
    try:
        yield json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return


def values_in(text: str) -> Iterator[Any]:
    """Yield every JSON value that the text may be meant to be, likeliest first."""
    text = text.lstrip("\ufeff").strip()
    yield from parsed(text)
    after = after_thoughts(text)
    if after is None:
        return
    yield from parsed(after)
    for found in _FENCED.finditer(after):
        yield from parsed(found[1].strip())
    at = -1
    for _ in range(MAX_STARTS):
        if (at := after.find("{", at + 1)) < 0:
            return
        try:
            yield _decoder.raw_decode(after, at)[0]
        except (ValueError, RecursionError):
            continue
