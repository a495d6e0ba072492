"""The model's adapter against an OpenAI that lives in this process."""

import asyncio
import json

import httpx2
import openai
import pytest

from ai.answer import Answer
from ai.completion import Completion, ModelFailed, Usage
from ai.instagram_ai import InstagramAIService
from ai.model import (
    ModelLimits,
    OpenAIModel,
    openai_client,
    parameters,
    read_completion,
    reason_of,
    retry_after,
    seconds_to_wait,
)
from ai.prompt import Question
from common.merchants import Merchant

MESSAGES = [{"role": "user", "content": "hi"}]
ANSWER = {
    "reply": "hello",
    "intent": "greeting",
    "sentiment": "neutral",
    "language": "en",
    "escalate": False,
    "lead": {},
}
REQUEST = httpx2.Request("POST", "http://model.test/v1/chat/completions")


def body(content=None, *, finish="stop", refusal=None, choices=None):
    message = {"role": "assistant", "content": json.dumps(ANSWER) if content is None else content, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini-2026",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}] if choices is None else choices,
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }


def error(status, code=None, headers=None):
    return httpx2.Response(status, json={"error": {"message": "no", "code": code}}, headers=headers or {})


class Calls:
    """Notes what the adapter reports."""

    def __init__(self):
        self.results = []

    def called(self, result, seconds):
        assert seconds >= 0
        self.results.append(result)


