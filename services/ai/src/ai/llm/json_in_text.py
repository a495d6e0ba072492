"""Finding JSON in what a model wrote: alone, after its thoughts, in a code fence, or behind a sentence. Pure."""

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_STARTS = 16
"""How many braces are tried as the beginning of an object: each may be read to the end of the text."""

_THOUGHT = r"(?:think|thinking|thoughts?|reason|reasoning|analysis|scratch_?pad|reflection|inner_monologue)"
_THOUGHTS_END = re.compile(
    rf"(?:<|&lt;) ?/ ?(?:seed:)?{_THOUGHT} ?(?:>|&gt;)"
    rf"|<\|/{_THOUGHT}\|>|<\|end_of_(?:thought|thinking)\|>|◁/think▷|\[/think(?:ing)?\]|\.\.\. ?done thinking\.?"
    r"|<\|start\|>[a-z]{0,20}<\|message\|>|<\|channel\|> ?final[^<>]{0,40}<\|message\|>",
    re.IGNORECASE,
)
_THOUGHTS_BEGIN = re.compile(
    rf"(?:<|&lt;) ?(?:seed:)?{_THOUGHT}(?: [^<>]{{0,100}})?(?:>|&gt;)"
    rf"|<\|{_THOUGHT}\|>|<\|begin_of_(?:thought|thinking)\|>|◁think▷|\[think(?:ing)?\]|\A\s{{0,20}}thinking\.\.\.\s"
    r"|<\|channel\|>(?! ?final)",
    re.IGNORECASE,
)
"""Marks of the templates that are in use: of DeepSeek and Qwen, Seed, Mistral, Kimi, Sky, gpt-oss, Ollama's shell."""
_FENCED = re.compile(r"```[a-zA-Z0-9_-]{0,20}\s{0,5}([^`]{1,100000})```")
_decoder = json.JSONDecoder(strict=False)  # models write line breaks inside strings


def after_thoughts(text: str) -> str | None:
    """Return what follows a model's thoughts, None where they never end: what stands in them is a draft."""
    end = max((mark.end() for mark in _THOUGHTS_END.finditer(text)), default=0)
    rest = text[end:]
    return None if _THOUGHTS_BEGIN.search(rest) else rest.strip()


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
