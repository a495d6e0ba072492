"""Whether the outside APIs are there and know our keys: asked for what changes nothing and costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from pydantic import SecretStr

from ai.settings import Settings as AiSettings
from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from cli.moments import in_words
from common.merchants import Merchant
from common.sealing import NotOpenable, Sealer
from common.settings import Block, named
from delivery.settings import Settings as DeliverySettings

NEEDED_FIELDS = frozenset({"messages", "comments"})
UNAUTHORISED = frozenset({401, 403})
OK, BAD_REQUEST, SERVER_ERRORS = 200, 400, range(500, 600)
TOKEN_ERRORS = frozenset({102, 190})
MOST_SKEW = timedelta(seconds=30)
"""Far below what any signature or window cares for, far above what NTP leaves."""


class Providers(Block):
    """Where the outside APIs are; the defaults are the services' own."""

    openai_api_key: SecretStr | None = named("OPENAI_API_KEY", default=None)
    openai_model: str = named("OPENAI_MODEL", default=AiSettings.model_fields["openai_model"].default)
    openai_url: str = named("OPENAI_BASE_URL", default=AiSettings.model_fields["openai_base_url"].default)
    manychat_url: str = named("MANYCHAT_BASE_URL", default=DeliverySettings.model_fields["manychat_url"].default)
    graph_url: str = named("INSTAGRAM_GRAPH_URL", default=DeliverySettings.model_fields["graph_url"].default)


@dataclass(frozen=True)
class Keys:
    """One merchant's keys, opened; `broken` when a sealed one cannot be."""

    merchant: str
    account: str
    routes: tuple[str, ...]
    access_token: str | None
    manychat_key: str | None
    broken: bool = False


def keys_of(merchant: Merchant, sealer: Sealer | None) -> Keys:
    """Open a merchant's keys."""
    broken = False
    opened: list[str | None] = []
    for sealed in (merchant.access_token, merchant.manychat_api_key):
        try:
            opened.append(sealer.open(sealed) if sealer and sealed else None)
        except NotOpenable:
            opened.append(None)
            broken = True
    return Keys(merchant.id, merchant.account_id, merchant.routes, opened[0], opened[1], broken)


def provider_checks(client: httpx2.AsyncClient, providers: Providers | None, merchants: Sequence[Keys]) -> list[Check]:
    """Return the checks of each API, and of each merchant's keys."""

    async def openai() -> str:
        return await knows_model(client, _valid(providers))

    async def clock() -> str:
        return await clock_agrees(client, _valid(providers).graph_url)

    checks = [Check("providers", "OpenAI", openai), Check("providers", "clock", clock)]
    for keys in merchants:
        checks += _merchant_checks(client, providers, keys)
    return checks


def _merchant_checks(client: httpx2.AsyncClient, providers: Providers | None, keys: Keys) -> list[Check]:
    async def manychat() -> str:
        return await knows_page(client, _valid(providers).manychat_url, keys)

    async def instagram() -> str:
        return await is_subscribed(client, _valid(providers).graph_url, keys)

    return [
        Check("providers", f"Instagram, {keys.merchant}", instagram),
        *([Check("providers", f"ManyChat, {keys.merchant}", manychat)] if "manychat" in keys.routes else []),
    ]


async def knows_model(client: httpx2.AsyncClient, providers: Providers) -> str:
    """Ask for the models. Raises Wrong when the key is refused, Doubtful when the model is not listed."""
    if providers.openai_api_key is None:
        raise Wrong("OPENAI_API_KEY is not set", "create one at platform.openai.com")
    url = providers.openai_url.rstrip("/")
    status, body = await _get(client, f"{url}/models", providers.openai_api_key.get_secret_value(), "OPENAI_BASE_URL")
    if status in UNAUTHORISED:
        raise Wrong(f"the key is refused ({status})", "set OPENAI_API_KEY to a key that is active and may be used")
    if status != OK:
        raise Wrong(f"{url}/models answered {status}", "see OPENAI_BASE_URL: it ends in /v1 for OpenAI itself")
    models = [row.get("id") for row in _list(body.get("data")) if isinstance(row, dict)]
    if models and providers.openai_model not in models:
        raise Doubtful(f"{providers.openai_model} is not among the {len(models)} models", "correct OPENAI_MODEL")
    return f"the key works, {providers.openai_model} is there"


