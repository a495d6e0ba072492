"""The real openai client works against the sandbox over a real connection, and sees the failures it should."""

import json

import httpx2
import openai
import pytest

from devkit.sandbox import SandboxSettings
from devkit.sandbox.serving import running_sandbox

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["reply", "intent", "sentiment", "language", "escalate", "lead"],
    "properties": {
        "reply": {"type": "string"},
        "intent": {"type": "string", "enum": ["greeting", "price", "delivery", "order", "complaint", "other"]},
        "sentiment": {"type": "string", "enum": ["positive", "neutral", "negative"]},
        "language": {"type": "string", "enum": ["ar", "fr", "en"]},
        "escalate": {"type": "boolean"},
        "lead": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "phone", "email", "interest"],
            "properties": {name: {"type": ["string", "null"]} for name in ("name", "phone", "email", "interest")},
        },
    },
}
STRICT = {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}}


@pytest.fixture(scope="module")
def url():
    with running_sandbox(SandboxSettings(port=0, seed="t")) as address:
        yield address


@pytest.fixture
async def model(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-test", max_retries=0, timeout=5) as client:
        yield client
    httpx2.post(f"{url}/sandbox/reset").raise_for_status()


async def ask(model, text, **more):
    return await model.chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": text}],
        **more,
    )


def fault(url, behaviour, **more):
    rule = {"api": "openai", "behaviour": behaviour, "times": 1, **more}
    httpx2.post(f"{url}/sandbox/faults", json=rule).raise_for_status()


async def test_a_strict_answer_fits_the_schema_and_counts_its_tokens(model):
    completion = await ask(model, "هلو، شكد سعر الحقيبة؟", response_format=STRICT, max_tokens=500, temperature=0.7)
    decision = json.loads(completion.choices[0].message.content)
    assert set(decision) == set(SCHEMA["properties"])
    assert (decision["intent"], decision["language"]) == ("price", "ar")
    assert decision["lead"] == {"name": None, "phone": None, "email": None, "interest": "حقيبة"}
    assert completion.choices[0].finish_reason == "stop"
    usage = completion.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens > 10


async def test_without_a_schema_the_reply_is_plain_text(model):
    completion = await ask(model, "Bonjour")
    assert completion.choices[0].message.content.startswith("Bonjour")


async def test_pictures_are_understood_as_pictures(model):
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    text = {"type": "text", "text": "how much?"}
    assert (await ask(model, [text, picture])).choices[0].message.content.isascii()


async def test_the_last_messages_since_the_answer_are_taken_together(model, url):
    await model.chat.completions.create(
        model="gpt-4o-mini",
        messages=[
            {"role": "user", "content": "Bonjour"},
            {"role": "assistant", "content": "Bonjour !"},
            {"role": "user", "content": "une question"},
            {"role": "user", "content": "prix ?"},
        ],
    )
    entry = httpx2.get(f"{url}/sandbox/journal?api=openai").json()["entries"][-1]
    assert entry["text"] == "une question\nprix ?"
    assert entry["detail"]["intent"] == "price"


async def test_a_scripted_answer_can_name_the_tags_of_exactly_what_it_answers(model, url):
    script = {"contains": "", "reply": "About {tags}."}
    httpx2.post(f"{url}/sandbox/scripts", json=script).raise_for_status()
    completion = await model.chat.completions.create(
        model="gpt-4o-mini",
        messages=[
            {"role": "user", "content": "#c1m1 hello"},
            {"role": "assistant", "content": "About #c1m1."},
            {"role": "user", "content": "#c1m2 is it\n#c1m3 black?"},
            {"role": "user", "content": "#c1m3 #c1m4 tell me"},
        ],
        response_format=STRICT,
    )
    assert json.loads(completion.choices[0].message.content)["reply"] == "About #c1m2 #c1m3 #c1m4."


async def test_too_small_a_token_limit_cuts_the_answer(model):
    choice = (await ask(model, "شكد السعر؟", response_format=STRICT, max_tokens=10)).choices[0]
    assert choice.finish_reason == "length"
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)


async def test_models_are_listed(model):
    assert "gpt-4o-mini" in [listed.id async for listed in model.models.list()]


