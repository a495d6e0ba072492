"""Whether the outside APIs are there and know our keys: asked for what changes nothing and costs nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic import SecretStr

from ai.settings import Settings as AiSettings
from cli.connecting import NEEDED_FIELDS
from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from cli.environment import first_of
from cli.moments import in_words
from common.graph_accounts import GraphAccounts, GraphAway, GraphRefused
from common.merchants import Merchant
from common.platform_clock import dated
from common.sealing import SECRET_FIELDS, NotOpenable, Sealer
from common.settings import Block, named
from delivery.settings import Settings as DeliverySettings

FACEBOOK_HOST = "graph.facebook.com"
UNAUTHORISED = frozenset({401, 403})
OK, BAD_REQUEST, SERVER_ERRORS = 200, 400, range(500, 600)
MOST_SKEW = timedelta(seconds=30)
"""Far below what any signature or window cares for, far above what NTP leaves."""


class Providers(Block):
    """Where the outside APIs are; the defaults are the services' own."""

    openai_api_key: SecretStr | None = named("OPENAI_API_KEY", default=None)
    openai_model: str = named("OPENAI_MODEL", default=AiSettings.model_fields["openai_model"].default)
    openai_url: str = named("OPENAI_BASE_URL", default=AiSettings.model_fields["openai_base_url"].default)
    openai_timeout: float = named("OPENAI_TIMEOUT", default=AiSettings.model_fields["openai_timeout"].default, gt=0)
    openai_max_tokens: int = named(
        "OPENAI_MAX_TOKENS", default=AiSettings.model_fields["openai_max_tokens"].default, ge=1
    )
    openai_thinking_tokens: int = named(
        "OPENAI_THINKING_TOKENS", default=AiSettings.model_fields["openai_thinking_tokens"].default, ge=0
    )
    openai_temperature: float = named(
        "OPENAI_TEMPERATURE", default=AiSettings.model_fields["openai_temperature"].default, ge=0
    )
    manychat_url: str = named("MANYCHAT_BASE_URL", default=DeliverySettings.model_fields["manychat_url"].default)
    app_id: str | None = named("IG_APP_ID", default=None)
    graph_url: str = named("INSTAGRAM_GRAPH_URL", default=DeliverySettings.model_fields["graph_url"].default)

    @property
    def app_secret(self) -> str | None:
        """The secret of the app whose tokens this host takes, as delivery chooses it; None where it is not set."""
        by_facebook = urlsplit(self.graph_url).hostname == FACEBOOK_HOST
        return first_of(("META_APP_SECRET",) if by_facebook else ("IG_APP_SECRET",))


@dataclass(frozen=True)
class Keys:
    """The keys of one of a merchant's accounts, opened; `broken` when a sealed one cannot be."""

    merchant: str
    account: str
    routes: tuple[str, ...]
    access_token: str | None = field(repr=False)
    manychat_key: str | None = field(repr=False)
    broken: bool = False
    main: bool = True

    @property
    def name(self) -> str:
        """Whose they are, as a line of the doctor names it."""
        return self.merchant if self.main else f"{self.merchant} {self.account}"

    @property
    def connect(self) -> str:
        """The command that connects the account."""
        return f"jawab merchants connect {self.merchant}" + ("" if self.main else f" --account {self.account}")


def keys_of(merchant: Merchant, sealer: Sealer | None, *, main: bool = True) -> Keys:
    """Open the keys of the account that the merchant is seen by; `main`: its main one."""
    broken = False
    opened: list[str | None] = []
    for name in SECRET_FIELDS:
        try:
            opened.append(merchant.opened(name, sealer) if sealer else None)
        except NotOpenable:
            opened.append(None)
            broken = True
    return Keys(merchant.id, merchant.account_id, merchant.routes, opened[0], opened[1], broken, main)


def all_keys_of(merchant: Merchant, sealer: Sealer | None) -> list[Keys]:
    """Open the keys of all of a merchant's accounts."""
    seen = (merchant.seen_by(account.account_id) for account in merchant.accounts)
    return [keys_of(one, sealer, main=one.account_id == merchant.account_id) for one in seen if one is not None]


def provider_checks(
    client: httpx2.AsyncClient, providers: Providers | None, merchants: Sequence[Keys], *, patience: float
) -> list[Check]:
    """Return the checks of each API, and of each account's keys; each call ends within `patience` seconds."""

    async def openai() -> str:
        return await knows_model(client, _valid(providers))

    async def clock() -> str:
        return await clock_agrees(client, _valid(providers).graph_url)

    checks = [Check("providers", "OpenAI", openai), Check("providers", "clock", clock)]
    for keys in merchants:
        checks += _merchant_checks(client, providers, keys, patience)
    return checks


def _merchant_checks(
    client: httpx2.AsyncClient, providers: Providers | None, keys: Keys, patience: float
) -> list[Check]:
    async def manychat() -> str:
        return await knows_page(client, _valid(providers).manychat_url, keys)

    async def instagram() -> str:
        known = _valid(providers)
        graph = GraphAccounts(client, known.graph_url, timeout=patience, app_secret=known.app_secret)
        return await is_subscribed(graph, keys, known.app_id)

    return [
        Check("providers", f"Instagram, {keys.name}", instagram),
        *([Check("providers", f"ManyChat, {keys.name}", manychat)] if "manychat" in keys.routes else []),
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


async def is_subscribed(graph: GraphAccounts, keys: Keys, app_id: str | None = None) -> str:
    """Ask the Graph API whether this account's messages and comments come to our app. Raises Wrong, Doubtful."""
    token = _present(keys, keys.access_token, "Instagram token", "INSTAGRAM_ACCESS_TOKEN", "--token")
    try:
        fields = await graph.subscribed(token, keys.account, app_id=app_id)
    except GraphAway as trouble:
        raise Wrong(str(trouble), "see INSTAGRAM_GRAPH_URL and the network") from None
    except GraphRefused as refusal:
        raise Wrong(f"{refusal.reason.replace('_', ' ')}: {refusal}", keys.connect + " --token prompt") from None
    missing = sorted(NEEDED_FIELDS - fields)
    if missing:
        raise Wrong(f"our app does not get {' and '.join(missing)} of this account", keys.connect)
    return f"the token works, subscribed to {len(fields)} fields"


async def clock_agrees(client: httpx2.AsyncClient, url: str) -> str:
    """Compare our clock with the platform's. Raises Wrong when they differ, Doubtful when nobody tells the time."""
    try:
        response = await client.get(url)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        raise NotLooked("the Graph API is away", "see INSTAGRAM_GRAPH_URL") from None
    return compared(response.headers.get("date"), datetime.now(UTC))


def compared(date: str | None, now: datetime) -> str:
    """Judge an answer's Date header, which has whole seconds. Raises Wrong, Doubtful."""
    theirs = dated(date)
    if theirs is None:
        raise Doubtful("the platform did not say what time it is")
    skew = now - theirs
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
        f"{keys.connect} {option} prompt, or {variable} for the environment's own merchant",
    )


def _valid(providers: Providers | None) -> Providers:
    if providers is None:
        raise NotLooked("the providers' variables are not valid", "see the lines of the environment")
    return providers


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
