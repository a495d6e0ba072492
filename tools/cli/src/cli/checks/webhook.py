"""Whether the webhook answers as Meta expects: the handshake, a signature that is right, one that is not."""

import secrets
from dataclasses import dataclass

import httpx2

from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from common.public_address import is_local
from common.settings import MetaAppSettings
from devkit.signing import signed_headers

PATHS = ("/webhooks/instagram", "/api/instagram/webhook")
EMPTY = b'{"object":"instagram","entry":[]}'
OK, TOO_MANY = 200, 429
REFUSED = frozenset({400, 401, 403, TOO_MANY})
AWAY = "start ingest (`jawab up`, or `python -m ingest`), or say where it is with --url"


@dataclass(frozen=True)
class Webhook:
    """Where ingest is, and what the app's dashboard knows; None when those variables are not valid."""

    client: httpx2.AsyncClient
    url: str
    app: MetaAppSettings | None

    async def handshake(self, base: str, path: str, token: str) -> httpx2.Response:
        """Ask as Meta does when the callback URL is entered. Raises Wrong when nobody answers."""
        query = {"hub.mode": "subscribe", "hub.verify_token": token, "hub.challenge": secrets.token_hex(8)}
        return await self._request("GET", f"{base}{path}", params=query)

    async def post(self, secret: str) -> int:
        """Post an empty notification signed with `secret`; it makes no event. Raises Wrong when nobody answers."""
        response = await self._request("POST", f"{self.url}{PATHS[0]}", EMPTY, signed_headers(EMPTY, secret))
        return response.status_code

    async def _request(
        self,
        method: str,
        url: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
    ) -> httpx2.Response:
        try:
            return await self.client.request(method, url, content=content, headers=headers, params=params)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Wrong(f"nobody answered at {url} ({type(error).__name__})", AWAY) from None


def webhook_checks(webhook: Webhook, public_url: str | None, *, production: bool) -> list[Check]:
    """Return the checks of the webhook itself and of the address Meta is given."""

    async def verify_token() -> str:
        return await verifies(webhook, webhook.url)

    async def signed() -> str:
        return await accepts(webhook)

    async def forged() -> str:
        return await refuses(webhook)

    async def public() -> str:
        return await reachable_from_outside(webhook, public_url, production=production)

    return [
        Check("webhook", "verify token", verify_token),
        Check("webhook", "right signature", signed),
        Check("webhook", "wrong signature", forged),
        Check("webhook", "public address", public),
    ]


async def verifies(webhook: Webhook, base: str) -> str:
    """Go through the verification at every path, and see that a wrong token does not pass. Raises Wrong."""
    token = _app(webhook).verify_token.get_secret_value()
    for path in PATHS:
        answer = await webhook.handshake(base, path, token)
        if answer.status_code != OK:
            raise Wrong(
                f"{base}{path} answered {answer.status_code} to the handshake",
                "ingest runs with another IG_VERIFY_TOKEN than this environment: make them the same, and restart it",
            )
        if answer.text != answer.request.url.params["hub.challenge"]:
            raise Wrong(f"{base}{path} did not give the challenge back", "something else answers there: see --url")
    wrong = await webhook.handshake(base, PATHS[0], secrets.token_hex(8))
    if wrong.status_code == OK:
        raise Wrong("a wrong verify token passes too", "something else than ingest answers there: see --url")
    return "the challenge comes back at both paths, a wrong token is refused"


async def accepts(webhook: Webhook) -> str:
    """Post a notification signed with each secret. Raises Wrong unless all are accepted."""
    app_secrets = _app(webhook).app_secrets
    for number, secret in enumerate(app_secrets, 1):
        status = await webhook.post(secret)
        if status != OK:
            which = f"secret {number} of {len(app_secrets)}" if len(app_secrets) > 1 else "the app secret"
            raise Wrong(
                f"a body signed with {which} was answered {status}",
                "Kafka is away for ingest: see the lines below"
                if status >= 500  # noqa: PLR2004 the server's own fault
                else "ingest runs with another META_APP_SECRET than this environment: make them the same, restart it",
            )
    return f"accepted with {'each of ' if len(app_secrets) > 1 else ''}{len(app_secrets)} secret(s)"


async def refuses(webhook: Webhook) -> str:
    """Post a forged notification. Raises Wrong unless it is refused."""
    status = await webhook.post(secrets.token_hex(16))
    if status not in REFUSED:
        raise Wrong(
            f"a forged body was answered {status}",
            "something else than ingest answers there: see --url" if status == OK else "see ingest's logs",
        )
    return f"a forged body is refused with {status}"


async def reachable_from_outside(webhook: Webhook, public_url: str | None, *, production: bool) -> str:
    """Judge PUBLIC_URL as Meta would: https, a real name, and the handshake through it. Raises Wrong, Doubtful."""
    if public_url is None:
        raise NotLooked("PUBLIC_URL is not valid", "see the lines of the environment")
    if not public_url.startswith("https://") or is_local(public_url):
        said = f"{public_url} cannot be reached by Meta, which calls https addresses with a valid certificate only"
        fix = (
            "set PUBLIC_URL to the https address of ingest (on your own machine that of a tunnel, with "
            "JAWAB_ENV=production and secrets of your own)"
        )
        raise (Wrong if production else Doubtful)(said, fix)
    await verifies(webhook, public_url.rstrip("/"))
    return f"the handshake works through {public_url}"


def _app(webhook: Webhook) -> MetaAppSettings:
    if webhook.app is None:
        raise NotLooked("the app's variables are not valid", "see the lines of the environment")
    return webhook.app
