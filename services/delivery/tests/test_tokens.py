"""The HTTP API's tokens: what is believed and what is not."""

import base64
import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest

from delivery.api.tokens import (
    CONTROL_CONVERSATIONS,
    MAX_LIFETIME,
    READ_CONVERSATIONS,
    REPLY_IN_CONVERSATIONS,
    SEND_MESSAGES,
    Caller,
    Forbidden,
    Unauthenticated,
    caller_of,
    issue_token,
)

SECRET = "a secret of the right length for HS256"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def check(token, *, merchant="shop", now=NOW, scope=SEND_MESSAGES, scheme="Bearer", secrets=(SECRET,)):
    return caller_of(f"{scheme} {token}", secrets=secrets, merchant=merchant, now=now, scopes=(scope,))


def signed(secret=SECRET, algorithm="HS256", **changes):
    claims = {"sub": "erp", "merchant": "shop", "scope": SEND_MESSAGES, "exp": int(NOW.timestamp()) + 60, **changes}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm=algorithm)


def test_an_issued_token_is_believed_until_it_ends():
    token = issue_token(SECRET, "shop", now=NOW, subject="erp", lifetime=timedelta(hours=1))
    assert check(token) == Caller("erp", "shop")
    assert check(token, scheme="bearer") == Caller("erp", "shop")
    assert check(token, now=NOW + timedelta(minutes=59, seconds=59)) == Caller("erp", "shop")
    with pytest.raises(Unauthenticated, match="expired"):
        check(token, now=NOW + timedelta(hours=1))


def test_while_a_secret_is_rotated_tokens_of_both_are_believed():
    newer = "the next secret, of the right length for HS256"
    assert check(issue_token(SECRET, "shop", now=NOW), secrets=(newer, SECRET)).merchant == "shop"
    assert check(issue_token(newer, "shop", now=NOW), secrets=(newer, SECRET)).merchant == "shop"
    with pytest.raises(Unauthenticated, match="another JWT_SECRET"):
        check(issue_token(SECRET, "shop", now=NOW), secrets=(newer,))


def test_a_token_that_ends_later_than_in_a_year_is_not_believed():
    end = int((NOW + MAX_LIFETIME).timestamp())
    assert check(signed(exp=end)).subject == "erp"
    for later in (end + 1, 10**18):
        with pytest.raises(Unauthenticated, match="lasts longer"):
            check(signed(exp=later))


def test_a_token_for_another_merchant_is_forbidden():
    with pytest.raises(Forbidden, match="another merchant"):
        check(issue_token(SECRET, "other", now=NOW))


@pytest.mark.parametrize("scope", ["", "messages:read", "messages:sendx", None])
def test_a_token_without_the_scope_is_forbidden(scope):
    with pytest.raises(Forbidden, match=SEND_MESSAGES):
        check(signed(scope=scope))


def test_one_of_several_scopes_is_enough():
    assert check(signed(scope="messages:read messages:send")).subject == "erp"


def test_what_several_scopes_allow_needs_one_of_them():
    token = signed(scope=READ_CONVERSATIONS)
    either = (REPLY_IN_CONVERSATIONS, READ_CONVERSATIONS)
    assert caller_of(f"Bearer {token}", secrets=[SECRET], merchant="shop", now=NOW, scopes=either).subject == "erp"
    with pytest.raises(Forbidden, match=f"{REPLY_IN_CONVERSATIONS} or {CONTROL_CONVERSATIONS}"):
        caller_of(
            f"Bearer {token}",
            secrets=[SECRET],
            merchant="shop",
            now=NOW,
            scopes=(REPLY_IN_CONVERSATIONS, CONTROL_CONVERSATIONS),
        )


def test_a_token_for_programs_lets_nobody_answer_as_a_person():
    with pytest.raises(Forbidden, match=REPLY_IN_CONVERSATIONS):
        check(issue_token(SECRET, "shop", now=NOW), scope=REPLY_IN_CONVERSATIONS)


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (signed(secret="another secret of the right length xx"), "another JWT_SECRET"),
        (signed(secret=SECRET.ljust(64, "x"), algorithm="HS512"), "HS256"),
        (signed(exp=None), "claim exp"),
        (signed(exp=True), "claim exp"),
        (signed(sub=None), "claim sub"),
        (signed(sub=""), "claim sub"),
        (signed(sub="x" * 201), "claim sub"),
        (signed(sub="half \ud83d"), "claim sub"),
        (signed(nbf=int(NOW.timestamp()) + 3600), "claim nbf"),
        (signed(nbf="tomorrow"), "claim nbf"),
        (signed(nbf=True), "claim nbf"),
        (signed(nbf=[]), "claim nbf"),
        (signed(nbf=10**400), "claim nbf"),
        (signed(nbf=float("nan")), "claim nbf"),
        ("not.a.token", "JSON Web Token"),
        ("x", "JSON Web Token"),
        (signed()[:-3], "JWT_SECRET|JSON Web Token"),
    ],
)
def test_what_cannot_be_believed_is_refused_with_the_reason(token, why):
    with pytest.raises(Unauthenticated, match=why):
        check(token)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "RS256"])
def test_the_algorithm_is_not_the_tokens_choice(algorithm):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    claims = {"sub": "x", "merchant": "shop", "scope": SEND_MESSAGES, "exp": int(NOW.timestamp()) + 60}
    for signature in ("", "AAAA"):
        with pytest.raises(Unauthenticated):
            check(f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims)}.{signature}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic abc", "abc"])
def test_a_missing_or_other_authorization_is_refused(header):
    with pytest.raises(Unauthenticated):
        caller_of(header, secrets=[SECRET], merchant="shop", now=NOW, scopes=(SEND_MESSAGES,))
