"""`jawab token` makes what the delivery service accepts."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from delivery.api.tokens import SEND_MESSAGES, Forbidden, Unauthenticated, caller_of

Jawab = Callable[..., tuple[int, str, str]]
SECRET = "a secret of more than thirty-two characters"


@pytest.fixture(autouse=True)
def secret(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_SECRET", SECRET)
    environment.setenv("MONGODB_URL", "mongodb://127.0.0.1:1/jawab")
    environment.setenv("MONGODB_TIMEOUT", "0.05")


def accepted(token: str, merchant: str, now: datetime, *scopes: str) -> str:
    needed = scopes or (SEND_MESSAGES,)
    return caller_of(f"Bearer {token}", secrets=[SECRET], merchant=merchant, now=now, scopes=needed).subject


def test_the_token_alone_is_on_standard_output_and_is_accepted(jawab: Jawab) -> None:
    code, out, err = jawab("token", "--merchant", "dar", "--subject", "shop-backend", "--ttl", "2h")
    now = datetime.now(UTC)
    assert code == 0
    assert accepted(out.strip(), "dar", now + timedelta(minutes=119)) == "shop-backend"
    assert out.strip() not in err
    with pytest.raises(Unauthenticated, match="expired"):
        accepted(out.strip(), "dar", now + timedelta(minutes=121))
    with pytest.raises(Forbidden):
        accepted(out.strip(), "other", now)


def test_where_the_merchant_cannot_be_looked_up_that_is_said(jawab: Jawab, environment: pytest.MonkeyPatch) -> None:
    assert "whether there is a merchant dar was not checked" in jawab("token", "--merchant", "dar")[2]
    environment.setenv("INSTAGRAM_PAGE_ID", "17841400000000001")
    assert "not checked" not in jawab("token", "--merchant", "default")[2]


def test_json_says_what_it_allows_and_until_when(jawab: Jawab) -> None:
    told = json.loads(jawab("token", "--merchant", "dar", "--json")[1])
    assert told["scope"] == SEND_MESSAGES
    assert told["merchant"] == "dar"
    assert accepted(told["token"], "dar", datetime.now(UTC)) == "jawab-cli"


def test_a_person_gets_a_token_for_conversations_and_for_nothing_else(jawab: Jawab) -> None:
    wanted = ("conversations:read", "conversations:reply")
    code, out, err = jawab("token", "--merchant", "dar", *(word for scope in wanted for word in ("--scope", scope)))
    now = datetime.now(UTC)
    assert code == 0
    for scope in wanted:
        assert accepted(out.strip(), "dar", now, scope) == "jawab-cli"
        assert scope in err
    for scope in ("conversations:control", SEND_MESSAGES):
        with pytest.raises(Forbidden):
            accepted(out.strip(), "dar", now, scope)


def test_an_unknown_scope_is_refused_with_those_there_are(jawab: Jawab) -> None:
    code, out, err = jawab("token", "--merchant", "dar", "--scope", "conversations:all")
    assert (code, out) == (1, "")
    assert "--scope conversations:all" in err
    assert "conversations:control" in err


@pytest.mark.parametrize("arguments", [("--ttl", "long"), ("--ttl", "0s"), ("--ttl", "400d"), ("--subject", " ")])
def test_a_senseless_wish_is_refused(jawab: Jawab, arguments: tuple[str, str]) -> None:
    code, out, err = jawab("token", "--merchant", "dar", *arguments)
    assert (code, out) == (1, "")
    assert arguments[0] in err


def test_a_short_secret_is_misconfiguration_and_not_repeated(jawab: Jawab, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("JWT_SECRET", "short-secret")
    code, _, err = jawab("token", "--merchant", "dar")
    assert code == 78
    assert "JWT_SECRET must have at least 32 characters" in err
    assert "short-secret" not in err
