"""Meta's data-deletion and deauthorize callbacks: another signature, a code that can be looked up."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest

DELETION = "/webhooks/instagram/data-deletion"
DEAUTHORIZE = "/webhooks/instagram/deauthorize"

# Signed by `openssl dgst -sha256 -hmac first-app-secret-of-the-tests -binary | openssl base64`, made url-safe.
BY_OPENSSL = (
    "77qJFRvyfRLJJr8xbJp_ud5K2CO-j044UC98h5Rq7Ho."
    "eyJ1c2VyX2lkIjoiMTAyMDMwNDA1MDYwNzA4MCIsImFsZ29yaXRobSI6IkhNQUMtU0hBMjU2IiwiaXNzdWVkX2F0IjoxNzYzNzQwODAwfQ"
)


def url_safe(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(world, payload, secret=None):
    encoded = url_safe(payload if isinstance(payload, bytes) else json.dumps(payload).encode())
    digest = hmac.new((secret or world.secret).encode(), encoded.encode(), hashlib.sha256).digest()
    return f"{url_safe(digest)}.{encoded}"


def payload(**changed):
    return {"user_id": "1020304050607080", "algorithm": "HMAC-SHA256", "issued_at": 1763740800} | changed


async def test_a_request_signed_by_openssl_is_answered_with_a_status_page_and_a_code(world):
    answer = await world.client.post(DELETION, data={"signed_request": BY_OPENSSL})
    assert answer.status_code == 200
    code = answer.json()["confirmation_code"]
    assert answer.json() == {"url": f"https://jawab.example/privacy/{code}", "confirmation_code": code}
    [event] = world.publisher.events
    assert event.type == "com.jawab.erasure.requested.v1"
    assert event.topic == "privacy.requests.v1"
    assert event.subject == event.partitionkey == event.data.code == code
    assert event.data.user_id == "1020304050607080"
    assert event.time == datetime.fromtimestamp(1763740800, UTC)


@pytest.mark.parametrize("settings", [{"privacy_status_url": "https://privacy.example/status/"}], indirect=True)
async def test_the_status_page_may_be_elsewhere(world):
    answer = await world.client.post(DELETION, data={"signed_request": BY_OPENSSL})
    assert answer.json()["url"].startswith("https://privacy.example/status/" + answer.json()["confirmation_code"])


async def test_a_repeat_has_the_same_code_and_nobody_can_guess_it(world):
    codes = []
    for secret, user in [(None, "1"), (None, "1"), (None, "2"), (world.old_secret, "1")]:
        value = signed(world, payload(user_id=user), secret)
        codes.append((await world.client.post(DELETION, data={"signed_request": value})).json()["confirmation_code"])
    assert codes[0] == codes[1]
    assert len(set(codes)) == 3
    assert all(len(code) == 32 for code in codes)
    assert world.publisher.events[0].id == world.publisher.events[1].id


async def test_json_is_read_as_well_as_a_form(world):
    answer = await world.client.post(DELETION, json={"signed_request": signed(world, payload(user_id=17))})
    assert answer.status_code == 200
    assert world.publisher.events[0].data.user_id == "17"


async def test_deauthorizing_is_its_own_event_with_a_code_of_its_own(world):
    value = signed(world, payload())
    deleted = (await world.client.post(DELETION, data={"signed_request": value})).json()
    answer = await world.client.post(DEAUTHORIZE, data={"signed_request": value})
    assert answer.status_code == 200
    assert world.publisher.types() == ["erasure.requested.v1", "deauthorization.received.v1"]
    assert world.publisher.events[1].data.code == answer.json()["confirmation_code"] != deleted["confirmation_code"]


@pytest.mark.parametrize("path", [DELETION, DEAUTHORIZE])
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "missing"),
        ("", "missing"),
        ("nodot", "<signature>.<payload>"),
        ("!.abc", "signature is not base64url"),
        ("abc.", "payload is not base64url"),
        ("a.bcde", "signature is not base64url"),
        ("abc.üü", "payload is not base64url"),
    ],
)
async def test_what_is_no_signed_request_is_400_with_what_is_wrong(world, path, value, says):
    answer = await world.client.post(path, data={} if value is None else {"signed_request": value})
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert world.publisher.events == []


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (payload(algorithm="HMAC-SHA1"), "HMAC-SHA256"),
        (payload(algorithm=None), "HMAC-SHA256"),
        (payload(user_id=None), "user_id"),
        (payload(user_id=""), "user_id"),
        ([1], "no JSON object"),
        (b"not json", "no JSON object"),
    ],
)
async def test_a_well_signed_request_that_says_nothing_usable_is_400(world, told, says):
    answer = await world.client.post(DELETION, data={"signed_request": signed(world, told)})
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
    assert world.publisher.events == []


async def test_another_secret_or_an_altered_payload_is_401(world):
    stranger = signed(world, payload(), "a-secret-of-somebody-else")
    mine, other = signed(world, payload(user_id="1")), signed(world, payload(user_id="2"))
    crossed = mine.partition(".")[0] + "." + other.partition(".")[2]
    for value in (stranger, crossed):
        assert (await world.client.post(DELETION, data={"signed_request": value})).status_code == 401
    assert world.publisher.events == []


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"\xff\xfe", "application/x-www-form-urlencoded"),
        (b"&".join(b"a=1" for _ in range(50)), "application/x-www-form-urlencoded"),
        (b"[1]", "application/json"),
        (b"{", "application/json"),
        (b'{"signed_request": 7}', "application/json"),
        (b"", "text/plain"),
    ],
)
async def test_bodies_that_are_neither_form_nor_json_are_400(world, raw, kind):
    assert (await world.client.post(DELETION, content=raw, headers={"content-type": kind})).status_code == 400


async def test_kafka_away_is_503_so_that_no_request_is_forgotten(world):
    world.publisher.away = True
    answer = await world.client.post(DELETION, data={"signed_request": signed(world, payload())})
    assert answer.status_code == 503
