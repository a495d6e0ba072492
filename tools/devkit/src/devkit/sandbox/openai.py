"""An OpenAI-compatible model: the shapes and refusals of the real one, around the small talk of `talk.py`.

Recordings are heard by `transcription.py`, images are noted and never fetched.
It honours ``response_format`` (text, ``json_object``, ``json_schema``), the token limit, and asks for a bearer key.
Answers can be scripted for a test or a demo through the control API; the first script whose words are in the last
customer message is used. A scripted reply may name the tags of what it answers (``#c17m3``), so that a test can tell
which messages an answer was made for.
"""

import json
import re
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from devkit.sandbox.calls import Answer, Call, Request, Upload
from devkit.sandbox.faults import FaultRule
from devkit.sandbox.recordings import words_in
from devkit.sandbox.schema_filling import fill
from devkit.sandbox.talk import Thought, answer
from devkit.sandbox.transcription import problem_with, transcribed

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-5-mini", "o4-mini")
CONTEXT_TOKENS = 128_000
MAX_SCRIPTS = 1000
TOKENS_A_MESSAGE = 4

_REASONING = re.compile(r"^(?:[a-z]{1,20}/)?(?:o\d|gpt-[5-9])")
"""Models that think before they answer, also behind a router's name."""
THOUGHTS = {"minimal": 0, "low": 128, "medium": 640, "high": 2560}
"""Tokens by effort: what they think is cut off with the answer, and medium is what they think by default."""

CUSTOMER_ROLES = frozenset({"user"})

TAGS = "{tags}"
"""Stands in a scripted reply for the tags of the customer's messages since the last answer, each once, in order."""
_TAG = re.compile(r"#[a-z0-9]+")