class FakeOpenAI:
    """Answers each request with the next of its answers, the last one for ever."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.running = self.most = 0

    async def handle(self, request):
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            if callable(answer):
                return await answer()
            return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)
        finally:
            self.running -= 1


def model(fake, **limits):
    calls = Calls()
    client = openai_client(
        api_key="k",
        base_url="http://model.test/v1",
        timeout=5,
        connections=4,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(fake.handle)),
    )
    return OpenAIModel(client, ModelLimits(**{"timeout": 5.0, **limits}), calls), calls


async def test_an_answer_is_asked_for_and_read():
    fake = FakeOpenAI(body())
    adapter, calls = model(fake, model="gpt-4o-mini", max_tokens=500, temperature=0.7)
    completion = await adapter.complete(MESSAGES)
    assert completion == Completion(Answer.model_validate(ANSWER), "gpt-4o-mini-2026", Usage(100, 20))
    assert calls.results == ["ok"]
    request = fake.requests[0]
    sent = json.loads(request.content)
    assert request.headers["authorization"] == "Bearer k"
    assert str(request.url) == "http://model.test/v1/chat/completions"
    assert (sent["model"], sent["max_tokens"], sent["temperature"]) == ("gpt-4o-mini", 500, 0.7)
    assert sent["messages"] == MESSAGES
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["response_format"]["json_schema"]["strict"] is True


@pytest.mark.parametrize("first", [error(500), error(503), error(429), error(408), httpx2.ConnectError("x")])
async def test_what_passes_is_tried_once_more(first):
    fake = FakeOpenAI(first, body())
    adapter, calls = model(fake)
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"
    assert len(fake.requests) == 2
    assert calls.results[1] == "ok"


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (error(500), "unavailable", 2),
        (error(429), "rate_limited", 2),
        (error(429, "insufficient_quota"), "quota", 1),
        (error(401), "bad_key", 1),
        (error(403), "bad_key", 1),
        (error(404), "bad_request", 1),
        (error(400), "bad_request", 1),
        (error(422), "bad_request", 1),
        (error(400, "content_policy_violation"), "refused", 1),
        (httpx2.ConnectError("x"), "unavailable", 2),
        (httpx2.ReadTimeout("x"), "timeout", 2),
        (httpx2.RemoteProtocolError("x"), "unavailable", 2),
        (body("not json"), "not_valid", 1),
        (body(""), "not_valid", 1),
        (body("[]"), "not_valid", 1),
        (body('{"reply": ""}'), "not_valid", 1),
        (body("[" * 5000), "not_valid", 1),
        (body(choices=[]), "not_valid", 1),
        (body(finish="length"), "truncated", 1),
        (body(finish="content_filter"), "refused", 1),
        (body("", refusal="I cannot"), "refused", 1),
        (httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}), "not_valid", 1),
        (httpx2.Response(200, json={"hello": 1}), "not_valid", 1),
        (httpx2.Response(200, text="{", headers={"content-type": "application/json"}), "not_valid", 1),
    ],
)
async def test_every_failure_has_a_reason_and_only_passing_ones_are_repeated(answer, reason, requests):
    fake = FakeOpenAI(answer)
    adapter, calls = model(fake)
    with pytest.raises(ModelFailed) as failure:
        await adapter.complete(MESSAGES)
    assert failure.value.reason == reason
    assert len(fake.requests) == requests
    assert calls.results == [reason] * requests


async def test_tokens_of_a_useless_answer_are_counted():
    adapter, _ = model(FakeOpenAI(body(finish="length")))
    with pytest.raises(ModelFailed) as failure:
        await adapter.complete(MESSAGES)
    assert failure.value.usage == Usage(100, 20)


async def test_retry_after_is_honoured_inside_the_budget():
    fake = FakeOpenAI(error(429, headers={"retry-after-ms": "30"}), body())
    adapter, _ = model(fake)
    started = asyncio.get_running_loop().time()
    await adapter.complete(MESSAGES)
    assert asyncio.get_running_loop().time() - started >= 0.03


async def test_a_wait_that_the_budget_does_not_allow_is_not_begun():
    fake = FakeOpenAI(error(429, headers={"retry-after": "60"}), body())
    adapter, _ = model(fake)
    async with asyncio.timeout(2):
        with pytest.raises(ModelFailed, match="rate_limited"):
            await adapter.complete(MESSAGES)
    assert len(fake.requests) == 1


async def test_a_model_that_hangs_is_given_up_at_the_end_of_the_budget():
    async def hang():
        await asyncio.Event().wait()

    fake = FakeOpenAI(hang)
    adapter, calls = model(fake, timeout=0.1)
    async with asyncio.timeout(2):
        with pytest.raises(ModelFailed, match="timeout"):
            await adapter.complete(MESSAGES)
    assert calls.results == ["timeout"]


async def test_answers_in_the_making_are_bounded_and_the_rest_waits_in_order():
    async def slow():
        await asyncio.sleep(0.005)
        return httpx2.Response(200, json=body())

    fake = FakeOpenAI(slow)
    adapter, _ = model(fake, concurrency=3)
    done = []

    async def ask(number):
        await adapter.complete(MESSAGES)
        done.append(number)

    await asyncio.gather(*(ask(number) for number in range(12)))
    assert fake.most == 3
    assert [number // 3 for number in done] == sorted(number // 3 for number in done)


async def test_a_failed_call_gives_its_slot_back():
    fake = FakeOpenAI(error(400), error(400), body())
    adapter, _ = model(fake, concurrency=1)
    for _ in range(2):
        with pytest.raises(ModelFailed):
            await adapter.complete(MESSAGES)
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"


def test_reasoning_models_are_asked_in_their_own_words():
    for name in ("o3-mini", "gpt-5-mini", "o1"):
        asked = parameters(ModelLimits(model=name), MESSAGES)
        assert asked["max_completion_tokens"] == 500
        assert "temperature" not in asked
        assert "max_tokens" not in asked
    assert parameters(ModelLimits(model="gpt-4o"), MESSAGES)["max_tokens"] == 500


def test_an_unknown_error_is_an_answer_that_cannot_be_read():
    assert reason_of(ValueError("x")) == "not_valid"
    assert reason_of(TimeoutError()) == "timeout"
    assert reason_of(ConnectionResetError()) == "unavailable"
    assert reason_of(openai.APIResponseValidationError(httpx2.Response(200, request=REQUEST), None)) == "not_valid"
    assert retry_after(ValueError("x")) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2"}, 2.0),
        ({"retry-after-ms": "250", "retry-after": "2"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1.5"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_how_long_a_provider_asks_to_wait(headers, seconds):
    assert seconds_to_wait(headers) == seconds


def test_usage_that_makes_no_sense_counts_as_nothing():
    response = openai.types.chat.ChatCompletion.model_construct(**body())
    with pytest.raises(ModelFailed) as failure:
        read_completion(response.model_copy(update={"choices": None, "usage": None}))
    assert failure.value.usage == Usage(0, 0)


class OneAnswer:
    def __init__(self, reply):
        self.reply = reply

    async def complete(self, messages):
        assert messages[-1]["content"] == "hi"
        return Completion(Answer(reply=self.reply), "m", Usage(1, 1))


@pytest.mark.parametrize(("channel", "longest"), [("direct_message", 1500), ("comment", 300)])
async def test_a_long_answer_is_cut_to_where_it_goes(channel, longest):
    shop = Merchant(id="dar", name="Dar", account_id="1")
    made = await InstagramAIService(OneAnswer("A sentence. " * 400)).answer(Question(shop, channel, "en", "hi"))
    assert longest - 20 < len(made.text) <= longest
    assert made.text.endswith("sentence.")