async def test_a_missing_key_is_refused_in_openais_shape(url):
    response = httpx2.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": [{}]})
    assert response.status_code == 401
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "x"}]},
        {"model": "m", "messages": []},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "stream": True},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 0},
        {"model": "m", "messages": [{"role": "user", "content": "x"}], "response_format": {"type": "json_schema"}},
    ],
)
async def test_wrong_requests_are_refused_with_400(model, url, body):
    response = httpx2.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": "Bearer k"})
    assert response.status_code == 400


@pytest.mark.parametrize(
    ("behaviour", "error", "code"),
    [
        ("rate_limited", openai.RateLimitError, "rate_limit_exceeded"),
        ("insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("server_error", openai.InternalServerError, None),
        ("context_length", openai.BadRequestError, "context_length_exceeded"),
        ("invalid_key", openai.AuthenticationError, "invalid_api_key"),
    ],
)
async def test_ordered_errors_arrive_as_the_clients_own_exceptions_without_effect(model, url, behaviour, error, code):
    fault(url, behaviour)
    with pytest.raises(error) as caught:
        await ask(model, "hello")
    assert caught.value.code == code
    assert not httpx2.get(f"{url}/sandbox/journal?api=openai").json()["entries"][-1]["effect"]
    assert (await ask(model, "hello")).choices


async def test_a_rate_limit_tells_how_long_to_wait(model, url):
    fault(url, "rate_limited", retry_after=7)
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(model, "hello")
    assert caught.value.response.headers["retry-after"] == "7"


async def test_a_refusal_has_no_content(model, url):
    fault(url, "refusal")
    message = (await ask(model, "hello", response_format=STRICT)).choices[0].message
    assert message.content is None
    assert message.refusal


@pytest.mark.parametrize("behaviour", ["length", "malformed"])
async def test_broken_answers_are_no_json(model, url, behaviour):
    fault(url, behaviour)
    choice = (await ask(model, "hello", response_format=STRICT)).choices[0]
    with pytest.raises(json.JSONDecodeError):
        json.loads(choice.message.content)
    assert choice.finish_reason == ("length" if behaviour == "length" else "stop")


async def test_a_dropped_connection_is_a_connection_error_and_the_call_is_on_record(model, url):
    fault(url, "drop")
    with pytest.raises(openai.APIConnectionError) as caught:
        await ask(model, "hello")
    assert isinstance(caught.value.__cause__, httpx2.TransportError)
    entry = httpx2.get(f"{url}/sandbox/journal?api=openai").json()["entries"][-1]
    assert (entry["outcome"], entry["effect"]) == ("dropped", True)


async def test_a_scripted_answer_is_given_to_the_message_it_is_for(model, url):
    script = {"contains": "warranty", "reply": "Two years.", "times": 1}
    httpx2.post(f"{url}/sandbox/scripts", json=script).raise_for_status()
    assert (await ask(model, "hello")).choices[0].message.content != "Two years."
    scripted = await ask(model, "what about warranty?", response_format=STRICT)
    assert json.loads(scripted.choices[0].message.content)["reply"] == "Two years."
    assert (await ask(model, "what about warranty?")).choices[0].message.content != "Two years."


async def think(model, **more):
    more = {"model": "gpt-5-mini", "response_format": STRICT, "max_completion_tokens": 4500, **more}
    return await model.chat.completions.create(messages=[{"role": "user", "content": "hello"}], **more)


@pytest.mark.parametrize(("name", "value"), [("max_tokens", 500), ("temperature", 0.7)])
async def test_a_model_that_reasons_refuses_what_the_real_one_refuses(model, name, value):
    with pytest.raises(openai.BadRequestError) as caught:
        await think(model, **{name: value})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


async def test_thoughts_take_room_from_the_answer(model):
    answered = await think(model, reasoning_effort="low")
    assert json.loads(answered.choices[0].message.content)["reply"]
    assert answered.usage.completion_tokens_details.reasoning_tokens == 128
    cut = (await think(model, max_completion_tokens=500)).choices[0]
    assert (cut.finish_reason, cut.message.content) == ("length", "")
