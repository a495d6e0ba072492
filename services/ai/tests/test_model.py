"""The model's adapter against an OpenAI that lives in this process."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import httpx2
import openai
import pytest
from prometheus_client import CollectorRegistry

from ai.answer import Answer
from ai.completion import Completion, ModelFailed, Usage, worth_waiting
from ai.instagram_ai import InstagramAIService
from ai.llm.reading import read_completion
from ai.model import API, ModelLimits, OpenAIModel, openai_client, parameters
from ai.openai_errors import reason_of, retry_after, seconds_to_wait
from ai.prompt import Question
from common.breaker import BreakerMetrics, BreakerPolicy, Breakers
from common.clock import ManualClock
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
        self.results, self.refused = [], 0

    def called(self, result, seconds):
        assert seconds >= 0
        self.results.append(result)

    def images_refused(self):
        self.refused += 1


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


CLOCK = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))


def model(fake, *, policy=None, clock=CLOCK, **limits):
    calls = Calls()
    breakers = Breakers(API, clock=clock, metrics=BreakerMetrics(CollectorRegistry()), policy=policy)
    client = openai_client(
        api_key="k",
        base_url="http://model.test/v1",
        timeout=5,
        connections=4,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(fake.handle)),
    )
    return OpenAIModel(client, ModelLimits(**{"timeout": 5.0, **limits}), calls, breakers), calls


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
        (error(404, "model_not_found"), "bad_request", 1),
        # What names no parameter is tried in the plainest form, with the other limit, and without one.
        (error(400), "bad_request", 4),
        (error(422), "bad_request", 4),
        (error(400, "content_policy_violation"), "refused", 1),
        (httpx2.ConnectError("x"), "unavailable", 2),
        (httpx2.ReadTimeout("x"), "timeout", 2),
        (httpx2.RemoteProtocolError("x"), "unavailable", 2),
        (body("not json"), "not_valid", 2),
        (body(""), "not_valid", 2),
        (body("[]"), "not_valid", 2),
        (body('{"reply": ""}'), "not_valid", 2),
        (body("[" * 5000), "not_valid", 2),
        (body(choices=[]), "not_valid", 2),
        (body('{"reply": "cut', finish="length"), "truncated", 2),
        (body(finish="content_filter"), "refused", 1),
        (body("", refusal="I cannot"), "refused", 1),
        (httpx2.Response(200, text="<html>", headers={"content-type": "text/html"}), "not_valid", 2),
        (httpx2.Response(200, json={"hello": 1}), "not_valid", 2),
        (httpx2.Response(200, text="{", headers={"content-type": "application/json"}), "not_valid", 2),
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
    adapter, _ = model(FakeOpenAI(body('{"reply": "cut', finish="length")))
    with pytest.raises(ModelFailed) as failure:
        await adapter.complete(MESSAGES)
    assert failure.value.usage == Usage(200, 40)


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
    fake = FakeOpenAI(error(401), error(401), body())
    adapter, _ = model(fake, concurrency=1)
    for _ in range(2):
        with pytest.raises(ModelFailed):
            await adapter.complete(MESSAGES)
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"


ONE_STRIKE = BreakerPolicy(failures=1, first_pause=5.0)


async def test_a_model_that_is_not_well_is_left_alone_and_tried_again_later():
    clock = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    fake = FakeOpenAI(error(500), body())
    adapter, calls = model(fake, policy=ONE_STRIKE, clock=clock)
    with pytest.raises(ModelFailed, match="unavailable"):  # the second try is not made any more
        await adapter.complete(MESSAGES)
    with pytest.raises(ModelFailed, match="held_back") as failure:
        await adapter.complete(MESSAGES)
    assert failure.value.after == 5.0
    assert (len(fake.requests), calls.results) == (1, ["unavailable"])
    clock.advance(timedelta(seconds=5))
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"


@pytest.mark.parametrize("answer", [error(429), error(429, "insufficient_quota"), error(401), error(400), body("no")])
async def test_a_refusal_is_an_answer_and_opens_no_breaker(answer):
    fake = FakeOpenAI(answer)
    adapter, _ = model(fake, policy=ONE_STRIKE)
    for _ in range(3):
        with pytest.raises(ModelFailed) as failure:
            await adapter.complete(MESSAGES)
        assert failure.value.reason != "held_back"


async def test_one_merchants_slow_answers_leave_another_merchant_its_own():
    answered = asyncio.Event()

    async def slow():
        await answered.wait()
        return httpx2.Response(200, json=body())

    fake = FakeOpenAI(slow)
    adapter, _ = model(fake, concurrency=8)
    loud = [asyncio.create_task(adapter.complete(MESSAGES, merchant="loud")) for _ in range(20)]
    while fake.running < 6:
        await asyncio.sleep(0)
    fake.answers = [body()]
    assert (await adapter.complete(MESSAGES, merchant="quiet")).answer.reply == "hello"
    assert fake.most == 7
    answered.set()
    await asyncio.gather(*loud)


async def test_an_answer_that_nobody_waits_for_any_more_says_nothing_about_the_api():
    async def hang():
        await asyncio.Event().wait()

    async def asked():
        fake.answers = [hang]
        asking = asyncio.create_task(adapter.complete(MESSAGES))
        while not fake.running:
            await asyncio.sleep(0)
        return asking

    async def cancelled():
        asking = await asked()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    clock = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
    fake = FakeOpenAI(hang)
    adapter, calls = model(fake, policy=ONE_STRIKE, clock=clock)
    await cancelled()
    assert calls.results == []
    fake.answers = [error(500)]
    with pytest.raises(ModelFailed, match="unavailable"):
        await adapter.complete(MESSAGES)
    clock.advance(timedelta(seconds=5))
    await cancelled()
    probe = await asked()
    with pytest.raises(ModelFailed, match="held_back"):  # the probe that was cancelled did not close the breaker
        await adapter.complete(MESSAGES)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    fake.answers = [body()]
    assert (await adapter.complete(MESSAGES)).answer.reply == "hello"
    assert calls.results == ["unavailable", "ok"]


@pytest.mark.parametrize(
    ("reason", "after", "waited", "seconds"),
    [
        ("held_back", 5.0, 0.0, 5.0),
        ("held_back", 5.0, 54.0, 5.0),
        ("held_back", 5.0, 55.0, None),
        ("held_back", 120.0, 0.0, None),
        ("held_back", None, 0.0, None),
        ("rate_limited", 2.0, 10.0, 2.0),
        ("rate_limited", 0.0, 10.0, 0.5),
        ("rate_limited", None, 10.0, None),
        ("timeout", None, 0.0, None),
        ("unavailable", 2.0, 0.0, None),
        ("quota", 2.0, 0.0, None),
    ],
)
def test_a_customer_waits_only_where_a_time_was_named_that_comes_soon_enough(reason, after, waited, seconds):
    assert worth_waiting(ModelFailed(reason, after=after), waited=waited, patience=60.0) == seconds


def test_reasoning_models_are_asked_in_their_own_words():
    for name in ("o3-mini", "gpt-5-mini", "o1", "openai/gpt-5-mini", "azure/o4-mini"):
        asked = parameters(ModelLimits(model=name, max_tokens=500, thinking_tokens=4000), MESSAGES)
        assert asked["max_completion_tokens"] == 4500
        assert asked["reasoning_effort"] == "low"
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
    for usage in (None, {"prompt_tokens": -1, "completion_tokens": float("nan")}, {"prompt_tokens": True}, [1], "x"):
        with pytest.raises(ModelFailed) as failure:
            read_completion({**body(choices=[]), "usage": usage})
        assert failure.value.usage == Usage(0, 0)


class OneAnswer:
    def __init__(self, reply):
        self.reply = reply

    async def complete(self, messages, *, merchant=""):
        assert messages[-1]["content"] == "hi"
        return Completion(Answer(reply=self.reply), "m", Usage(1, 1))


@pytest.mark.parametrize(("channel", "longest"), [("direct_message", 1500), ("comment", 300)])
async def test_a_long_answer_is_cut_to_where_it_goes(channel, longest):
    shop = Merchant(id="dar", name="Dar", account_id="1")
    made = await InstagramAIService(OneAnswer("A sentence. " * 400)).answer(Question(shop, channel, "en", "hi"))
    assert longest - 20 < len(made.text) <= longest
    assert made.text.endswith("sentence.")
