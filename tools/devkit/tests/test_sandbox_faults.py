"""Ordered misbehaviour hits the calls it is for, as often as told, and looks to a real client like the real thing."""

import asyncio
import time

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from devkit.sandbox import SandboxSettings
from devkit.sandbox.calls import Call, Request
from devkit.sandbox.faults import MAX_RULES, FaultRule, Faults
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.world import subscriber_of

ACCOUNT = "17841405309211844"
PERSON = "118354031656615"


def make_call(kind="message", contact=PERSON, text=""):
    request = Request("POST", f"/v25.0/{ACCOUNT}/messages", {}, {})
    return Call("graph", kind, request, account=ACCOUNT, contact=contact, text=text)


@given(skip=st.integers(0, 5), times=st.none() | st.integers(1, 5), calls=st.integers(0, 20))
def test_a_rule_skips_then_hits_then_rests(skip, times, calls):
    faults = Faults()
    faults.add(FaultRule(api="graph", behaviour="server_error", skip=skip, times=times))
    hits = [faults.take(make_call()) is not None for _ in range(calls)]
    expected = max(0, calls - skip) if times is None else min(times, max(0, calls - skip))
    assert sum(hits) == expected
    assert not any(hits[:skip])
    assert all(hits[skip : skip + expected])


@given(st.integers())
def test_a_probability_is_repeatable_by_its_seed(seed):
    def hits():
        faults = Faults()
        faults.add(FaultRule(api="graph", behaviour="drop", probability=0.5, seed=seed))
        return [faults.take(make_call()) is not None for _ in range(50)]

    assert hits() == hits()
    assert 0 < sum(hits()) < 50


@pytest.mark.parametrize(
    ("narrowing", "matches"),
    [
        ({"path": "*/messages"}, True),
        ({"path": "*/replies"}, False),
        ({"kind": "message"}, True),
        ({"kind": "private_reply"}, False),
        ({"account": ACCOUNT}, True),
        ({"contact": "1"}, False),
        ({"text": "سعر"}, True),
        ({"text": "price"}, False),
        ({"method": "post"}, True),
        ({"method": "GET"}, False),
    ],
)
def test_a_rule_can_be_narrowed(narrowing, matches):
    rule = FaultRule(api="graph", behaviour="drop", **narrowing)
    assert rule.matches(make_call(text="شكد السعر؟")) is matches


def test_the_first_matching_rule_is_used_and_rules_can_be_lifted():
    faults = Faults()
    first = faults.add(FaultRule(api="graph", behaviour="drop", contact="nobody"))
    second = faults.add(FaultRule(api="graph", behaviour="server_error"))
    assert faults.take(make_call()).behaviour == "server_error"
    assert faults.remove(second)
    assert not faults.remove(second)
    assert faults.take(make_call()) is None
    assert [rule["id"] for rule in faults.told()] == [first]


@given(starts=st.integers(0, 5), lasts=st.none() | st.integers(1, 5), at=st.integers(0, 15))
def test_a_rule_is_in_force_for_its_time_alone(starts, lasts, at):
    clock = [100.0]
    faults = Faults(lambda: clock[0])
    faults.add(FaultRule(api="graph", behaviour="drop", starts_in_seconds=starts, lasts_seconds=lasts))
    clock[0] += at
    in_force = at >= starts and (lasts is None or at < starts + lasts)
    assert (faults.take(make_call()) is not None) is in_force


