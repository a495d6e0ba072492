"""What the Graph API says about one of our accounts: whose a token is, what it may, how long it lasts, what we hear.

Facts from Meta's "Instagram API with Instagram Login": Get Started, Business Login, Webhooks, Access Token and Refresh
Access Token references. Nothing here sends to a customer. Meta's own sentences are never passed on: they change, and
could quote a token.

    GraphTrouble
    ├── GraphAway      nobody knows: no answer, or none that says anything; trying again may help
    └── GraphRefused   the platform said no; `reason` is a stable code, `words` say it and what to do
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

MOST_BYTES = 1024 * 1024
MAX_TOKEN_SECONDS = 10 * 365 * 86_400
VERSION = re.compile(r"/v\d+(\.\d+)?$")

RECONNECT = "log in with the account again and copy the new token"
WAIT = "wait some minutes and try again"

REFUSALS: Mapping[tuple[int, int | None], tuple[str, str]] = {
    (190, 458): ("app_removed", f"the app was removed from the account: {RECONNECT}"),
    (190, 460): ("password_changed", f"the account's password was changed: {RECONNECT}"),
    (190, 463): ("token_expired", f"the token has expired: {RECONNECT}"),
    (190, 467): ("token_refused", f"the token is not valid any more: {RECONNECT}"),
    (190, None): ("token_refused", f"the token is not accepted for this account and app: {RECONNECT}"),
    (452, None): ("not_exchangeable", "the token is not a short-lived one"),
    (3, None): ("permission_missing", "the app or the token lacks a permission for this"),
    (10, None): ("permission_missing", "the app or the token lacks a permission for this"),
    (100, None): ("not_accepted", "the platform does not accept the request"),
    (368, None): ("restricted", "Meta holds the account back for a while: see the account's status in Instagram"),
    (2500, None): ("not_known", "the platform knows no such request"),
}
"""What a refusal means, by (code, subcode); a subcode that is not listed falls back to its code."""

THROTTLED = frozenset({4, 17, 32, 341, 613, 80001, 80002})
NOTHING_SAID = frozenset({-1, 1, 2})
PERMISSION_CODES = range(200, 300)
TOO_MANY_REQUESTS, UNAUTHORISED, FORBIDDEN, NOT_FOUND = 429, 401, 403, 404
SERVER_ERRORS = range(500, 600)

PATH_UNKNOWN = frozenset({"not_accepted", "not_known"})
"""Refusals that say that the question is not known there, not that the token is bad."""


class GraphTrouble(Exception):
    """A question to the Graph API was not answered as hoped."""


class GraphAway(GraphTrouble):
    """No answer, or none that says anything."""


class GraphRefused(GraphTrouble):
    """The platform said no."""

    def __init__(self, reason: str, words: str, code: int | None = None, subcode: int | None = None) -> None:
        said = "" if code is None else f" (error {code}" + (f"/{subcode}" if subcode is not None else "") + ")"
        super().__init__(f"{words}{said}")
        self.reason = reason
        self.code = code
        self.subcode = subcode


@dataclass(frozen=True)
class Owner:
    """Whose a token is. `app_scoped_id` is how Meta's callbacks name who connected the account."""

    account_id: str
    app_scoped_id: str | None
    username: str
    account_type: str


@dataclass(frozen=True)
class LastingToken:
    """A token of about 60 days."""

    token: str = field(repr=False)
    expires_in: float
    """Seconds."""
    permissions: frozenset[str] | None = None


