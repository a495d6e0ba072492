"""Reading what a server answered: from bytes to a completion, or to a reason why there is none. Pure.

Servers differ in where they put a model's words, models in what they put around their JSON. Read is: an answer in any
choice; content as text or as a list of parts; the arguments of a call nobody offered; JSON by itself, in a code fence,
after thoughts, behind a sentence, in a list of one, in an object around it, or written into a string. Not read is JSON
inside thoughts that never ended, and whatever has no words for the customer in the end. An error in the body decides,
whatever the status says. Of a key that stands twice in an object the last one counts.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from ai.answer import Answer
from ai.completion import Completion, ModelFailed, Usage
from ai.llm.json_in_text import after_thoughts, parsed, values_in, without_half_characters
from ai.llm.refusal import error_in_answer, reason_of_answer, refusal_of

MAX_CONTENT = 100_000
"""Characters of one message: far above any answer, thoughts included."""
MAX_CHOICES = 8
MAX_NESTING = 3
MAX_TOKENS_COUNTED = 10**9
MAX_MODEL_NAME = 200

_LINE_END = re.compile(r"[\r\n]")
_CUT_OFF = ("length", "max_tokens", "MAX_TOKENS", "model_length")
_UNREADABLE = (ValidationError, ValueError, TypeError, RecursionError)


def read_body(body: bytes) -> Completion:
    """Return the completion in the body of an answer of HTTP 200. Raises ModelFailed."""
    text = body.decode("utf-8", "replace").lstrip("\ufeff").strip()
    try:
        return read_completion(json.loads(text))
    except (ValueError, RecursionError):
        pass
    try:
        return read_completion(_streamed(text))
    except (ValueError, RecursionError):
        raise ModelFailed("not_valid") from None


def _streamed(text: str) -> object:
    """Put together what a server streamed although nobody asked it to: the content of its chunks, in order.

    Comments, names and numbers of events may stand between them. A chunk with an error is the whole answer then.
    Raises ValueError.
    """
    lines = (line.removeprefix("data:").strip() for line in _LINE_END.split(text) if line.startswith("data:"))
    chunks = [json.loads(line) for line in lines if line and line != "[DONE]"]
    content, finish = "", None
    for chunk in chunks:
        if error_in_answer(chunk) is not None:
            return chunk
        choices = _member(chunk, "choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        piece = _member(_member(choice, "delta") or _member(choice, "message"), "content")
        content += piece if isinstance(piece, str) else ""
        finish = _member(choice, "finish_reason") or finish
    spent = next((used for chunk in reversed(chunks) if (used := _member(chunk, "usage"))), None)
    message = {"content": content}
    return {
        "model": _member(chunks[0], "model") if chunks else "",
        "choices": [{"message": message, "finish_reason": finish}],
        "usage": spent,
    }


def read_completion(response: object) -> Completion:
    """Return what the model answered. Raises ModelFailed when it refused, was cut off, or answered something else."""
    usage = usage_of(response)
    if (error := error_in_answer(response)) is not None:
        _fail(error, usage)
    choices = _member(response, "choices")
    if not isinstance(choices, list) or not choices:
        raise ModelFailed("not_valid", usage)
    failed: ModelFailed | None = None
    for choice in choices[:MAX_CHOICES]:
        try:
            return Completion(_answer_of(choice, usage), _model_of(response), usage)
        except ModelFailed as failure:
            failed = failed or failure
    raise failed or ModelFailed("not_valid", usage)


def usage_of(response: object) -> Usage:
    """Return what was spent; what makes no sense counts as nothing."""
    spent = _member(response, "usage")
    return Usage(_count(_member(spent, "prompt_tokens")), _count(_member(spent, "completion_tokens")))


def read_answer(text: str) -> Answer | None:
    """Return the answer in a model's words, or None."""
    for candidate in values_in(text[:MAX_CONTENT]):
        if (answer := _validated(candidate, MAX_NESTING)) is not None:
            return answer
    return None


def _model_of(response: object) -> str:
    name = _member(response, "model")
    return without_half_characters(name)[:MAX_MODEL_NAME] if isinstance(name, str) else ""


def _answer_of(choice: object, usage: Usage) -> Answer:
    if (error := _member(choice, "error")) is not None:
        _fail(error, usage)
    finish, message = _member(choice, "finish_reason"), _member(choice, "message")
    if finish == "content_filter" or _member(message, "refusal"):
        raise ModelFailed("refused", usage)
    texts, refused = _texts(message)
    if refused:
        raise ModelFailed("refused", usage)
    for text in texts:
        if (answer := read_answer(text)) is not None:
            return answer
    if finish in _CUT_OFF:
        raise ModelFailed("truncated", usage, only_thoughts=all(not after_thoughts(text) for text in texts))
    raise ModelFailed("not_valid", usage)


def _fail(error: object, usage: Usage) -> NoReturn:
    raise ModelFailed(reason_of_answer(error), usage, refusal=refusal_of(error))


def _texts(message: object) -> tuple[list[str], bool]:
    """Return what may hold the answer, and whether a part of the content is a refusal."""
    content = _member(message, "content")
    parts = [one for one in content[:100] if isinstance(one, Mapping)] if isinstance(content, list) else []
    if any(one.get("type") == "refusal" and one.get("refusal") for one in parts):
        return [], True
    if isinstance(content, str):
        texts = [content]
    elif isinstance(content, Mapping):  # the answer itself, where a server has parsed it already
        texts = [json.dumps(content)]
    else:
        said = [one.get("text") for one in parts if one.get("type") in ("text", "output_text", None)]
        texts = ["".join(one for one in said if isinstance(one, str))]
    calls = _member(message, "tool_calls")
    functions = [_member(one, "function") for one in calls[:MAX_CHOICES]] if isinstance(calls, list) else []
    for function in [*functions, _member(message, "function_call")]:
        arguments = _member(function, "arguments")
        texts.append(json.dumps(arguments) if isinstance(arguments, Mapping) else str(arguments or ""))
    return [text for text in texts if text], False


def _validated(value: object, nesting: int) -> Answer | None:
    """Return the answer that a value is, or that it wraps."""
    if nesting == 0:
        return None
    if isinstance(value, str):
        return next((one for inner in parsed(value) if (one := _validated(inner, nesting - 1))), None)
    if isinstance(value, list):
        return _validated(value[0], nesting - 1) if len(value) == 1 else None
    if not isinstance(value, dict):
        return None
    if "reply" not in value:
        wrapped = [one for one in value.values() if isinstance(one, dict)]
        return _validated(wrapped[0], nesting - 1) if len(wrapped) == 1 else None
    try:
        return Answer.model_validate(value)
    except _UNREADABLE:
        return None


def _member(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _count(value: object) -> int:
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < MAX_TOKENS_COUNTED
    return value if known and isinstance(value, int) else 0