def test_rules_that_are_over_make_room_for_new_ones():
    clock = [0.0]
    faults = Faults(lambda: clock[0])
    rule = FaultRule(api="graph", behaviour="drop", lasts_seconds=10)
    for _ in range(MAX_RULES):
        faults.add(rule)
    with pytest.raises(ValueError, match="faults"):
        faults.add(rule)
    clock[0] = 10.0
    number = faults.add(rule)
    assert [told["id"] for told in faults.told()] == [number]


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ({"api": "graph", "behaviour": "drop", "lasts_seconds": 0}, "lasts_seconds"),
        ({"api": "graph", "behaviour": "refusal"}, "behaviour"),
        ({"api": "openai", "behaviour": "graph_error", "code": 1}, "behaviour"),
        ({"api": "graph", "behaviour": "graph_error"}, "code"),
        ({"api": "graph", "behaviour": "answer"}, "status"),
        ({"api": "graph", "behaviour": "headers"}, "headers"),
        ({"api": "graph", "behaviour": "headers", "headers": {"X": "1"}, "effect": False}, "effect"),
        ({"api": "graph", "behaviour": "headers", "headers": {"X": "1\r\nSet-Cookie: a"}}, "headers"),
        ({"api": "graph", "behaviour": "slow"}, "seconds"),
        ({"api": "graph", "behaviour": "slow", "seconds": 1, "effect": False}, "effect"),
        ({"api": "graph", "behaviour": "drop_before", "effect": True}, "effect"),
        ({"api": "graph", "behaviour": "drop", "seconds": 601}, "seconds"),
        ({"api": "graph", "behaviour": "drop", "speed": 1}, "speed"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_name(rule, word):
    with pytest.raises(ValidationError, match=word):
        FaultRule(**rule)


@pytest.fixture(scope="module")
def url():
    with running_sandbox(SandboxSettings(port=0, seed="t")) as address:
        yield address


@pytest.fixture
async def http(url):
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": "Bearer 1:key"}, timeout=10) as client:
        yield client
        (await client.post("/sandbox/reset")).raise_for_status()


async def fault(http, **rule):
    (await http.post("/sandbox/faults", json=rule)).raise_for_status()


async def send_graph(http, **more):
    body = {"recipient": {"id": PERSON}, "message": {"text": "أهلاً"}}
    return await http.post(f"/graph/v25.0/{ACCOUNT}/messages", json=body, **more)


async def send_manychat(http):
    data = {"version": "v2", "content": {"type": "instagram", "messages": [{"type": "text", "text": "أهلاً"}]}}
    body = {"subscriber_id": subscriber_of(PERSON), "data": data}
    return await http.post("/manychat/fb/sending/sendContent", json=body)


SENDS = {"graph": send_graph, "manychat": send_manychat}


async def delivered(http):
    told = (await http.get(f"/sandbox/conversations?contact={PERSON}")).json()["conversations"]
    return sum(len(conversation["lines"]) for conversation in told)


async def last_call(http):
    return (await http.get("/sandbox/journal")).json()["entries"][-1]


@pytest.mark.parametrize("api", ["graph", "manychat"])
@pytest.mark.parametrize(("behaviour", "reached"), [("drop", 1), ("drop_before", 0)])
async def test_a_drop_cuts_the_connection_after_or_before_the_effect(http, api, behaviour, reached):
    await fault(http, api=api, behaviour=behaviour, times=1)
    with pytest.raises(httpx2.TransportError):
        await SENDS[api](http)
    assert await delivered(http) == reached
    call = await last_call(http)
    assert (call["outcome"], call["effect"], call["fault"]) == ("dropped", bool(reached), behaviour)
    assert (call["ending"], call["answered"], call["contact"]) == ("dropped", None, PERSON)
    assert bool(call["message_id"]) is bool(reached)
    assert (await SENDS[api](http)).status_code == 200


@pytest.mark.parametrize("effect", [True, False])
async def test_a_hanging_call_is_on_record_before_its_caller_gives_up(http, effect):
    await fault(http, api="graph", behaviour="hang", effect=effect, times=1)
    with pytest.raises(httpx2.ReadTimeout):
        await send_graph(http, timeout=0.2)
    call = await last_call(http)
    assert (call["outcome"], call["effect"]) == ("hung", effect)
    assert await delivered(http) == int(effect)


async def test_a_hang_ends_by_itself_when_it_was_given_an_end(http):
    await fault(http, api="graph", behaviour="hang", seconds=0.1, times=1)
    with pytest.raises(httpx2.RemoteProtocolError):
        await send_graph(http)


async def test_a_slow_call_succeeds_late(http):
    await fault(http, api="graph", behaviour="slow", seconds=0.2, times=1)
    started = time.monotonic()
    assert (await send_graph(http)).status_code == 200
    assert time.monotonic() - started >= 0.2
    call = await last_call(http)
    assert call["time"] - call["received"] >= 0.2
    assert (call["ending"], call["answered"] >= call["time"]) == ("answered", True)


async def test_a_refused_call_is_on_record_with_its_times_and_without_effect(http):
    await fault(http, api="graph", behaviour="rate_limited", times=1)
    await send_graph(http)
    call = await last_call(http)
    assert (call["ending"], call["effect"], call["text"], call["contact"]) == ("refused", False, "أهلاً", PERSON)
    assert call["received"] <= call["time"] <= call["answered"]


async def test_one_hanging_call_holds_up_no_other(http):
    await fault(http, api="graph", behaviour="hang", contact=PERSON)
    hanging = asyncio.create_task(send_graph(http))
    (await http.get("/sandbox/journal?wait=5")).raise_for_status()
    other = {"recipient": {"id": "222222222222222"}, "message": {"text": "أهلاً"}}
    assert (await http.post(f"/graph/{ACCOUNT}/messages", json=other)).status_code == 200
    assert not hanging.done()
    hanging.cancel()


async def test_a_graph_error_has_the_ordered_codes_and_status(http):
    await fault(http, api="graph", behaviour="graph_error", code=10, subcode=2018300, times=1)
    response = await send_graph(http)
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["error_subcode"]) == (400, 10, 2018300)
    assert await delivered(http) == 0


