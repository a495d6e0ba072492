"""What the Graph API says about an account: each answer understood, whatever its shape, and no token let out."""

import json
from contextlib import suppress

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.graph_accounts import (
    REFUSALS,
    GraphAccounts,
    GraphAway,
    GraphRefused,
    GraphTrouble,
    proof_of,
    refusal_of,
)

TOKEN, SECRET = "IGAA-token", "app-secret"
ERROR = {"message": f"Meta's own words, which quote {TOKEN}", "type": "OAuthException"}


class Server:
    """Answers every request alike, and keeps them."""

    def __init__(self, status=200, body=None, error=None):
        self.requests, self.status, self.error = [], status, error
        self.content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def __call__(self, request):
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        return httpx2.Response(self.status, content=self.content)

    def graph(self, url="https://graph.test/v25.0", app_secret=None):
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return GraphAccounts(client, url, timeout=5, app_secret=app_secret)


OWNER = {"id": "55", "user_id": "178", "username": "dar", "account_type": "BUSINESS"}


@pytest.mark.parametrize("body", [OWNER, {"data": [OWNER]}, {**OWNER, "user_id": 178}])
async def test_an_owner_is_read_in_each_shape(body):
    owner = await Server(body=body).graph().owner(TOKEN)
    assert (owner.account_id, owner.app_scoped_id, owner.username) == ("178", "55", "dar")


async def test_the_token_goes_in_a_header_with_a_proof_where_the_apps_secret_is_known():
    server = Server(body=OWNER)
    await server.graph(app_secret=SECRET).owner(TOKEN)
    (request,) = server.requests
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.url.params["appsecret_proof"] == proof_of(SECRET, TOKEN)
    assert TOKEN not in str(request.url)


@pytest.mark.parametrize("base", ["https://graph.test/v25.0", "https://graph.test/v25", "https://graph.test/"])
async def test_tokens_are_exchanged_and_renewed_outside_the_versions(base):
    server = Server(body={"access_token": "new", "expires_in": 5184000, "permissions": "a,b"})
    graph = server.graph(base, app_secret=SECRET)
    lasting = await graph.exchanged(TOKEN)
    assert (lasting.token, lasting.expires_in, lasting.permissions) == ("new", 5184000, {"a", "b"})
    await graph.renewed(TOKEN)
    assert [request.url.path for request in server.requests] == ["/access_token", "/refresh_access_token"]
    assert server.requests[0].url.params["client_secret"] == SECRET
    assert "new" not in repr(lasting)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "1e308", "1" + "0" * 400, "0", "-1", '"60"', "null"])
async def test_a_token_without_a_time_that_can_be_is_none(seconds):
    body = f'{{"access_token": "new", "expires_in": {seconds}}}'.encode()
    with pytest.raises(GraphAway):
        await Server(body=body).graph().renewed(TOKEN)


async def test_permissions_that_the_platform_does_not_tell_are_unknown_and_a_bad_token_is_not():
    unknown = {"error": {**ERROR, "code": 100}}
    assert await Server(400, unknown).graph().permissions(TOKEN) is None
    granted = {"data": [{"permission": "a", "status": "granted"}, {"permission": "b", "status": "declined"}]}
    assert await Server(body=granted).graph().permissions(TOKEN) == {"a"}
    with pytest.raises(GraphRefused, match="expired"):
        await Server(400, {"error": {**ERROR, "code": 190, "error_subcode": 463}}).graph().permissions(TOKEN)


async def test_fields_of_all_apps_or_of_ours_alone_are_told():
    apps = {"data": [{"id": "1", "subscribed_fields": ["messages"]}, {"id": 2, "subscribed_fields": ["comments"]}]}
    graph = Server(body=apps).graph()
    assert await graph.subscribed(TOKEN, "178") == {"messages", "comments"}
    assert await graph.subscribed(TOKEN, "178", app_id="2") == {"comments"}


async def test_a_subscription_that_is_not_confirmed_is_none():
    with pytest.raises(GraphRefused, match="did not confirm"):
        await Server(body={"success": False}).graph().subscribe(TOKEN, "178", ["messages"])


@pytest.mark.parametrize(("code", "subcode"), list(REFUSALS))
async def test_each_refusal_is_said_in_our_words(code, subcode):
    error = {**ERROR, "code": code, **({} if subcode is None else {"error_subcode": subcode})}
    with pytest.raises(GraphRefused) as caught:
        await Server(400, {"error": error}).graph().owner(TOKEN)
    reason, words = REFUSALS[code, subcode]
    assert caught.value.reason == reason
    assert str(caught.value).startswith(words)
    assert str(code) in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "status", "kind", "reason"),
    [
        (4, 400, GraphRefused, "throttled"),
        (None, 429, GraphRefused, "throttled"),
        (200, 403, GraphRefused, "permission_missing"),
        (190, 401, GraphRefused, "token_refused"),
        (7777, 400, GraphRefused, "refused"),
        (1, 400, GraphRefused, "refused"),
        (2, 500, GraphAway, None),
        (None, 503, GraphAway, None),
        (None, 401, GraphRefused, "token_refused"),
        (None, 404, GraphRefused, "not_known"),
    ],
)
def test_an_error_is_judged_by_its_code_first_and_then_by_its_status(code, status, kind, reason):
    trouble = refusal_of(code, None, status)
    assert type(trouble) is kind
    assert getattr(trouble, "reason", None) == reason


@pytest.mark.parametrize(
    "server", [Server(error=httpx2.ConnectError("x")), Server(error=httpx2.ReadTimeout("x")), Server(body=b"<html>")]
)
async def test_silence_and_nonsense_are_no_answer(server):
    with pytest.raises(GraphAway):
        await server.graph().owner(TOKEN)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "error", "id"]), inner),
    max_leaves=8,
)


@given(JSON, st.sampled_from([200, 400, 500]))
async def test_an_answer_of_any_shape_is_understood_or_refused(body, status):
    graph = Server(status, body).graph(app_secret=SECRET)
    for asked in (graph.owner(TOKEN), graph.permissions(TOKEN), graph.subscribed(TOKEN, "1"), graph.exchanged(TOKEN)):
        with suppress(GraphTrouble):
            await asked