class Script(BaseModel):
    """An answer laid down beforehand for customer messages that contain certain words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contains: str
    """The words; an empty text is in every message."""
    reply: str | None = None
    """The reply, `TAGS` filled in; the rest of a structured answer is understood as usual."""
    content: str | dict[str, Any] | None = None
    """The whole content instead, as text or as an object."""
    refusal: str | None = None
    finish_reason: Literal["stop", "length", "content_filter"] = "stop"
    times: int | None = Field(default=None, ge=1)


class Scripts:
    """The answers laid down, each with what it has left."""

    def __init__(self) -> None:
        self._scripts: list[tuple[Script, list[int]]] = []

    def add(self, script: Script) -> None:
        """Lay down an answer; raise ValueError above a thousand."""
        if len(self._scripts) >= MAX_SCRIPTS:
            raise ValueError(f"scripts: {MAX_SCRIPTS} are laid down; clear them first")
        self._scripts.append((script, [0]))

    def take(self, text: str) -> Script | None:
        """Return the first script for this message, counting its use, or None."""
        for script, used in self._scripts:
            if script.contains in text and (script.times is None or used[0] < script.times):
                used[0] += 1
                return script
        return None

    def clear(self) -> None:
        """Forget every script."""
        self._scripts.clear()

    def told(self) -> list[dict[str, Any]]:
        """Return the scripts and their uses as JSON would have them."""
        return [{**script.model_dump(exclude_none=True), "used": used[0]} for script, used in self._scripts]


class OpenAIRoom:
    """The language model."""

    api = "openai"

    def __init__(self, scripts: Scripts, now: Callable[[], float] = time.time) -> None:
        self._scripts = scripts
        self._now = now
        self._count = 0

    def describe(self, request: Request) -> Call:
        """Find the customer's last words, and whom they are about when the metadata says so."""
        kind = {
            ("POST", "/chat/completions"): "completion",
            ("POST", "/audio/transcriptions"): "transcription",
            ("GET", "/models"): "models",
        }.get((request.method, request.path), "unknown")
        fields = request.fields
        metadata = fields.get("metadata") if isinstance(fields.get("metadata"), dict) else {}
        text, _ = _customer(fields.get("messages"))
        upload = fields.get("file")
        if kind == "transcription" and isinstance(upload, Upload):
            text = words_in(upload.content) or ""
        return Call(
            self.api,
            kind,
            request,
            account=str((metadata or {}).get("account", "")),
            contact=str((metadata or {}).get("contact") or fields.get("user") or ""),
            text=text,
        )

    def perform(self, call: Call) -> Answer:
        """Answer, or refuse as the API would."""
        request = call.request
        if not request.bearer:
            return self._error(401, "No API key was given: Authorization: Bearer <key>", "invalid_request_error")
        if call.kind == "models":
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "sandbox"} for name in MODELS]
            return Answer(200, {"object": "list", "data": listed})
        if call.kind == "unknown":
            message = f"Unknown request URL: {request.method} /v1{request.path}"
            return self._error(404, message, "invalid_request_error", "unknown_url")
        if call.kind == "transcription":
            refused, code = problem_with(request.fields)
            if refused:
                return self._error(400, refused, "invalid_request_error", code)
            return transcribed(request.fields)
        problem = _problem(request)
        if problem:
            return self._error(400, problem, "invalid_request_error")
        if _REASONING.match(request.fields["model"]) and (param := _not_for_reasoning(request.fields)):
            instead = " Use 'max_completion_tokens' instead." if param == "max_tokens" else ""
            message = f"Unsupported parameter: '{param}' is not supported with this model.{instead}"
            return self._error(400, message, "invalid_request_error", "unsupported_parameter", param=param)
        if _tokens_of_messages(request.fields["messages"]) > CONTEXT_TOKENS:
            return self._context_length()
        return self._complete(call)

    def fail(self, call: Call, fault: FaultRule) -> Answer:
        """Give the ordered failure as OpenAI words it."""
        behaviour = fault.behaviour
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
        if call.kind == "transcription" and behaviour in {"malformed", "empty"}:
            return Answer(200, {} if behaviour == "malformed" else {"text": ""})
        if behaviour in {"refusal", "length", "malformed", "empty"} and not _problem(call.request):
            return self._complete(call, behaviour)
        if behaviour == "insufficient_quota":
            message = fault.message or "You exceeded your current quota"
            return self._error(429, message, "insufficient_quota", "insufficient_quota", headers)
        if behaviour == "rate_limited":
            message = fault.message or "Rate limit reached for requests"
            return self._error(fault.status or 429, message, "requests", "rate_limit_exceeded", headers)
        if behaviour == "context_length":
            return self._context_length()
        if behaviour == "invalid_key":
            message = fault.message or "The API key is not valid"
            return self._error(401, message, "invalid_request_error", "invalid_api_key")
        message = fault.message or "The server had an error while processing the request"
        return self._error(fault.status or 500, message, "server_error", None, headers)

    def _complete(self, call: Call, behaviour: str = "") -> Answer:
        fields = call.request.fields
        text, earlier = _customer(fields["messages"])
        thought = answer(text, earlier)
        script = None if behaviour else self._scripts.take(text)
        content: str | None = _content(fields.get("response_format"), thought, script, text)
        finish = "stop" if script is None else script.finish_reason
        refusal = None if script is None else script.refusal
        limit: int = fields.get("max_completion_tokens") or fields.get("max_tokens") or 0
        thoughts = min(_thoughts(fields), limit or CONTEXT_TOKENS)
        if thoughts and thoughts == limit:
            content, finish = "", "length"
        limit -= min(thoughts, limit)
        if content and (behaviour == "length" or finish == "length" or (limit and _tokens(content) > limit)):
            keep = limit if limit and _tokens(content) > limit else max(1, _tokens(content) // 2)
            content, finish = content[: max(1, len(content) * keep // _tokens(content))], "length"
        if behaviour == "refusal":
            refusal = "I can't help with that."
        if refusal is not None or behaviour == "empty":
            content = None
        if behaviour == "malformed":
            content = '{"reply": "' + thought.reply
        prompt = _tokens_of_messages(fields["messages"])
        completion = thoughts + _tokens(content or refusal or "")
        self._count += 1
        name = f"{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}{self._count:016x}"
        body = {
            "id": f"chatcmpl-{name}",
            "object": "chat.completion",
            "created": int(self._now()),
            "model": fields["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": content,
                        "refusal": refusal,
                        "annotations": [],
                    },
                    "logprobs": None,
                    "finish_reason": finish,
                }
            ],
            "usage": {
                "prompt_tokens": prompt,
                "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": thoughts, "audio_tokens": 0},
            },
            "service_tier": "default",
            "system_fingerprint": "fp_sandbox",
        }
        detail = {
            "model": fields["model"],
            "intent": thought.intent,
            "language": thought.language,
            "prompt_tokens": prompt,
            "completion_tokens": completion,
        }
        headers = {"x-request-id": f"req_{name}", "openai-processing-ms": "1", "openai-version": "2020-10-01"}
        return Answer(200, body, headers, effect=True, message_id=f"chatcmpl-{name}", detail=detail)

    def _context_length(self) -> Answer:
        message = f"The messages are longer than this model's context of {CONTEXT_TOKENS} tokens"
        return self._error(400, message, "invalid_request_error", "context_length_exceeded")

    @staticmethod
    def _error(
        status: int,
        message: str,
        kind: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        *,
        param: str | None = None,
    ) -> Answer:
        body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
        return Answer(status, body, headers or {}, error=code or kind)


