"""A model's server that answers in every wrong way, over real HTTP: each way has one outcome, and is one row here.

The stub sends bytes as they stand in the table, so that it can be wrong in HTTP as well. Each row is a script: what is
answered to the first request, the second, and so on; the last one is repeated.
"""

import asyncio
import gzip
import json
import zlib
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from ai.completion import ModelFailed, Usage
from ai.llm.bounded_body import MAX_BODY_BYTES
from ai.llm.reading import read_answer
from ai.model import API, MAX_CALLS, ModelLimits, OpenAIModel, openai_client
from common.breaker import BreakerMetrics, BreakerPolicy, Breakers
from common.clock import SystemClock

MESSAGES = [{"role": "system", "content": "You answer."}, {"role": "user", "content": "hi"}]
ANSWER = {
    "reply": "hello",
    "intent": "greeting",
    "sentiment": "neutral",
    "language": "en",
    "escalate": False,
    "lead": {},
}
GOOD = json.dumps(ANSWER)


def http(body, status="200 OK", content_type="application/json", headers=""):
    body = body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass")
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{headers}"
    return f"{head}connection: close\r\n\r\n".encode() + body


def answered(content=GOOD, *, finish="stop", usage=None, **message):
    """Return an answer of HTTP 200 with this message."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return whole(choices=[choice], usage=usage or {"prompt_tokens": 10, "completion_tokens": 5})


def whole(**body):
    return http(json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "m", **body}))


def failed(status, message="no", **error):
    return http(json.dumps({"error": {"message": message, "type": "invalid_request_error", **error}}), f"{status} X")


def choices(*messages):
    made = [{"index": n + 3, "message": one, "finish_reason": "stop"} for n, one in enumerate(messages)]
    return whole(choices=made)


def streamed(*pieces, finish="stop", before="", between="\n\n"):
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks += [{"choices": [{"delta": {}, "finish_reason": finish}]}, {"choices": [], "usage": {"prompt_tokens": 3}}]
    lines = "".join(f"data: {json.dumps(chunk, ensure_ascii=False)}{between}" for chunk in chunks)
    return http(f"{before}{lines}data: [DONE]{between}", content_type="text/event-stream")


class Row(NamedTuple):
    name: str
    script: list
    outcome: str
    """The reply where it starts with "=", else the reason why there is none."""
    calls: int


READ, AGAIN = "=hello", 2
"""`AGAIN`: one more try was made."""

WRONG = [
    # What is read
    Row("a code fence", [answered(f"```json\n{GOOD}\n```")], READ, 1),
    Row("a code fence without a language", [answered(f"```\n{GOOD}```")], READ, 1),
    Row("a fence behind a sentence", [answered(f"Here it is:\n```json\n{GOOD}\n```\nDone.")], READ, 1),
    Row("thoughts that end", [answered(f'<think>{{"reply": "draft"}}</think>\n{GOOD}')], READ, 1),
    Row("thoughts whose beginning the template ate", [answered(f"so the answer is {{}} </think>{GOOD}")], READ, 1),
    Row("thoughts and a fence", [answered(f"<think>hm</think>```json\n{GOOD}\n```")], READ, 1),
    Row("a sentence around the object", [answered(f"Sure! {GOOD} Anything else?")], READ, 1),
    Row("the object as a string", [answered(json.dumps(GOOD))], READ, 1),
    Row("a list of one", [answered(f"[{GOOD}]")], READ, 1),
    Row("an object around it", [answered(json.dumps({"answer": ANSWER}))], READ, 1),
    Row("a reply that is the answer's JSON", [answered(json.dumps({**ANSWER, "reply": GOOD}))], READ, 1),
    Row("a reply that is fenced JSON", [answered(json.dumps({**ANSWER, "reply": f"```json\n{GOOD}\n```"}))], READ, 1),
    Row("a reply with thoughts", [answered(json.dumps({"reply": "<think>hm</think>hello"}))], READ, 1),
    Row(
        "content in parts",
        [answered([{"type": "text", "text": GOOD[:9]}, {"type": "text", "text": GOOD[9:]}])],
        READ,
        1,
    ),
    Row(
        "content in parts with thoughts",
        [answered([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": GOOD}])],
        READ,
        1,
    ),
    Row("content that is the object", [answered(ANSWER)], READ, 1),
    Row("a call of a tool", [answered(None, tool_calls=[{"function": {"name": "a", "arguments": GOOD}}])], READ, 1),
    Row("a call of a function", [answered(None, function_call={"arguments": GOOD})], READ, 1),
    Row("a choice of another index", [choices({"content": GOOD})], READ, 1),
    Row("the second choice", [choices({"content": None}, {"content": GOOD})], READ, 1),
    Row("an unknown finish reason", [answered(finish="eos")], READ, 1),
    Row("a finish reason that is an object", [answered(finish={"type": "stop"})], READ, 1),
    Row("a part of a type that is an object", [answered([{"type": {}}, {"type": "text", "text": GOOD}])], READ, 1),
    Row("half an answer and an odd finish", [answered('{"reply": "he', finish={})], "not_valid", AGAIN),
    Row("no finish reason", [answered(finish=None)], READ, 1),
    Row("the whole answer at the limit", [answered(finish="length")], READ, 1),
    Row("a key twice", [answered('{"reply": "first", "reply": "hello"}')], READ, 1),
    Row(
        "made-up values",
        [answered('{"reply": "hello", "intent": 3, "lead": [], "escalate": "maybe", "mood": NaN}')],
        READ,
        1,
    ),
    Row("line breaks inside a string", [answered('{"reply": "hello", "note": "a\nb"}')], READ, 1),
    Row("a byte order mark", [http(b"\xef\xbb\xbf" + answered().split(b"\r\n\r\n", 1)[1])], READ, 1),
    Row("a wrong content type", [http(answered().split(b"\r\n\r\n", 1)[1], content_type="text/html")], READ, 1),
    Row("a stream nobody asked for", [streamed(GOOD[:9], GOOD[9:])], READ, 1),
    Row("a stream behind a comment", [streamed(GOOD, before=": OPENROUTER PROCESSING\n\n: \n\n")], READ, 1),
    Row("a stream of named events", [streamed(GOOD, before="event: message\nid: 1\n")], READ, 1),
    Row("a stream of other line ends", [streamed(GOOD[:9], GOOD[9:], between="\r\r")], READ, 1),
    Row("a stream with a line separator in its words", [streamed(GOOD[:-1], ', "note": "a\u2028b\x85"}')], READ, 1),
    Row(
        "a stream of messages",
        [http(f"data: {json.dumps({'choices': [{'message': {'content': GOOD}}]})}\n\n")],
        READ,
        1,
    ),
    Row("no usage", [answered(usage={"prompt_tokens": None})], READ, 1),
    Row(
        "usage that is not a number",
        [answered(usage={"prompt_tokens": float("nan"), "completion_tokens": -5})],
        READ,
        1,
    ),
    Row("usage beyond all numbers", [answered(usage={"prompt_tokens": 10**30, "completion_tokens": True})], READ, 1),
    Row(
        "invalid UTF-8 beside the answer",
        [http(answered().split(b"\r\n\r\n", 1)[1].replace(b'"m"', b'"\xff"'))],
        READ,
        1,
    ),
    Row(
        "a packed body",
        [http(gzip.compress(answered().split(b"\r\n\r\n", 1)[1]), headers="content-encoding: gzip\r\n")],
        READ,
        1,
    ),
    # What may be right the second time, and was
    Row("an error in an answer of 200", [whole(error={"code": 502, "message": "x"}), answered()], READ, AGAIN),
    Row("a choice with an error", [whole(choices=[{"error": {"code": 502}}]), answered()], READ, AGAIN),
    Row("JSON that did not validate", [failed(400, code="json_validate_failed"), answered()], READ, AGAIN),
    Row("nothing, once", [answered(None), answered()], READ, AGAIN),
    Row("cut off, once", [answered('{"reply": "he', finish="length"), answered()], READ, AGAIN),
    # What is not
    Row("nothing", [answered(None)], "not_valid", AGAIN),
    Row("only thoughts", [answered(None, reasoning_content="hm")], "not_valid", AGAIN),
    Row("thoughts that never end", [answered(f"<think>maybe {GOOD}")], "not_valid", AGAIN),
    Row("cut off", [answered('{"reply": "he', finish="length")], "truncated", AGAIN),
    Row("cut off, in Anthropic's word", [answered('{"reply": "he', finish="max_tokens")], "truncated", AGAIN),
    Row("cut off, in Google's word", [answered('{"reply": "he', finish="MAX_TOKENS")], "truncated", AGAIN),
    Row("thought until the limit", [answered("<think>hm", finish="length")], "truncated", AGAIN),
    Row("empty choices", [whole(choices=[])], "not_valid", AGAIN),
    Row("no choices", [whole(usage={})], "not_valid", AGAIN),
    Row("choices that are none", [whole(choices=[None, 7, "x"])], "not_valid", AGAIN),
    Row("a list instead of an object", [http("[]")], "not_valid", AGAIN),
    Row("a null", [http("null")], "not_valid", AGAIN),
    Row("a web page", [http("<html>hello</html>", content_type="text/html")], "not_valid", AGAIN),
    Row("half an object", [http('{"choices": [')], "not_valid", AGAIN),
    Row("no body", [http("")], "not_valid", AGAIN),
    Row("no content", [http("", "204 No Content")], "not_valid", AGAIN),
    Row("braces without an end", [answered("{" * 90_000)], "not_valid", AGAIN),
    Row("nesting without an end", [answered('{"a":' * 20_000)], "not_valid", AGAIN),
    Row("a body nested without an end", [http("[" * 200_000)], "not_valid", AGAIN),
    Row(
        "lines of a stream",
        [http(f"data: {GOOD}\n\ndata: [DONE]\n\n", content_type="text/event-stream")],
        "not_valid",
        AGAIN,
    ),
    Row("a stream of nothing", [streamed()], "not_valid", AGAIN),
    Row("a stream that is cut off", [streamed('{"reply": "he', finish="length")], "truncated", AGAIN),
    Row("a stream with an error", [http('data: {"error": {"code": 429}}\n\n')], "rate_limited", AGAIN),
    Row("a stream of lists", [http("data: [1]\ndata: 2\ndata: null\n")], "not_valid", AGAIN),
    Row("words without a form", [answered("Hello, how can I help?")], "not_valid", AGAIN),
    Row("a reply of blanks", [answered('{"reply": " \\n\\t"}')], "not_valid", AGAIN),
    Row("a reply that cannot be seen", [answered('{"reply": "\\u200b\\u200d\\u2060\\ufeff"}')], "not_valid", AGAIN),
    Row("a reply of marks", [answered('{"reply": "****"}')], "not_valid", AGAIN),
    Row("a reply that is a number", [answered('{"reply": 7}')], "not_valid", AGAIN),
    Row("a reply that is a list", [answered('{"reply": ["hello"]}')], "not_valid", AGAIN),
    Row("a reply that is null", [answered('{"reply": null}')], "not_valid", AGAIN),
    Row("a reply that is broken JSON", [answered(json.dumps({"reply": '{"reply": "hel'}))], "not_valid", AGAIN),
    Row("a reply that is another object", [answered(json.dumps({"reply": '{"price": 5}'}))], "not_valid", AGAIN),
    Row("too large", [http(b" " * (MAX_BODY_BYTES + 1))], "not_valid", AGAIN),
    Row(
        "too large once unpacked",
        [http(zlib.compress(b" " * (MAX_BODY_BYTES + 1)), headers="content-encoding: deflate\r\n")],
        "not_valid",
        AGAIN,
    ),
    Row("packed wrongly", [http("plain", headers="content-encoding: gzip\r\n")], "not_valid", AGAIN),
    Row("packed as nobody asked", [http("plain", headers="content-encoding: br\r\n")], "not_valid", AGAIN),
    # Refused by the model
    Row("a refusal", [answered(None, refusal="I cannot")], "refused", 1),
    Row("a refusal in parts", [answered([{"type": "refusal", "refusal": "no"}])], "refused", 1),
    Row("filtered", [answered("", finish="content_filter")], "refused", 1),
    Row("a filtered request", [failed(400, code="content_filter")], "refused", 1),
    # Refused by the server
    Row("an error of 200 about the rate", [whole(error={"code": 429, "message": "slow down"})], "rate_limited", AGAIN),
    Row("an error of 200 about the quota", [whole(error={"code": "insufficient_quota"})], "quota", 1),
    Row("an error of 200 about the key", [whole(error={"code": "401"})], "bad_key", 1),
    Row("an error of 200 in words", [http('{"error": "upstream is away"}')], "unavailable", AGAIN),
    Row(
        "an error of 200 that is an object of its own",
        [http('{"object": "error", "message": "x", "code": 503}')],
        "unavailable",
        AGAIN,
    ),
    Row("no credit", [failed(402)], "quota", 1),
    Row("a model that is not there", [failed(404, code="model_not_found")], "bad_request", 1),
    Row("a redirect", [http("", "302 Found", headers="location: http://127.0.0.1:9/\r\n")], "bad_request", 4),
    Row("an error that is a page", [http("<html>", "502 Bad Gateway", content_type="text/html")], "unavailable", AGAIN),
    Row("an error too large", [http(b"x" * (MAX_BODY_BYTES + 1), "500 X")], "not_valid", AGAIN),
    Row("an error nested without an end", [http("[" * 200_000, "500 X")], "unavailable", AGAIN),
    # HTTP itself
    Row("not HTTP", [b"SSH-2.0-OpenSSH_9.9\r\n"], "unavailable", AGAIN),
    Row("closed at once", [b""], "unavailable", AGAIN),
    Row("closed within the body", [answered()[:-9]], "unavailable", AGAIN),
    Row("a chunk of no size", [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"], "unavailable", AGAIN),
    Row("a drop at a time", ["drip"], "timeout", 1),
    Row("headers a drop at a time", ["drip headers"], "timeout", 1),
    Row("nothing at all", ["hang"], "timeout", 1),
]


THOUGHTS = [
    ("<think>", "</think>"),
    ("<think>", "</think >"),
    ("<think type='x'>", "</think>"),
    ("< Think >", "</ THINK>"),
    ("<thoughts>", "</thoughts>"),
    ("<seed:think>", "</seed:think>"),
    ("<analysis>", "</analysis>"),
    ("<scratchpad>", "</scratchpad>"),
    ("<reflection>", "</reflection>"),
    ("<reason>", "</reason>"),
    ("<inner_monologue>", "</inner_monologue>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("&lt;think&gt;", "&lt;/think&gt;"),
    ("Thinking...\n", "\n...done thinking."),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>commentary to=price<|message|>", "<|end|><|channel|>final<|message|>"),
]
WRONG += [
    row
    for begin, end in THOUGHTS
    for row in (
        Row(f"a draft between {begin!r} and {end!r}", [answered(f'{begin}{{"reply": "draft"}}{end}{GOOD}')], READ, 1),
        Row(f"a reply after {begin!r} and {end!r}", [answered(json.dumps({"reply": f"{begin}hm{end}hello"}))], READ, 1),
    )
]


class Stub:
    """Answers by a script."""

    def __init__(self, script):
        self.script = script
        self.requests = []

    async def serve(self, reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
            )
            self.requests.append(json.loads(await reader.readexactly(length)))
            await self._answer(writer, self.script[min(len(self.requests), len(self.script)) - 1])
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client gave up: that is what some rows are about
        finally:
            writer.close()

    async def _answer(self, writer, answer):
        if callable(answer):
            answer = answer(self.requests[-1])
        if answer == "hang":
            await asyncio.sleep(30)
        elif answer in {"drip", "drip headers"}:
            body = answered(GOOD + " " * 5000)
            at = 5 if answer == "drip headers" else body.index(b"\r\n\r\n") + 8
            writer.write(body[:at])
            while not writer.is_closing():
                writer.write(body[at : at + 1])
                at += 1
                await writer.drain()
                await asyncio.sleep(0.02)
        else:
            writer.write(answer)
            await writer.drain()


class Calls:
    def __init__(self):
        self.results, self.images = [], 0

    def called(self, result, seconds):
        self.results.append(result)

    def images_refused(self):
        self.images += 1


@asynccontextmanager
async def model_of(script, *, policy=None, **limits):
    stub, calls = Stub(script), Calls()
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = openai_client(api_key="k", base_url=f"http://127.0.0.1:{port}/v1", timeout=5, connections=4)
    breakers = Breakers(API, clock=SystemClock(), metrics=BreakerMetrics(CollectorRegistry()), policy=policy)
    try:
        yield OpenAIModel(client, ModelLimits(**{"timeout": 5.0, **limits}), calls, breakers), stub, calls
    finally:
        await client.close()
        server.close()


async def outcome(model, messages=MESSAGES, **named):
    try:
        return "=" + (await model.complete(messages, **named)).answer.reply
    except ModelFailed as failure:
        return failure.reason


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.name)
async def test_every_wrong_answer_has_its_outcome(row):
    timeout = 0.5 if row.outcome == "timeout" else 20.0
    async with asyncio.timeout(30), model_of(row.script, timeout=timeout) as (model, stub, calls):
        assert await outcome(model) == row.outcome
        assert len(stub.requests) == row.calls == len(calls.results)


def test_there_are_many_wrong_answers():
    assert len(WRONG) >= 40
    assert len({row.name for row in WRONG}) == len(WRONG)


@pytest.mark.parametrize("begin", dict.fromkeys(begin for begin, _ in THOUGHTS))
def test_what_stands_in_thoughts_that_never_end_is_no_answer(begin):
    assert read_answer(f'{begin}{{"reply": "draft"}} but') is None
    assert read_answer(json.dumps({"reply": f"{begin}hm"})) is None


# What a server takes is learnt from what it refuses


def server(takes, *, word=None):
    """Return a server that takes these parameters and refuses others as `word(name)` puts it."""

    def answer(request):
        for name in ("max_tokens", "max_completion_tokens", "temperature", "reasoning_effort", "response_format"):
            form = request.get("response_format", {}).get("type")
            if name in request and name not in takes and not (name == "response_format" and form in takes):
                return (word or openai_word)(name)
        if "json_object" in takes and "json" not in json.dumps(request["messages"]).lower():
            return failed(400, "'messages' must contain the word 'json' in some form", param="messages")
        return answered()

    return answer


def openai_word(name):
    return failed(
        400,
        f"Unsupported parameter: '{name}' is not supported with this model.",
        param=name,
        code="unsupported_parameter",
    )


def azure_word(name):
    instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    return failed(
        400, f"Unsupported parameter: '{name}' is not supported with this model.{instead}", param=None, code=None
    )


def router_word(name):
    raw = json.dumps({"error": {"message": f"Unsupported value: '{name}'", "param": name}})
    return failed(400, "Provider returned error", code=400, metadata={"raw": raw})


def vllm_word(name):
    return http(
        json.dumps(
            {"object": "error", "message": f"[{{'type': 'extra_forbidden', 'loc': ('body', '{name}')}}]", "code": 400}
        ),
        "400 X",
    )


def fastapi_word(name):
    detail = [
        {
            "type": "extra_forbidden",
            "loc": ["body", name],
            "msg": "Extra inputs are not permitted",
            "input": "max_tokens",
        }
    ]
    return http(json.dumps({"detail": detail}), "422 X")


def ollama_word(name):
    return http(
        json.dumps({"error": f'"llama" does not support {name.replace("reasoning_effort", "thinking")}'}), "400 X"
    )


def body_word(name):
    return whole(error={"code": 400, "message": f"{name} is not supported"})


def silent_word(name):
    return failed(400, "Bad Request")


REASONING = {"max_completion_tokens", "reasoning_effort", "response_format"}
WORDS = [openai_word, azure_word, router_word, vllm_word, fastapi_word, ollama_word, body_word, silent_word]


@pytest.mark.parametrize("word", WORDS, ids=lambda one: one.__name__)
@pytest.mark.parametrize(
    "takes",
    [
        REASONING,
        {"max_completion_tokens"},
        {"max_completion_tokens", "json_object"},
        {"max_tokens", "temperature"},
        {"max_tokens", "json_object"},
        {"max_tokens"},
        set(),
    ],
    ids=lambda one: "+".join(sorted(one)) or "nothing",
)
@pytest.mark.parametrize("name", ["my-shop-deployment", "openai/gpt-5-mini"])
async def test_parameters_are_learnt_and_remembered(word, takes, name):
    async with model_of([server(takes, word=word)], model=name) as (model, stub, calls):
        assert await outcome(model) == "=hello"
        first = len(stub.requests)
        assert first <= MAX_CALLS
        assert await outcome(model) == "=hello"
        assert len(stub.requests) == first + 1
        sent = stub.requests[-1]
        limit = sent.get("max_tokens") or sent.get("max_completion_tokens")
        assert limit is not None or not takes & {"max_tokens", "max_completion_tokens"}
        assert (limit is None) or limit >= 500
        assert calls.results[-1] == "ok"


async def test_an_effort_that_is_not_offered_is_replaced_by_the_smallest_that_is():
    def answer(request):
        if request.get("reasoning_effort") != "minimal":
            message = "Unsupported value: 'low' is not supported. Supported values are: 'high' and 'minimal'."
            return failed(400, message, param="reasoning_effort", code="unsupported_value")
        return answered()

    async with model_of([answer], model="gpt-5-mini") as (model, stub, _):
        assert await outcome(model) == "=hello"
        assert len(stub.requests) == 2


async def test_a_limit_that_is_too_large_is_made_smaller():
    def answer(request):
        if request["max_completion_tokens"] > 2000:
            return failed(400, "max_completion_tokens is too large: 4500. At most 2000", param="max_completion_tokens")
        return answered()

    async with model_of([answer], model="o4-mini") as (model, stub, _):
        assert await outcome(model) == "=hello"
        assert [one["max_completion_tokens"] for one in stub.requests] == [4500, 1500]


async def test_a_model_that_thinks_its_room_away_is_given_room_and_keeps_it():
    def answer(request):
        enough = request["max_tokens"] > 1000
        return (
            answered()
            if enough
            else answered(None, finish="length", usage={"prompt_tokens": 9, "completion_tokens": 500})
        )

    async with model_of([answer], model="my-thinker") as (model, stub, _):
        completion = await model.complete(MESSAGES)
        assert completion.usage == Usage(19, 505)
        assert await outcome(model) == "=hello"
        assert [one["max_tokens"] for one in stub.requests] == [500, 4500, 4500]


async def test_one_long_answer_gets_room_once_and_later_ones_do_not():
    script = [answered('{"reply": "he', finish="length"), answered()]
    async with model_of(script) as (model, stub, _):
        assert await outcome(model) == "=hello"
        assert await outcome(model) == "=hello"
        assert [one["max_tokens"] for one in stub.requests] == [500, 4500, 500]


async def test_a_refusal_after_an_acceptance_is_about_the_words_and_not_asked_in_other_forms():
    async with model_of([answered(), failed(400, "Bad Request")]) as (model, stub, _):
        assert await outcome(model) == "=hello"
        assert await outcome(model) == "bad_request"
        assert len(stub.requests) == 2


async def test_customers_words_in_an_error_do_not_change_the_form():
    quoting = {"detail": [{"loc": ["body", "messages", 1], "msg": "too long", "input": "temperature max_tokens"}]}
    async with model_of([answered(), http(json.dumps(quoting), "422 X"), answered()]) as (model, stub, _):
        assert [await outcome(model) for _ in range(3)] == ["=hello", "bad_request", "=hello"]
        assert stub.requests[0] == stub.requests[2]


async def test_a_context_that_is_too_small_is_asked_without_history():
    messages = [MESSAGES[0], {"role": "user", "content": "old"}, {"role": "assistant", "content": "old"}, MESSAGES[1]]

    def answer(request):
        return answered() if len(request["messages"]) == 2 else failed(400, code="context_length_exceeded")

    async with model_of([answer]) as (model, stub, _):
        assert await outcome(model, messages) == "=hello"
        assert [one["content"] for one in stub.requests[1]["messages"]] == ["You answer.", "hi"]


def small_context(request):
    """Refuse, as vLLM does, whatever is longer than its context with the room for the answer."""
    room = request.get("max_tokens") or request.get("max_completion_tokens")
    for name in ("max_completion_tokens", "reasoning_effort"):
        if name in request:
            return openai_word(name)
    if "long" in json.dumps(request["messages"]):
        return http(
            json.dumps(
                {
                    "object": "error",
                    "message": f"'max_tokens' or 'max_completion_tokens' is too large: {room}. This model's maximum "
                    f"context length is 2048 tokens and your request has 1800 input tokens ({room} > 2048 - 1800).",
                    "type": "BadRequestError",
                    "param": None,
                    "code": 400,
                }
            ),
            "400 X",
        )
    return answered()


async def test_a_context_that_is_too_small_is_no_matter_of_the_limit_s_name():
    messages = [MESSAGES[0], {"role": "user", "content": "long"}, MESSAGES[1]]
    async with model_of([small_context], model="my-llama") as (model, stub, _):
        assert await outcome(model, messages) == "=hello"
        assert len(stub.requests) == 2
        assert "max_tokens" in stub.requests[-1]


@pytest.mark.parametrize("word", WORDS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("name", ["max_tokens", "temperature", "response_format"])
async def test_what_is_refused_to_one_merchant_changes_nothing_for_the_others(word, name):
    """A form that was accepted stays everybody's: what is refused then lies in what this merchant asks."""

    def answer(request):
        return word(name) if "poison" in json.dumps(request["messages"]) and name in request else answered()

    poison = [MESSAGES[0], {"role": "user", "content": "poison"}]
    async with model_of([answer], model="my-llama") as (model, stub, _):
        assert await outcome(model, merchant="good") == "=hello"
        for _ in range(3):
            await outcome(model, poison, merchant="bad")
            asked = len(stub.requests)
            assert await outcome(model, merchant="good") == "=hello"
            assert len(stub.requests) == asked + 1
            assert stub.requests[-1] == stub.requests[0]