async def test_an_error_can_be_told_although_the_message_was_sent(http):
    await fault(http, api="graph", behaviour="graph_error", code=1, subcode=1357046, effect=True, times=1)
    response = await send_graph(http)
    assert response.status_code == 500
    assert await delivered(http) == 1
    call = await last_call(http)
    assert (call["outcome"], call["effect"], call["error"]) == ("500", True, "1/1357046")


async def test_headers_can_be_ordered_for_an_answer_that_works(http):
    full = '{"call_count":100}'
    await fault(http, api="graph", behaviour="headers", headers={"x-app-usage": full}, times=1)
    response = await send_graph(http)
    assert (response.status_code, response.headers.get_list("x-app-usage")) == (200, [full])
    assert await delivered(http) == 1


async def test_headers_can_be_ordered_for_an_error(http):
    headers = {"X-Business-Use-Case-Usage": "{}", "Retry-After": "9"}
    await fault(http, api="graph", behaviour="graph_error", code=80002, headers=headers, times=1)
    response = await send_graph(http)
    assert response.headers["retry-after"] == "9"
    assert response.headers["x-business-use-case-usage"] == "{}"
    assert "x-app-usage" in response.headers


@pytest.mark.parametrize("api", ["graph", "manychat"])
@pytest.mark.parametrize("body", ["<html>Bad gateway</html>", "", '{"error":"odd"}'])
async def test_an_answer_can_be_ordered_word_for_word(http, api, body):
    await fault(http, api=api, behaviour="answer", status=502, body=body, times=1)
    response = await SENDS[api](http)
    assert (response.status_code, response.text) == (502, body)
    assert await delivered(http) == 0


@pytest.mark.parametrize("api", ["graph", "manychat"])
async def test_throttling_says_how_long_to_wait(http, api):
    await fault(http, api=api, behaviour="rate_limited", retry_after=2.5, times=1)
    response = await SENDS[api](http)
    assert (response.status_code, response.headers["retry-after"]) == (429, "2.5")


@pytest.mark.parametrize("api", ["graph", "manychat"])
async def test_a_server_error_is_in_the_partys_own_shape(http, api):
    await fault(http, api=api, behaviour="server_error", times=1)
    response = await SENDS[api](http)
    assert response.status_code == 500
    assert ("error" in response.json()) == (api == "graph")


async def test_a_manychat_error_has_the_ordered_code(http):
    await fault(http, api="manychat", behaviour="manychat_error", code=3021, times=1)
    response = await send_manychat(http)
    assert (response.status_code, response.json()["code"]) == (400, 3021)


async def test_the_operators_inbox_records_and_can_fail_too(http):
    note = {"account": ACCOUNT, "contact": PERSON, "reason": "escalated"}
    assert (await http.post("/operator/notifications", json=note)).status_code == 201
    call = await last_call(http)
    assert (call["api"], call["contact"], call["text"], call["effect"]) == ("operator", PERSON, "escalated", True)
    assert (await http.post("/operator/notifications", content=b"[")).status_code == 400
    await fault(http, api="operator", behaviour="server_error", times=1)
    assert (await http.post("/operator/notifications", json=note)).status_code == 500


async def test_a_body_above_the_limit_is_refused(http):
    response = await http.post("/operator/notifications", content=b" " * (8 * 1024 * 1024 + 1))
    assert response.status_code == 413
