"""Which images a model gets to see, and that an API which does not take them still answers."""

import json
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from ai.completion import ModelFailed
from ai.history import Line
from ai.media.links import AllowedHosts
from ai.media.sight import MOST_SHOWN, RECENT, Sight, blind
from ai.model import API, ModelLimits, OpenAIModel, openai_client
from ai.prompt import Question, chat, without_images
from ai.settings import META_HOSTS
from common.breaker import BreakerMetrics, Breakers
from common.clock import ManualClock
from common.merchants import Merchant

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
SHOP = Merchant(id="dar", name="Dar", account_id="1")
SIGHT = Sight(AllowedHosts(META_HOSTS))
ANSWER = {"reply": "hello", "intent": "other", "sentiment": "neutral", "language": "en", "escalate": False, "lead": {}}


def picture(number):
    return f"https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id={number}"


def line(*images, role="customer", at=AT, text="[image]"):
    return Line(id="l", role=role, text=text, at=at, images=images)


def test_the_turns_images_come_first_and_recent_ones_of_the_history_fill_what_is_left():
    history = (line(picture(1), picture(2)), line(picture(3)))
    shown, seen = SIGHT.choose([picture(8), picture(9)], history, at=AT)
    assert shown == (picture(8), picture(9))
    assert [one.images for one in seen] == [(picture(1),), (picture(3),)]


@pytest.mark.parametrize(
    "old",
    [
        line(picture(1), at=AT - RECENT - timedelta(seconds=1)),
        line(picture(1), role="assistant"),
        line(picture(1), role="human"),
        line("https://evil.example/1.jpg", "http://lookaside.fbsbx.com/1", "data:image/png;base64,x"),
    ],
)
def test_old_images_those_of_others_and_those_off_the_list_are_not_shown(old):
    shown, seen = SIGHT.choose(["https://evil.example/2.jpg"], (old,), at=AT)
    assert shown == ()
    assert [(one.images, one.text) for one in seen] == [((), "[image]")]


@given(st.lists(st.integers(0, 9), max_size=9), st.lists(st.lists(st.integers(10, 30), max_size=4), max_size=8))
def test_a_prompt_never_shows_more_than_the_most(turn, lines):
    history = tuple(line(*map(picture, numbers)) for numbers in lines)
    shown, seen = SIGHT.choose([picture(number) for number in turn], history, at=AT)
    assert len(shown) + sum(len(one.images) for one in seen) <= MOST_SHOWN
    assert len(shown) == min(len(set(turn)), MOST_SHOWN)
    assert [one.text for one in seen] == [one.text for one in history]


def test_a_model_without_eyes_is_shown_words_alone():
    assert blind((line(picture(1)), line())) == (line(), line())


def question(*images, history=()):
    return Question(SHOP, "direct_message", "en", "[image] have it?", history, images=images, detail="high")


def test_images_stand_beside_the_words_they_came_with():
    before, now = chat(question(picture(2), history=(line(picture(1), text="[image] this"),)))[1:]
    assert before["content"] == [
        {"type": "text", "text": "[image] this"},
        {"type": "image_url", "image_url": {"url": picture(1), "detail": "high"}},
    ]
    assert now["content"][1]["image_url"]["url"] == picture(2)
    assert [m["content"] for m in without_images([before, now])] == ["[image] this", "[image] have it?"]


class Observing:
    def __init__(self):
        self.results, self.refused = [], 0

    def called(self, result, seconds):
        self.results.append(result)

    def images_refused(self):
        self.refused += 1


async def ask(answers, asked):
    requests, observing = [], Observing()

    async def handle(request):
        requests.append(json.loads(request.content)["messages"])
        return answers[min(len(requests), len(answers)) - 1]

    client = openai_client(
        api_key="k",
        base_url="http://model.test/v1",
        timeout=5,
        connections=4,
        http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(handle)),
    )
    breakers = Breakers(API, clock=ManualClock(AT), metrics=BreakerMetrics(CollectorRegistry()))
    model = OpenAIModel(client, ModelLimits(timeout=5.0), observing, breakers)
    try:
        return (await model.complete(chat(asked))).answer.reply, requests, observing
    except ModelFailed as failure:
        return failure.reason, requests, observing


def refusal(status=400, code="invalid_image_url"):
    return httpx2.Response(status, json={"error": {"message": "Timeout while downloading https://…", "code": code}})


def completion():
    message = {"role": "assistant", "content": json.dumps(ANSWER)}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return httpx2.Response(200, json={**body, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})


@pytest.mark.parametrize("code", ["invalid_image_url", "invalid_image_format", None])
async def test_what_is_refused_with_its_images_is_asked_once_more_without_them(code):
    reply, requests, observing = await ask([refusal(code=code), completion()], question(picture(1)))
    assert reply == "hello"
    assert isinstance(requests[0][-1]["content"], list)
    assert requests[1][-1]["content"] == "[image] have it?"
    assert (observing.results, observing.refused) == (["bad_request", "ok"], 1)


async def test_without_images_it_is_refused_for_good():
    reason, requests, observing = await ask([refusal()], question(picture(1)))
    assert (reason, len(requests), observing.refused) == ("bad_request", 2, 1)
    reason, requests, observing = await ask([refusal()], question())
    assert (reason, len(requests), observing.refused) == ("bad_request", 1, 0)


async def test_an_outage_after_the_images_were_refused_is_tried_once_more_as_always():
    reply, requests, observing = await ask([refusal(), refusal(503), completion()], question(picture(1)))
    assert (reply, observing.results) == ("hello", ["bad_request", "unavailable", "ok"])
    assert isinstance(requests[2][-1]["content"], str)