async def test_a_server_that_is_changed_is_learnt_anew_from_each_merchant():
    takes = {"max_tokens", "temperature", "json_schema"}
    async with model_of([server(takes)], model="my-llama") as (model, stub, _):
        for name in ("a", "b"):
            assert await outcome(model, merchant=name) == "=hello"
        takes.clear()
        takes.update(REASONING)
        for name in ("a", "b"):
            assert await outcome(model, merchant=name) == "=hello"
            asked = len(stub.requests)
            assert await outcome(model, merchant=name) == "=hello"
            assert len(stub.requests) == asked + 1


# One merchant's requests that fail do not stop the others

BAD = failed(500)
POLICY = BreakerPolicy(failures=3, first_pause=30.0)


def of_merchant(request):
    return BAD if "poison" in json.dumps(request["messages"]) else answered()


async def test_a_merchant_whose_requests_fail_stops_only_itself():
    poison = [MESSAGES[0], {"role": "user", "content": "poison"}]
    async with model_of([of_merchant], policy=POLICY) as (model, _, _calls):
        for _ in range(6):
            await outcome(model, poison, merchant="bad")
        assert await outcome(model, poison, merchant="bad") == "held_back"
        assert await outcome(model, merchant="good") == "=hello"


async def test_an_api_that_fails_for_several_merchants_is_left_alone_by_all():
    async with model_of([BAD], policy=POLICY, timeout=1.2) as (model, stub, _):
        for name in ("a", "b", "c"):
            await outcome(model, merchant=name)
        asked = len(stub.requests)
        assert await outcome(model, merchant="d") == "held_back"
        assert len(stub.requests) == asked


