"""The part of the Graph API that is about an account and its tokens: whose a token is, what it may, what it hears of.

A token nobody told of lasts for ever, as everything unknown to the sandbox is in order. One that was exchanged here, or
told with its ages through the control API, ends when it ends (190/463).
"""

import hashlib
import hmac
from typing import Any, Protocol

from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.graph_fields import parse_fields, pick
from devkit.sandbox.world import ALL_FIELDS, Account, Grant, World

SHORT_SECONDS = 3600
LONG_SECONDS = 60 * 24 * 3600
RENEWABLE_AFTER_SECONDS = 24 * 3600
SESSION_INVALID = 452
APP = {"id": "1020304050607080", "name": "jawab sandbox"}

HEARD_WITH = {
    "comments": "instagram_business_manage_comments",
    "live_comments": "instagram_business_manage_comments",
}
MESSAGES = "instagram_business_manage_messages"
"""What every other field needs."""


class Refuse(Protocol):
    """Makes an error in the platform's shape."""

    def __call__(
        self, code: int, subcode: int | None, message: str | None = None, *, status: int | None = None
    ) -> Answer:
        """Return the answer that says so."""
        ...


class AccountActs:
    """What can be asked about an account; `refuse` words the errors."""

    def __init__(self, world: World, refuse: Refuse) -> None:
        self._world = world
        self._refuse = refuse
        self.acts = {
            "account": self._account,
            "permissions": self._permissions,
            "subscriptions": self._subscriptions,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "token_exchange": self._exchange,
            "token_refresh": self._refresh,
        }

    def problem(self, request: Request, token: str, account: Account) -> Answer | None:
        """Return why this token opens nothing here, or None: what every call is asked first."""
        if token in self._world.revoked or (account.tokens and token not in account.tokens):
            return self._refuse(190, None)
        if not account.authorized:
            return self._refuse(190, 458, "The person has removed the app")
        grant = account.grants.get(token)
        if grant is not None and grant.expires <= self._world.now():
            return self._refuse(190, 463, "The session has expired")
        proof = request.parameters.get("appsecret_proof")
        if proof is not None and self._world.app_secret:
            right = hmac.new(self._world.app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()
            if not hmac.compare_digest(str(proof).encode(), right.encode()):
                return self._refuse(100, None, "The appsecret_proof does not fit the token")
        return None

    def _account(self, call: Call, account: Account) -> Answer:
        known = {
            "id": account.app_scoped_id if _parts(call)[0] == "me" else account.id,
            "user_id": account.id,
            "username": account.username,
            "name": account.username,
            "account_type": account.account_type,
            "followers_count": 1204,
            "media_count": 87,
        }
        fields = parse_fields(call.request.query.get("fields", ""))
        return Answer(200, pick(known, fields, ("id", "user_id", "username")))

    def _permissions(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        granted = [{"permission": name, "status": "granted"} for name in sorted(account.permissions)]
        return Answer(200, {"data": granted})

    def _subscriptions(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        fields = account.subscribed_fields
        return Answer(200, {"data": [{**APP, "subscribed_fields": fields}] if fields else []})

    def _subscribe(self, call: Call, account: Account) -> Answer:
        asked = str(call.request.parameters.get("subscribed_fields", ""))
        fields = [name for name in (part.strip() for part in asked.split(",")) if name]
        wrong = [name for name in fields if name not in {*ALL_FIELDS, "mentions", "story_insights"}]
        if not fields or wrong:
            said = f"(#100) Param subscribed_fields must name fields; not one: {', '.join(wrong) or '-'}"
            return self._refuse(100, None, said)
        lacking = sorted({HEARD_WITH.get(name, MESSAGES) for name in fields} - account.permissions)
        if lacking:
            return self._refuse(10, None, f"(#10) The token lacks {', '.join(lacking)}")
        account.subscribed_fields = fields
        return Answer(200, {"success": True}, effect=True, detail={"fields": fields})

    def _unsubscribe(self, call: Call, account: Account) -> Answer:  # noqa: ARG002
        account.subscribed_fields = []
        return Answer(200, {"success": True}, effect=True)

    def _exchange(self, call: Call, account: Account) -> Answer:
        query = call.request.query
        if query.get("grant_type") != "ig_exchange_token":
            return self._refuse(100, None, "(#100) The parameter grant_type must be ig_exchange_token")
        if not query.get("client_secret"):
            return self._refuse(100, None, "(#100) The parameter client_secret is required")
        if self._world.app_secret and query["client_secret"] != self._world.app_secret:
            return self._refuse(1, None, "The client secret could not be validated", status=400)
        grant = account.grants.get(_token(call))
        if grant is not None and grant.long:
            return self._refuse(SESSION_INVALID, None, "The session key is not one that can be exchanged")
        return self._issued(account)

    def _refresh(self, call: Call, account: Account) -> Answer:
        if call.request.query.get("grant_type") != "ig_refresh_token":
            return self._refuse(100, None, "(#100) The parameter grant_type must be ig_refresh_token")
        grant = account.grants.get(_token(call))
        if grant is not None and not grant.long:
            return self._refuse(SESSION_INVALID, None, "The session key is not one that can be refreshed")
        if grant is not None and self._world.now() - grant.issued < RENEWABLE_AFTER_SECONDS:
            return self._refuse(100, None, "(#100) The token is not a day old yet")
        return self._issued(account)

    def _issued(self, account: Account) -> Answer:
        """Make a token of 60 days; the one it came from stays good until its own end."""
        token, now = f"IGAAsandbox{self._world.ids.number(40)}", self._world.now()
        account.grants[token] = Grant(issued=now, expires=now + LONG_SECONDS, long=True)
        if account.tokens:
            account.tokens.add(token)
        body: dict[str, Any] = {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": LONG_SECONDS,
            "permissions": ",".join(sorted(account.permissions)),
        }
        return Answer(200, body, effect=True, detail={"expires_in": LONG_SECONDS})


def _parts(call: Call) -> list[str]:
    parts = [part for part in call.request.path.split("/") if part]
    return parts[1:] if parts and parts[0][:1] == "v" and parts[0][1:2].isdigit() else parts


def _token(call: Call) -> str:
    return call.request.bearer or str(call.request.parameters.get("access_token", ""))
