"""The sandbox's accounts: whose a token is, how long it lasts, what it may, and what the app hears of."""

import hashlib
import hmac

import httpx2
import pytest
from pydantic import SecretStr

from devkit.sandbox import SandboxSettings, create_sandbox

ACCOUNT, OTHER = "17841405309211844", "17841499999999999"
SECRET = "app-secret"
TOKEN = "ta"
DAY = 24 * 3600


class Clock:
    """Seconds since 1970, moved by hand."""

    def __init__(self):
        self.seconds = 1_760_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def http(clock):
    app = create_sandbox(SandboxSettings(seed="t", app_secret=SecretStr(SECRET)), now=clock)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://sandbox") as client:
        await client.post("/sandbox/accounts", json={"account": ACCOUNT, "username": "a", "tokens": ["ta"]})
        await client.post("/sandbox/accounts", json={"account": OTHER, "username": "b", "tokens": ["tb"]})
        yield client


async def ask(http, path, token=TOKEN, method="GET", **params):
    return await http.request(
        method, f"/graph/v25.0/{path}", headers={"Authorization": f"Bearer {token}"}, params=params
    )


async def exchange(http, token=TOKEN, secret=SECRET):
    query = {"grant_type": "ig_exchange_token", "client_secret": secret, "access_token": token}
    return await http.get("/graph/access_token", params=query)


async def refresh(http, token):
    return await http.get(
        "/graph/refresh_access_token", params={"grant_type": "ig_refresh_token", "access_token": token}
    )


def code_of(response):
    error = response.json()["error"]
    return error["code"], error.get("error_subcode")


async def test_me_names_the_account_and_by_another_id_who_connected_it(http):
    told = (await ask(http, "me", "tb", fields="id,user_id,username,account_type")).json()
    assert (told["user_id"], told["username"], told["account_type"]) == (OTHER, "b", "BUSINESS")
    assert told["id"] != OTHER


async def test_a_short_token_is_exchanged_for_one_of_sixty_days(http, clock):
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "grants": {"short": {"expires_seconds": 3600}}})
    made = (await exchange(http, "short")).json()
    assert made["expires_in"] == 60 * DAY
    clock.seconds += 3600
    assert code_of(await ask(http, "me", "short")) == (190, 463)
    assert (await ask(http, "me", made["access_token"])).status_code == 200
    clock.seconds += 60 * DAY
    assert code_of(await ask(http, "me", made["access_token"])) == (190, 463)


async def test_a_token_that_lasts_long_is_not_exchanged_again(http):
    long = (await exchange(http)).json()["access_token"]
    assert code_of(await exchange(http, long))[0] == 452


async def test_an_exchange_needs_the_apps_own_secret(http):
    assert code_of(await exchange(http, secret="another")) == (1, None)
    assert code_of(await exchange(http, secret="")) == (100, None)


async def test_a_token_is_renewed_from_its_second_day_on_and_while_it_lasts(http, clock):
    long = (await exchange(http)).json()["access_token"]
    clock.seconds += DAY - 1
    assert code_of(await refresh(http, long))[0] == 100
    clock.seconds += 1
    assert (await refresh(http, long)).json()["expires_in"] == 60 * DAY
    clock.seconds += 60 * DAY
    assert code_of(await refresh(http, long)) == (190, 463)


async def test_permissions_are_told_and_fields_without_theirs_are_not_heard_of(http):
    basic = ["instagram_business_basic", "instagram_business_manage_messages"]
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "permissions": basic})
    told = (await ask(http, "me/permissions")).json()["data"]
    assert [one["permission"] for one in told if one["status"] == "granted"] == basic
    path = f"{ACCOUNT}/subscribed_apps"
    assert code_of(await ask(http, path, method="POST", subscribed_fields="messages,comments"))[0] == 10
    assert (await ask(http, path, method="POST", subscribed_fields="messages")).json() == {"success": True}


async def test_a_token_opens_no_other_account(http):
    assert code_of(await ask(http, f"{OTHER}/subscribed_apps", "ta")) == (190, None)


async def test_without_the_app_no_token_opens_anything(http):
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "authorized": False})
    assert code_of(await ask(http, "me")) == (190, 458)


@pytest.mark.parametrize(("key", "code"), [(SECRET, 200), ("another", 400)])
async def test_a_proof_must_fit_the_token_and_the_apps_secret(http, key, code):
    proof = hmac.new(key.encode(), b"ta", hashlib.sha256).hexdigest()
    assert (await ask(http, "me", appsecret_proof=proof)).status_code == code


async def test_every_call_is_in_the_journal_and_no_token_is(http):
    await exchange(http)
    await ask(http, f"{ACCOUNT}/subscribed_apps", method="POST", subscribed_fields="messages")
    journal = await http.get("/sandbox/journal")
    kinds = [(entry["kind"], entry["account"], entry["effect"]) for entry in journal.json()["entries"]]
    assert kinds == [("token_exchange", ACCOUNT, True), ("subscribe", ACCOUNT, True)]
    assert "IGAAsandbox" not in journal.text
    assert SECRET not in journal.text


async def test_a_token_that_was_replaced_opens_nothing_any_more(http):
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "tokens": ["another"]})
    for path in ("me", ACCOUNT, OTHER):
        assert code_of(await ask(http, path, token="ta"))[0] == 190
    assert (await ask(http, "me", token="another", fields="user_id")).json()["user_id"] == ACCOUNT
    await http.post("/sandbox/accounts", json={"account": ACCOUNT, "tokens": ["ta"]})
    assert (await ask(http, "me", token="ta", fields="user_id")).json()["user_id"] == ACCOUNT
