"""Telling the merchant's people."""

import json
from datetime import UTC, datetime

import httpx2
import pytest
from prometheus_client import CollectorRegistry

from common.errors import Retryable, Throttled
from common.merchants import Merchant
from delivery.metrics import DeliveryMetrics
from delivery.platforms.calls import Answer, NoAnswer, OutsideApi
from delivery.platforms.operator import TRIES, Notice, Operator, meaning
from delivery.platforms.sending import Refused

NOTICE = Notice(
    reason="escalated",
    text="They want a person",
    conversation_id="1:2",
    account_id="1",
    contact_id="2",
    reply_id="rep_1",
    at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC),
)


def merchant(webhook="https://shop.example/alerts"):
    return Merchant(id="shop", name="Shop", account_id="1", operator_webhook=webhook)


class Inbox:
    def __init__(self, *statuses):
        self.statuses = list(statuses)
        self.asked = []
        self.registry = CollectorRegistry()
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))
        api = OutsideApi("operator", client, "", timeout=5, observe=lambda *_: None)
        self.operator = Operator(api, metrics=DeliveryMetrics(self.registry))

    def answer(self, request):
        self.asked.append(request)
        return httpx2.Response(self.statuses.pop(0))

    def counted(self, result):
        return self.registry.get_sample_value("delivery_operator_notifications_total", {"result": result})


async def test_a_notice_is_posted_as_json_without_any_token():
    inbox = Inbox(201)
    await inbox.operator.notify(merchant(), NOTICE)
    (request,) = inbox.asked
    assert (request.method, str(request.url)) == ("POST", "https://shop.example/alerts")
    assert "authorization" not in request.headers
    assert json.loads(request.content) == {
        "merchant_id": "shop",
        "account_id": "1",
        "contact_id": "2",
        "conversation_id": "1:2",
        "reply_id": "rep_1",
        "reason": "escalated",
        "text": "They want a person",
        "at": "2026-03-01T12:00:00+00:00",
    }
    assert inbox.counted("posted") == 1


async def test_a_merchant_without_an_address_is_told_by_the_log_alone(capsys):
    inbox = Inbox()
    await inbox.operator.notify(merchant(None), NOTICE)
    assert inbox.counted("logged") == 1
    said = capsys.readouterr().out
    assert "operator.needed" in said
    assert "They want a person" not in said


async def test_a_failing_address_is_tried_again_at_once():
    inbox = Inbox(500, 200)
    await inbox.operator.notify(merchant(), NOTICE)
    assert inbox.counted("posted") == 1


async def test_an_address_that_keeps_failing_is_given_up_and_counted():
    inbox = Inbox(*[500] * TRIES)
    with pytest.raises(Refused, match="operator_unreachable"):
        await inbox.operator.notify(merchant(), NOTICE)
    assert inbox.counted("unreachable") == 1


async def test_an_address_that_refuses_is_not_tried_again():
    inbox = Inbox(404)
    with pytest.raises(Refused, match="operator_unreachable") as refusal:
        await inbox.operator.notify(merchant(), NOTICE)
    assert "404" in refusal.value.detail
    assert (len(inbox.asked), inbox.counted("unreachable")) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(200), None),
        (Answer(204), None),
        (Answer(429, retry_after=2.0), Throttled),
        (Answer(408), Retryable),
        (Answer(500), Retryable),
        (Answer(503, {"error": "busy"}), Retryable),
        (NoAnswer(left=False, evidence="ConnectError"), Retryable),
        (NoAnswer(left=True, evidence="ReadTimeout"), Retryable),
        (Answer(301), Refused),
        (Answer(400), Refused),
        (Answer(401), Refused),
        (Answer(404), Refused),
        (Answer(410, "gone"), Refused),
    ],
)
def test_what_an_addresss_answer_means(answer, kind):
    error = meaning(answer)
    assert (None if error is None else type(error)) is kind


@pytest.mark.parametrize("webhook", ["http://exa\nmple/", "http://\u0663.example/", "https://h/" + "x" * 70_000])
async def test_an_address_that_is_none_is_an_address_that_takes_nothing(webhook):
    """It raised what nobody expected: the refusal that people were to be told of was lost with it."""
    inbox = Inbox()
    with pytest.raises(Refused, match="operator_unreachable"):
        await inbox.operator.notify(merchant(webhook), NOTICE)
    assert (inbox.asked, inbox.counted("unreachable")) == ([], 1)
