"""The HTTP API's tokens: JSON Web Tokens signed with HS256, each for one merchant.

A token says who speaks (`sub`), for which merchant (`merchant`), what it allows (`scope`) and until when (`exp`). The
algorithm is fixed: what the token's own header asks for is never believed (RFC 8725, section 3.1).
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import jwt

from common.bounds import is_whole_text

ALGORITHM = "HS256"
SEND_MESSAGES = "messages:send"
READ_CONVERSATIONS = "conversations:read"
CONTROL_CONVERSATIONS = "conversations:control"
REPLY_IN_CONVERSATIONS = "conversations:reply"

SCOPES: Mapping[str, str] = MappingProxyType(
    {
        SEND_MESSAGES: "send messages as a program, and see what became of them",
        READ_CONVERSATIONS: "see who answers a conversation and what may be sent",
        CONTROL_CONVERSATIONS: "take conversations over, release and resolve them",
        REPLY_IN_CONVERSATIONS: "answer customers as a person: only for tokens that people use",
    }
)
"""What a token can allow. A program must not answer as a person: HUMAN_AGENT is for people alone."""

DEFAULT_LIFETIME = timedelta(hours=12)
MAX_LIFETIME = timedelta(days=366)
"""No token is believed that ends later than this from now: one that is lost must become useless by itself."""

MAX_SUBJECT = 200
"""Characters. The subject is stored with every reply and change of the conversation, and published."""

ISSUER_CLOCK_AHEAD = timedelta(seconds=60)


class Unauthenticated(Exception):
    """Nobody knows who is calling; the message says why in one line."""


class Forbidden(Exception):
    """It is known who is calling, and they may not; the message says why in one line."""


@dataclass(frozen=True)
class Caller:
    """Who calls, and for which merchant."""

    subject: str
    merchant: str


def issue_token(
    secret: str,
    merchant: str,
    *,
    now: datetime,
    subject: str = "jawab-cli",
    lifetime: timedelta = DEFAULT_LIFETIME,
    scope: str = SEND_MESSAGES,
) -> str:
    """Return a token that lets `subject` act for `merchant` until `now + lifetime`."""
    claims = {
        "sub": subject,
        "merchant": merchant,
        "scope": scope,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def caller_of(
    authorization: str | None, *, secrets: Sequence[str], merchant: str, now: datetime, scopes: Sequence[str]
) -> Caller:
    """Return who sent a request with this Authorization header; one of `secrets` signed it, one of `scopes` is enough.

    Raises Unauthenticated or Forbidden.
    """
    claims = _claims(_bearer(authorization), secrets)
    subject, own, expires = claims.get("sub"), claims.get("merchant"), claims.get("exp")
    if not isinstance(subject, str) or not subject:
        raise Unauthenticated("the token has no subject (claim sub)")
    if len(subject) > MAX_SUBJECT or not is_whole_text(subject):
        raise Unauthenticated(f"the token's subject (claim sub) must be at most {MAX_SUBJECT} whole characters")
    if not isinstance(expires, int) or isinstance(expires, bool):
        raise Unauthenticated("the token does not say when it ends (claim exp, seconds since 1970)")
    if now.timestamp() >= expires:
        raise Unauthenticated(f"the token has expired: get a new one with `jawab token --merchant {merchant}`")
    if expires > (now + MAX_LIFETIME).timestamp():
        raise Unauthenticated(f"the token lasts longer than {MAX_LIFETIME.days} days (claim exp): get a shorter one")
    begins = claims.get("nbf", 0)
    if not isinstance(begins, int | float) or isinstance(begins, bool):
        raise Unauthenticated("the token does not say when it begins (claim nbf must be seconds since 1970)")
    # Written this way round because nothing is later than "not a number", which JSON's readers let through.
    if not (now + ISSUER_CLOCK_AHEAD).timestamp() >= begins:
        raise Unauthenticated("the token is not valid yet (claim nbf)")
    if own != merchant:
        raise Forbidden("the token is for another merchant")
    allowed = claims.get("scope")
    if not isinstance(allowed, str) or not set(scopes) & set(allowed.split()):
        raise Forbidden(f"the token does not allow this (claim scope needs {' or '.join(scopes)})")
    return Caller(subject, merchant)


def _bearer(authorization: str | None) -> str:
    if not authorization:
        raise Unauthenticated("a token is needed: Authorization: Bearer <token from `jawab token`>")
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header must be: Bearer <token>")
    return token.strip()


def _claims(token: str, secrets: Sequence[str]) -> dict[str, Any]:
    """Return the claims of a token that one of the secrets signed. The caller checks times, by its own clock."""
    for secret in secrets:
        with contextlib.suppress(jwt.InvalidSignatureError):
            return _signed_claims(token, secret)
    raise Unauthenticated("the token's signature does not fit: it was made with another JWT_SECRET")


def _signed_claims(token: str, secret: str) -> dict[str, Any]:
    try:
        return jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False},
        )
    except jwt.InvalidSignatureError:
        raise  # another secret may have signed it
    except jwt.InvalidAlgorithmError:
        raise Unauthenticated(f"the token must be signed with {ALGORITHM}") from None
    except (jwt.PyJWTError, ValueError):
        raise Unauthenticated("the token cannot be read: it must be a JSON Web Token") from None
