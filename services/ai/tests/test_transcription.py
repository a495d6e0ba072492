"""The transcription's adapter against an API that lives in this process."""

from datetime import UTC, datetime

import httpx2
import pytest
from openai.types.audio import Transcription
from prometheus_client import CollectorRegistry

from ai.completion import ModelFailed
from ai.media.transcription import (
    API,
    LONGEST_TRANSCRIPT,
    AudioUsage,
    OpenAITranscription,
    Transcribed,
    read_transcription,
)
from ai.model import openai_client
from common.breaker import BreakerMetrics, BreakerPolicy, Breakers
from common.clock import ManualClock

DURATION = {"text": " شكد سعره؟ ", "usage": {"type": "duration", "seconds": 3}}
TOKENS = {"text": "bikam", "usage": {"type": "tokens", "input_tokens": 30, "output_tokens": 4, "total_tokens": 34}}


class FakeAPI:
    """Answers each request with the next of its answers, the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.requests, self.results = list(answers), [], []

    async def handle(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    def transcribed(self, result, seconds):
        assert seconds >= 0
        self.results.append(result)

    def adapter(self, *, timeout=5.0, policy=None):
        client = openai_client(
            api_key="k",
            base_url="http://model.test/v1",
            timeout=5,
            connections=4,
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle)),
        )
        clock = ManualClock(datetime(2026, 11, 21, 12, tzinfo=UTC))
        breakers = Breakers(API, clock=clock, metrics=BreakerMetrics(CollectorRegistry()), policy=policy)
        return OpenAITranscription(client, model="gpt-transcribe", timeout=timeout, observer=self, breakers=breakers)


def error(status, code=None, headers=None):
    return httpx2.Response(status, json={"error": {"message": "no", "code": code}}, headers=headers or {})


async def test_a_recording_is_sent_as_a_file_of_its_format():
    api = FakeAPI(DURATION)
    heard = await api.adapter().transcribe(b"\x00\x01recording", "mp4")
    assert heard == Transcribed("شكد سعره؟", AudioUsage(seconds=3.0))
    (request,) = api.requests
    assert str(request.url) == "http://model.test/v1/audio/transcriptions"
    assert request.headers["authorization"] == "Bearer k"
    body = request.content
    for part in (b'name="model"', b"gpt-transcribe", b'filename="voice.mp4"', b"\x00\x01recording", b"json"):
        assert part in body
    assert api.results == ["ok"]


async def test_a_model_that_bills_tokens_is_counted_in_tokens():
    heard = await FakeAPI(TOKENS).adapter().transcribe(b"x", "ogg")
    assert heard.usage == AudioUsage(input_tokens=30, output_tokens=4)


@pytest.mark.parametrize("first", [error(500), error(429, headers={"retry-after": "0.01"}), httpx2.ConnectError("x")])
async def test_what_passes_is_tried_once_more(first):
    api = FakeAPI(first, DURATION)
    assert (await api.adapter().transcribe(b"x", "mp4")).text
    assert len(api.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (error(400), "bad_request", 1),
        (error(400, "audio_too_short"), "bad_request", 1),
        (error(401), "bad_key", 1),
        (error(429, "insufficient_quota"), "quota", 1),
        (error(503), "unavailable", 2),
        (error(429, headers={"retry-after": "900"}), "rate_limited", 1),
        (httpx2.ReadTimeout("x"), "timeout", 2),
        ({"words": 1}, "not_valid", 2),
        ({"text": 7}, "not_valid", 2),
        (httpx2.Response(200, text="<html>"), "not_valid", 2),
    ],
)
async def test_every_failure_has_a_reason(answer, reason, requests):
    api = FakeAPI(answer)
    with pytest.raises(ModelFailed) as failure:
        await api.adapter().transcribe(b"x", "mp4")
    assert (failure.value.reason, len(api.requests)) == (reason, requests)
    assert api.results == [reason] * requests


async def test_an_api_that_is_down_is_left_alone():
    api = FakeAPI(error(503))
    adapter = api.adapter(policy=BreakerPolicy(failures=2, first_pause=9.0))
    with pytest.raises(ModelFailed):
        await adapter.transcribe(b"x", "mp4")
    with pytest.raises(ModelFailed) as failure:
        await adapter.transcribe(b"x", "mp4")
    assert (failure.value.reason, failure.value.after, len(api.requests)) == ("held_back", 9.0, 2)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"type": "duration", "seconds": float("nan")},
        {"seconds": True},
        {"seconds": -1},
        {"seconds": 1e300},
        {"input_tokens": 10**30},
        {"output_tokens": 1e300},
    ],
)
def test_usage_that_makes_no_sense_counts_as_nothing(usage):
    heard = read_transcription(Transcription.model_construct(text="x\x00", usage=type("U", (), usage or {})()))
    assert heard == Transcribed("x", AudioUsage())


def test_a_transcript_is_bounded():
    heard = read_transcription(Transcription.model_construct(text="x" * 9000, usage=None))
    assert len(heard.text) == LONGEST_TRANSCRIPT


def test_half_an_emoji_in_a_transcript_is_left_out():
    heard = read_transcription(Transcription.model_construct(text="red \ud83d dress \ud83d\ude00", usage=None))
    assert heard.text == "red  dress \U0001f600"