async def knows_page(client: httpx2.AsyncClient, url: str, keys: Keys) -> str:
    """Ask ManyChat whose key it is. Raises Wrong."""
    key = _present(keys, keys.manychat_key, "ManyChat key", "MANYCHAT_API_KEY", "--manychat-key")
    status, body = await _get(client, f"{url.rstrip('/')}/fb/page/getInfo", key, "MANYCHAT_BASE_URL")
    if status in UNAUTHORISED or (status == BAD_REQUEST and body.get("status") == "error"):
        raise Wrong(f"the key is refused ({status})", "copy it anew from ManyChat: Settings, API; Pro is needed")
    if status != OK or body.get("status") != "success":
        raise Wrong(f"ManyChat answered {status}", "see MANYCHAT_BASE_URL")
    return "the key works"


async def is_subscribed(client: httpx2.AsyncClient, url: str, keys: Keys) -> str:
    """Ask the Graph API whether this account's messages and comments come to our app. Raises Wrong."""
    token = _present(keys, keys.access_token, "Instagram token", "INSTAGRAM_ACCESS_TOKEN", "--access-token")
    base = url.rstrip("/")
    status, body = await _get(client, f"{base}/{keys.account}/subscribed_apps", token, "INSTAGRAM_GRAPH_URL")
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if code in TOKEN_ERRORS or status in UNAUTHORISED:
        raise Wrong(
            f"the token is refused ({status}, code {code})",
            "it has expired after 60 days, or was revoked: make a new one in the app's dashboard",
        )
    if status != OK:
        raise Wrong(
            f"the Graph API answered {status}, code {code}",
            f"see whether {keys.account} is the professional account's id, and the token has its permissions",
        )
    fields = {
        str(field)
        for app in _list(body.get("data"))
        if isinstance(app, dict)
        for field in _list(app.get("subscribed_fields"))
    }
    if missing := sorted(NEEDED_FIELDS - fields):
        wanted = ",".join(sorted(fields | NEEDED_FIELDS))
        raise Wrong(
            f"the app does not get {' and '.join(missing)} of this account",
            f"POST {base}/{keys.account}/subscribed_apps with subscribed_fields={wanted}",
        )
    return f"the token works, subscribed to {', '.join(sorted(fields))}"


async def clock_agrees(client: httpx2.AsyncClient, url: str) -> str:
    """Compare our clock with the platform's. Raises Wrong when they differ, Doubtful when nobody tells the time."""
    try:
        response = await client.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise NotLooked("the Graph API is away", "see INSTAGRAM_GRAPH_URL") from None
    return compared(response.headers.get("date"), datetime.now(UTC))


def compared(date: str | None, now: datetime) -> str:
    """Judge an answer's Date header, which has whole seconds. Raises Wrong, Doubtful."""
    try:
        theirs = parsedate_to_datetime(date or "")
    except ValueError:
        raise Doubtful("the platform did not say what time it is") from None
    skew = now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    if abs(skew) > MOST_SKEW:
        raise Wrong(
            f"this clock is {in_words(abs(skew))} {'ahead' if skew > timedelta() else 'behind'}",
            "switch on time synchronisation (NTP): the 24-hour window and every age depend on it",
        )
    return "agrees with the platform's"


async def _get(client: httpx2.AsyncClient, url: str, bearer: str, variable: str) -> tuple[int, dict[str, Any]]:
    try:
        response = await client.get(url, headers={"authorization": f"Bearer {bearer}"})
    except (httpx2.HTTPError, httpx2.InvalidURL, UnicodeError) as error:
        raise Wrong(f"{url} cannot be reached ({type(error).__name__})", f"see {variable} and the network") from None
    if response.status_code in SERVER_ERRORS:
        raise Wrong(f"{url} answered {response.status_code}", "it is out of order: wait, and see its status page")
    try:
        body = response.json()
    except ValueError:
        body = {}
    return response.status_code, body if isinstance(body, dict) else {}


def _present(keys: Keys, value: str | None, what: str, variable: str, option: str) -> str:
    if value:
        return value
    if keys.broken:
        raise Wrong(
            f"a key of {keys.merchant} was sealed with another ENCRYPTION_KEY",
            "put that one behind the new one, separated by a comma, or enter the key again",
        )
    raise Doubtful(
        f"{keys.merchant} has no {what}: nothing can be sent this way",
        f"set {variable}, or `jawab merchants add {keys.merchant} --update {option} prompt`",
    )


def _valid(providers: Providers | None) -> Providers:
    if providers is None:
        raise NotLooked("the providers' variables are not valid", "see the lines of the environment")
    return providers


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
