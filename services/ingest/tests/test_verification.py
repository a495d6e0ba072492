"""Meta's verification request, and what can be asked about the configuration."""

import pytest

PATHS = ["/webhooks/instagram", "/api/instagram/webhook"]


def query(world, **changed):
    given = {"hub.mode": "subscribe", "hub.verify_token": world.verify_token, "hub.challenge": "TEST123"}
    given |= {f"hub.{name}": value for name, value in changed.items()}
    return {name: value for name, value in given.items() if value is not None}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("challenge", ["TEST123", "1158201444", "a.b-c_d", "x" * 200])
async def test_the_challenge_comes_back_as_it_was(world, path, challenge):
    answer = await world.client.get(path, params=query(world, challenge=challenge))
    assert (answer.status_code, answer.text) == (200, challenge)
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "changed",
    [
        {"verify_token": "wrong"},
        {"verify_token": ""},
        {"verify_token": None},
        {"verify_token": "توكن"},
        {"verify_token": "\x00"},
        {"mode": "unsubscribe"},
        {"mode": None},
        {"mode": None, "verify_token": None, "challenge": None},
    ],
)
async def test_a_wrong_token_or_mode_is_forbidden(world, path, changed):
    answer = await world.client.get(path, params=query(world, **changed))
    assert answer.status_code == 403
    assert "TEST123" not in answer.text
    assert world.verify_token not in answer.text


async def test_a_token_in_broken_utf8_is_forbidden_too(world):
    answer = await world.client.get("/webhooks/instagram?hub.mode=subscribe&hub.verify_token=%ff%fe&hub.challenge=1")
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "challenge", [None, "", "<script>alert(1)</script>", "a b", "a\nb", "é", "١٢٣", "x" * 201, "TEST123\n"]
)
async def test_a_challenge_that_is_missing_or_not_plain_is_never_sent_back(world, challenge):
    answer = await world.client.get("/webhooks/instagram", params=query(world, challenge=challenge))
    assert answer.status_code == 400
    assert "hub.challenge" in answer.json()["detail"]
    assert "<" not in answer.text


@pytest.mark.parametrize("settings", [{"verify_token": "token-of-a-file\n"}], indirect=True)
async def test_what_a_mounted_file_ends_with_is_not_part_of_the_token(world):
    answer = await world.client.get("/webhooks/instagram", params=query(world, verify_token="token-of-a-file"))
    assert answer.status_code == 200


async def test_guessing_tokens_is_limited(world):
    codes = {
        (await world.client.get("/webhooks/instagram", params=query(world, verify_token=str(n)))).status_code
        for n in range(61)
    }
    assert codes == {403, 429}
    assert (await world.client.get("/webhooks/instagram", params=query(world))).status_code == 200


async def test_info_tells_what_is_configured_and_no_secret(world):
    answer = await world.client.get("/api/instagram/webhook-info")
    told = answer.json()
    assert told["webhook_paths"] == PATHS
    assert told["verify_token_configured"] is True
    assert told["app_secrets_configured"] == 2
    assert told["manychat"]["configured"] is True
    assert told["test_path"] == "/api/instagram/webhook-test"
    for secret in (world.secret, world.old_secret, world.verify_token, world.manychat_secret):
        assert secret not in answer.text


@pytest.mark.parametrize("settings", [{"environment": "production"}], indirect=True)
async def test_in_production_the_test_route_is_not_there(world):
    answer = await world.client.post("/api/instagram/webhook-test", json=world.body(world.message()))
    assert answer.status_code == 404
    assert (await world.client.get("/api/instagram/webhook-info")).json()["test_path"] is None
    assert world.publisher.events == []
