"""What follows from an answer: the count of its row, the pause of its bucket, the pace its headers ask for."""

import json
from datetime import timedelta

import httpx2
import pytest

from common.errors import Finding, Retryable, Throttled, UnknownOutcome
from delivery.consequences import Consequences
from delivery.pace.pauses import Bucket
from delivery.platforms.calls import OutsideApi
from delivery.platforms.graph_errors import meaning
from delivery.platforms.sending import Refused
from delivery.platforms.usage import Pace

ACCOUNT = "17841400000000001"
OTHER = "17841400000000002"


@pytest.fixture
def consequences(world):
    return Consequences(pauses=world.pauses, stops=world.stops, clock=world.clock, metrics=world.metrics)


def found(error, action, code="4", api="graph"):
    return error.found(Finding(api, code, action))


async def meet(consequences, error, api="graph", account=ACCOUNT, kind="send"):
    with pytest.raises(type(error)):
        async with consequences.of(api, account, kind):
            raise error


@pytest.mark.parametrize(
    "error",
    [
        found(Throttled("limit"), "pause_app"),
        found(Refused("window_closed"), "refuse", "10/2534022"),
        found(UnknownOutcome("lost"), "unknown", "1"),
        found(Retryable("away"), "retry", "no_answer"),
    ],
)
async def test_every_error_is_counted_by_its_row_and_goes_on(world, consequences, error):
    await meet(consequences, error)
    row = error.finding
    assert world.value("delivery_errors_total", api="graph", code=row.code, action=row.action) == 1


@pytest.mark.parametrize(
    ("action", "paused", "free"),
    [
        ("pause_app", [(ACCOUNT, "send"), (OTHER, "send"), (OTHER, "read")], []),
        ("pause_account", [(ACCOUNT, "send"), (ACCOUNT, "read")], [(OTHER, "send")]),
        ("pause_call", [(ACCOUNT, "send")], [(ACCOUNT, "read"), (OTHER, "send")]),
    ],
)
async def test_a_limit_holds_back_its_bucket(consequences, action, paused, free):
    await meet(consequences, found(Throttled("limit", after=30.0), action))
    for account, kind in paused:
        with pytest.raises(Throttled) as wait:
            consequences.ask("graph", account, kind)
        assert wait.value.after == 30.0
    for account, kind in free:
        consequences.ask("graph", account, kind)
    consequences.ask("manychat", ACCOUNT, "send")


async def test_the_merchants_own_address_has_no_consequences(world, consequences):
    await meet(consequences, found(Throttled("limit"), "pause_account"), api="operator")
    consequences.ask("operator", ACCOUNT, "send")
    assert world.registry.get_sample_value("delivery_paused_buckets", {"api": "graph", "scope": "account"}) == 0


class Platform:
    """A Graph API that answers with chosen headers."""

    def __init__(self, status=200, body=None, **headers):
        def answer(_):
            return httpx2.Response(
                status, json=body or {"message_id": "m"}, headers={k.replace("_", "-"): v for k, v in headers.items()}
            )

        client = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        self.api = OutsideApi("graph", client, "https://graph.example", timeout=5, observe=lambda *_: None)

    async def call(self, consequences, account=ACCOUNT):
        async with consequences.of("graph", account, "send"):
            answer = await self.api.call("POST", "/1/messages", name="send")
            if answer.status >= 400:
                raise meaning(answer, repeatable=False)


def wait(consequences, account=ACCOUNT):
    try:
        consequences.ask("graph", account, "send")
    except Throttled as pause:
        return pause.after
    return 0.0


async def test_near_the_apps_limit_the_next_calls_of_all_accounts_are_spaced(consequences):
    await Platform(x_app_usage=json.dumps({"call_count": 85})).call(consequences)
    assert wait(consequences) == 0
    assert wait(consequences, OTHER) > 1


async def test_at_the_accounts_limit_it_stops_for_the_minutes_that_are_named(consequences):
    usage = {ACCOUNT: [{"type": "instagram", "call_count": 100, "estimated_time_to_regain_access": 4}]}
    await Platform(x_business_use_case_usage=json.dumps(usage)).call(consequences)
    assert wait(consequences) == 240
    assert wait(consequences, OTHER) == 0


async def test_the_headers_of_a_refusal_are_heeded_too(consequences):
    usage = {"999": [{"call_count": 100, "estimated_time_to_regain_access": 10}]}
    body = {"error": {"code": 80002}}
    with pytest.raises(Throttled):
        await Platform(400, body, x_business_use_case_usage=json.dumps(usage)).call(consequences)
    assert wait(consequences) == 600


async def test_a_call_that_works_after_a_pause_frees_the_others(world, consequences):
    await meet(consequences, found(Throttled("limit", after=5.0), "pause_account"))
    world.clock.advance(timedelta(seconds=5))
    assert wait(consequences) == 0
    assert wait(consequences) > 0
    await Platform().call(consequences)
    assert [wait(consequences) for _ in range(5)] == [0.0] * 5


async def test_while_an_account_is_paused_its_replies_wait_unannounced(world):
    world.platform.script = [found(Throttled("limit", after=20.0), "pause_account")]
    first, second = world.reply(), world.reply()
    with pytest.raises(Throttled):
        await world.sender.deliver(first)
    with pytest.raises(Throttled) as pause:
        await world.sender.deliver(second)
    assert pause.value.after == 20.0
    assert second.data.reply_id not in world.ledger.rows
    assert len(world.platform.sends()) == 1
    await world.deliver_until_done(first)
    await world.deliver_until_done(second)
    assert world.kinds() == ["delivered", "delivered"]


async def test_nothing_is_read_back_with_a_token_that_is_known_to_be_no_good(world):
    await world.stops.heed(
        ACCOUNT, found(Refused("token_expired", "Connect it."), "reconnect", "190"), world.clock.now()
    )
    with pytest.raises(Refused, match="needs_reconnection"):
        await world.outside.conversation("token", ACCOUNT, "7")


async def test_near_the_limit_every_reply_waits_for_its_turn_and_one_that_is_not_sent_takes_none(world):
    world.pauses.used(Bucket("graph", ACCOUNT), Pace(gap=4.0))
    await world.sender.deliver(world.reply())
    waiting = world.reply()
    with pytest.raises(Throttled) as wait:
        await world.sender.deliver(waiting)
    assert wait.value.after == 4.0
    world.clock.advance(timedelta(seconds=4))
    world.barrier.says = [Retryable("Kafka is away")]
    with pytest.raises(Retryable, match="Kafka is away"):
        await world.sender.deliver(waiting)
    await world.sender.deliver(waiting)
    assert world.kinds() == ["delivered", "delivered"]