def _problem(request: Request) -> str:
    fields = request.fields
    messages = fields.get("messages")
    if request.invalid:
        return request.invalid
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        return "you must provide a model parameter"
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        return "messages: a list of at least one message is needed"
    if fields.get("stream"):
        return "stream: this sandbox does not stream; leave it out"
    limit = fields.get("max_completion_tokens", fields.get("max_tokens"))
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        return "max_tokens: a whole number of at least 1 is needed"
    form = fields.get("response_format")
    if isinstance(form, dict) and form.get("type") == "json_schema":
        holder = form.get("json_schema")
        if not isinstance(holder, dict) or not isinstance(holder.get("schema"), dict) or not holder.get("name"):
            return "response_format.json_schema: name and schema are needed"
    return ""


def _not_for_reasoning(fields: dict[str, Any]) -> str | None:
    """Return the parameter that a model which reasons does not take."""
    if "max_tokens" in fields:
        return "max_tokens"
    return "temperature" if fields.get("temperature", 1) != 1 else None


def _thoughts(fields: dict[str, Any]) -> int:
    if not _REASONING.match(fields["model"]):
        return 0
    return THOUGHTS.get(str(fields.get("reasoning_effort")), THOUGHTS["medium"])


def _content(form: Any, thought: Thought, script: Script | None, text: str) -> str:
    if script is not None and script.content is not None:
        content = script.content
        return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    known = asdict(thought)
    if script is not None and script.reply is not None:
        known["reply"] = script.reply.replace(TAGS, " ".join(dict.fromkeys(_TAG.findall(text))))
    kind = form.get("type") if isinstance(form, dict) else "text"
    if kind == "json_schema":
        return json.dumps(fill(form["json_schema"]["schema"], known), ensure_ascii=False)
    return json.dumps(known, ensure_ascii=False) if kind == "json_object" else str(known["reply"])


def _customer(messages: Any) -> tuple[str, str]:
    """Return the customer's words since the last answer, and what they wrote before it."""
    now: list[str] = []
    before: list[str] = []
    answered = False
    for message in reversed(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            continue
        if message.get("role") in CUSTOMER_ROLES:
            (before if answered else now).append(_words(message.get("content")))
        elif message.get("role") == "assistant":
            answered = True
    return "\n".join(reversed(now)), "\n".join(reversed(before))


def _words(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return " ".join(
        str(part.get("text", "")) if part.get("type") == "text" else "[image]"
        for part in parts
        if isinstance(part, dict)
    )


def _tokens(text: str) -> int:
    """Estimate tokens: four ASCII characters each, or two of any other script."""
    ascii_count = len(text.encode("ascii", "ignore"))
    return max(1, (ascii_count + 3) // 4 + (len(text) - ascii_count + 1) // 2)


def _tokens_of_messages(messages: list[dict[str, Any]]) -> int:
    return sum(_tokens(_words(message.get("content"))) + TOKENS_A_MESSAGE for message in messages) + 3