async def test_a_merchant_whose_requests_hang_leaves_slots_to_the_others():
    def answer(request):
        return "hang" if "poison" in json.dumps(request["messages"]) else answered()

    poison = [MESSAGES[0], {"role": "user", "content": "poison"}]
    async with asyncio.timeout(10), model_of([answer], concurrency=4, timeout=60.0) as (model, stub, _):
        hanging = [asyncio.create_task(outcome(model, poison, merchant="bad")) for _ in range(20)]
        while len(stub.requests) < 2:
            await asyncio.sleep(0)
        for _ in range(5):
            assert await outcome(model, merchant="good") == "=hello"
        for one in hanging:
            one.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)


HALF = "\\ud83d"


async def test_half_an_emoji_in_an_answer_reaches_no_store():
    lead = f'{{"reply": "hello", "lead": {{"name": "Ali {HALF}"}}}}'
    body = answered(lead).split(b"\r\n\r\n", 1)[1].replace(b'"m"', f'"m{HALF}"'.encode())
    async with model_of([http(body)]) as (model, _, _calls):
        completion = await model.complete(MESSAGES)
    assert completion.model == "m"
    assert completion.answer.lead.known() == {"name": "Ali"}


async def test_one_lost_connection_after_another_counts_for_all_whoever_asks():
    async with model_of([b""], policy=POLICY, timeout=2.0) as (model, _, _calls):
        for _ in range(3):
            await outcome(model, merchant="a")
        assert await outcome(model, merchant="b") == "held_back"