class GraphAccounts:
    """Asks about accounts. Every call ends within `timeout` seconds; an `app_secret` signs each (`appsecret_proof`)."""

    def __init__(
        self, client: httpx2.AsyncClient, base_url: str, *, timeout: float, app_secret: str | None = None
    ) -> None:
        self._client = client
        self._url = base_url.rstrip("/")
        self._unversioned = VERSION.sub("", self._url)
        self._timeout = timeout
        self._secret = app_secret

    async def owner(self, token: str) -> Owner:
        """Return whose the token is. Raises GraphTrouble."""
        asked = {"fields": "id,user_id,username,account_type"}
        told = await self._ask("GET", "/me", token, asked)
        listed = told.get("data")
        if isinstance(listed, list) and listed and isinstance(listed[0], dict):
            told = listed[0]  # one of Meta's pages shows the answer inside a list
        account = _text(told.get("user_id"))
        if not account.isdigit():
            raise GraphRefused("not_accepted", "the platform did not say which professional account the token is for")
        return Owner(
            account, _text(told.get("id")) or None, _text(told.get("username")), _text(told.get("account_type"))
        )

    async def permissions(self, token: str) -> frozenset[str] | None:
        """Return what the token may, or None where the platform does not tell. Raises GraphTrouble."""
        try:
            told = await self._ask("GET", "/me/permissions", token)
        except GraphRefused as refusal:
            if refusal.reason in PATH_UNKNOWN:
                return None
            raise
        rows = told.get("data")
        if not isinstance(rows, list):
            return None
        granted = [row for row in rows if isinstance(row, dict) and row.get("status") == "granted"]
        return frozenset(_text(row.get("permission")) for row in granted)

    async def exchanged(self, token: str) -> LastingToken:
        """Return a token of 60 days for one of an hour; needs the app's secret. Raises GraphTrouble, ValueError."""
        if self._secret is None:
            raise ValueError("exchanging a token needs the app's secret")
        asked = {"grant_type": "ig_exchange_token", "client_secret": self._secret, "access_token": token}
        return _lasting(await self._ask("GET", "/access_token", None, asked, base=self._unversioned))

    async def renewed(self, token: str) -> LastingToken:
        """Return a token of 60 more days for one that lasts and is a day old. Raises GraphTrouble."""
        asked = {"grant_type": "ig_refresh_token", "access_token": token}
        return _lasting(await self._ask("GET", "/refresh_access_token", None, asked, base=self._unversioned))

    async def subscribe(self, token: str, account: str, fields: Collection[str]) -> None:
        """Let the app hear of these fields of the account. Doing it again changes nothing. Raises GraphTrouble."""
        asked = {"subscribed_fields": ",".join(fields)}
        if (await self._ask("POST", f"/{account}/subscribed_apps", token, asked)).get("success") is not True:
            raise GraphRefused("not_accepted", "the platform did not confirm the subscription")

    async def unsubscribe(self, token: str, account: str) -> None:
        """Let the app hear nothing of the account any more. Raises GraphTrouble."""
        await self._ask("DELETE", f"/{account}/subscribed_apps", token)

    async def subscribed(self, token: str, account: str, *, app_id: str | None = None) -> frozenset[str]:
        """Return the fields of the account that an app hears of; `app_id`: only that one. Raises GraphTrouble."""
        told = (await self._ask("GET", f"/{account}/subscribed_apps", token)).get("data")
        apps = [app for app in told if isinstance(app, dict)] if isinstance(told, list) else []
        known = [app for app in apps if app_id is None or "id" not in app or _text(app["id"]) == app_id]
        return frozenset(
            _text(name)
            for app in known
            if isinstance(app.get("subscribed_fields"), list)
            for name in app["subscribed_fields"]
        )

    async def _ask(
        self, method: str, path: str, token: str | None, params: Mapping[str, str] | None = None, *, base: str = ""
    ) -> Mapping[str, Any]:
        query = dict(params or {})
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        if token is not None and self._secret is not None:
            query["appsecret_proof"] = proof_of(self._secret, token)
        try:
            async with asyncio.timeout(self._timeout):
                response = await self._client.request(
                    method,
                    (base or self._url) + path,
                    params=query,
                    headers=headers,
                    timeout=self._timeout,
                    follow_redirects=False,
                )
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError, UnicodeError) as error:
            raise GraphAway(f"the Graph API did not answer ({type(error).__name__})") from None
        return _judged(response)


def proof_of(app_secret: str, token: str) -> str:
    """Return the `appsecret_proof` of a call: HMAC-SHA256 of the token, keyed with its app's secret, in hex."""
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()


def refusal_of(code: int | None, subcode: int | None, status: int) -> GraphTrouble:
    """Say what an error means: by (code, subcode) first, then by HTTP status."""
    if code in THROTTLED or status == TOO_MANY_REQUESTS:
        return GraphRefused("throttled", f"too many calls for now: {WAIT}", code, subcode)
    if code is not None and code not in NOTHING_SAID:
        known = REFUSALS.get((code, subcode)) or REFUSALS.get((code, None))
        if known is None and code in PERMISSION_CODES:
            known = REFUSALS[10, None]
        reason, words = known or ("refused", "the platform refuses the request")
        return GraphRefused(reason, words, code, subcode)
    if status in SERVER_ERRORS or code in {-1, 2}:
        return GraphAway(f"the Graph API is out of order (HTTP {status}): {WAIT}")
    if status in {UNAUTHORISED, FORBIDDEN}:
        return GraphRefused(*REFUSALS[190, None])
    if status == NOT_FOUND:
        return GraphRefused(*REFUSALS[2500, None])
    return GraphRefused("refused", f"the platform refuses the request (HTTP {status})", code, subcode)


def _judged(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        told = response.json() if len(response.content) <= MOST_BYTES else None
    except (ValueError, RecursionError):
        told = None
    fields: Mapping[str, Any] = told if isinstance(told, dict) else {}
    error = fields.get("error")
    if isinstance(error, dict) or not response.is_success:
        said = error if isinstance(error, dict) else {}
        raise refusal_of(_number(said.get("code")), _number(said.get("error_subcode")), response.status_code)
    if not isinstance(told, dict):
        raise GraphAway(f"the Graph API answered something else than JSON (HTTP {response.status_code})")
    return fields


def _lasting(told: Mapping[str, Any]) -> LastingToken:
    token, seconds = told.get("access_token"), told.get("expires_in")
    if not isinstance(token, str) or not token:
        raise GraphAway("the platform answered without a token")
    # A time beyond all dates, or none (NaN), would end the renewal of every account behind this one.
    if not isinstance(seconds, int | float) or not 0 < seconds <= MAX_TOKEN_SECONDS:
        raise GraphAway("the platform answered with a token, and not for how long it lasts")
    listed = told.get("permissions")
    names = listed.split(",") if isinstance(listed, str) else listed if isinstance(listed, list) else None
    permissions = frozenset(_text(name).strip() for name in names) if names is not None else None
    return LastingToken(token, float(seconds), permissions)


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
