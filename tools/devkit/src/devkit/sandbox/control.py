"""The sandbox's own API: look at what happened, say who exists, order misbehaviour, speak as a customer.

Everything is below ``/sandbox``; the page for people is at ``/sandbox/``.
"""

import json
from dataclasses import asdict
from importlib.resources import files
from typing import Annotated, Any

import httpx2
from litestar import MediaType, Request, Response, Router, delete, get, patch, post, put
from litestar.exceptions import ClientException, NotFoundException, ServiceUnavailableException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from pydantic import BaseModel, ConfigDict, Field

from devkit.sandbox.faults import FaultRule, Faults
from devkit.sandbox.journal import MAX_ENTRIES_A_READ, MAX_WAIT_SECONDS, Journal
from devkit.sandbox.observation import observe
from devkit.sandbox.openai import Script, Scripts
from devkit.sandbox.rates import Rates
from devkit.sandbox.webhooks import WebhookPoster
from devkit.sandbox.world import Comment, Grant, World

FORWARDED_HEADERS = ("content-type", "x-hub-signature", "x-hub-signature-256")

Number = Annotated[int, QueryParameter(ge=0)]
Wait = Annotated[float, QueryParameter(ge=0, le=MAX_WAIT_SECONDS)]


class PersonTold(BaseModel):
    """What to know about a customer; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contact: str = Field(min_length=1)
    account: str | None = None
    username: str | None = None
    name: str | None = None
    last_message: float | None = None
    """When they last wrote, in seconds since 1970."""
    last_message_seconds_ago: float | None = Field(default=None, ge=0)
    subscriber: bool | None = None
    linked: bool | None = None
    unavailable: bool | None = None
    missing: bool | None = None
    owned_by_other_app: bool | None = None
    profile_error: int | None = None
    email: str | None = None
    phone: str | None = None
    custom_fields: dict[str, Any] | None = None


class GrantTold(BaseModel):
    """How old a Graph token is and when it ends, in seconds from now."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    age_seconds: float = Field(default=0.0, ge=0)
    expires_seconds: float = 3600.0
    """Zero or less: it has ended."""
    long: bool = False


class AccountTold(BaseModel):
    """What to know about an account; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str = Field(min_length=1)
    username: str | None = None
    page_id: str | None = None
    tokens: list[str] | None = None
    """The only Graph tokens it answers to; an empty list lets any through."""
    subscribed_fields: list[str] | None = None
    """An empty list is a lost subscription: no webhook is posted for it."""
    app_scoped_id: str | None = None
    account_type: str | None = None
    permissions: list[str] | None = None
    authorized: bool | None = None
    """False: the person removed the app, so that no token opens anything."""
    grants: dict[str, GrantTold] | None = None
    """Tokens whose ages matter; each of them is one of the account's tokens, too."""


class CommentTold(BaseModel):
    """A comment that exists."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    contact: str = Field(min_length=1)
    account: str | None = None
    text: str = ""
    created: float | None = None
    """When it was written, in seconds since 1970."""
    created_seconds_ago: float | None = Field(default=None, ge=0)
    product: str = "FEED"
    media: str = ""
    parent: str = ""
    hidden: bool = False


class Behaviour(BaseModel):
    """The sandbox's own ways; what is left out stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    echoes: bool | None = None
    reads: bool | None = None
    echo_delay_seconds: float | None = Field(default=None, ge=0, le=600)
    echo_delay_max_seconds: float | None = Field(default=None, ge=0, le=600)
    """Where above the delay: each echo waits a time of its own between the two."""
    echo_before_answer: float | None = Field(default=None, ge=0, le=1)
    """How often an echo comes before the send's own answer; true for always."""
    echo_duplicates: float | None = Field(default=None, ge=0, le=1)
    """How often an echo is told twice."""
    echo_losses: float | None = Field(default=None, ge=0, le=1)
    """How often an echo is never told."""
    model_latency_seconds: float | None = Field(default=None, ge=0, le=600)
    enforce_rates: bool | None = None
    webhook_url: str | None = None


class RateLimit(BaseModel):
    """A limit in the place of a documented one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    calls: float = Field(ge=1)
    seconds: float = Field(gt=0)


class ModelLatency:
    """How long the model thinks, in seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> float:
        """Return the seconds."""
        return self.seconds


def control_router(
    *,
    world: World,
    journal: Journal,
    faults: Faults,
    scripts: Scripts,
    poster: WebhookPoster,
    rates: Rates,
    latency: ModelLatency,
) -> Router:
    """Return the routes below ``/sandbox``."""

    @post("/reset", status_code=204, sync_to_thread=False)
    def reset() -> None:
        for kept in (journal, faults, scripts, rates):
            kept.clear()
        world.forget()

    return Router(
        "/sandbox",
        route_handlers=[
            *_looking_routes(world, journal),
            *_people_routes(world),
            *_account_routes(world),
            *_fault_routes(faults),
            *_script_routes(scripts),
            *_speaking_routes(world, poster),
            *_behaviour_routes(poster, rates, latency),
            reset,
        ],
    )


def _looking_routes(world: World, journal: Journal) -> list[Any]:
    page = (files("devkit.sandbox") / "page.html").read_text(encoding="utf-8")

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def show_page() -> str:
        return page

    @get("/journal")
    async def read_journal(
        *,
        after: Number = 0,
        wait: Wait = 0.0,
        limit: Annotated[int, QueryParameter(ge=1, le=MAX_ENTRIES_A_READ)] = MAX_ENTRIES_A_READ,
        api: FromQuery[str] = "",
        kind: FromQuery[str] = "",
        contact: FromQuery[str] = "",
        bodies: FromQuery[bool] = False,
    ) -> dict[str, Any]:
        entries = (await journal.wait_after(after, wait) if wait else journal.after(after))[:limit]
        seen = entries[-1].number if entries else max(after, 0)
        chosen = [
            entry.told(bodies=bodies)
            for entry in entries
            if (not api or entry.api == api)
            and (not kind or entry.kind == kind)
            and (not contact or entry.contact == contact)
        ]
        return {"entries": chosen, "next": seen, "last": journal.last, "forgotten": journal.forgotten}

    @delete("/journal", sync_to_thread=False)
    def clear_journal() -> None:
        journal.clear()

    @get("/conversations", sync_to_thread=False)
    def read_conversations(
        since: Number = 0, account: FromQuery[str] = "", contact: FromQuery[str] = ""
    ) -> dict[str, Any]:
        told = world.told(since=since, account=account, contact=contact)
        return {"version": world.version, "count": len(world.conversations), "conversations": told}

    return [show_page, read_journal, clear_journal, read_conversations]


def _people_routes(world: World) -> list[Any]:
    @get("/people", sync_to_thread=False)
    def read_people(contact: FromQuery[str] = "") -> dict[str, Any]:
        people = [p.told() for p in world.people.values() if not contact or p.id == contact]
        return {"people": people[:MAX_ENTRIES_A_READ]}

    @post("/people", sync_to_thread=False)
    def tell_person(data: JSONBody[PersonTold]) -> dict[str, Any]:
        person = world.person(data.account or world.default_account, data.contact)
        told = data.model_dump(exclude_unset=True, exclude={"contact", "account", "last_message_seconds_ago"})
        for name, value in told.items():
            setattr(person, name, value)
        if data.last_message_seconds_ago is not None:
            person.last_message = world.now() - data.last_message_seconds_ago
        return person.told()

    @post("/comments", sync_to_thread=False)
    def tell_comment(data: JSONBody[CommentTold]) -> dict[str, Any]:
        created = data.created
        if data.created_seconds_ago is not None:
            created = world.now() - data.created_seconds_ago
        comment = Comment(
            data.id,
            data.account or world.default_account,
            data.contact,
            text=data.text,
            created=created if created is not None else world.now(),
            product=data.product,
            media=data.media,
            parent=data.parent,
            hidden=data.hidden,
        )
        world.receive_comment(comment)
        return asdict(comment)

    return [read_people, tell_person, tell_comment]


def _account_routes(world: World) -> list[Any]:
    @get("/accounts", sync_to_thread=False)
    def read_accounts() -> dict[str, Any]:
        listed = [
            {
                "account": account.id,
                "username": account.username,
                "page_id": account.page_id,
                "subscribed_fields": account.subscribed_fields,
                "tokens": len(account.tokens),
            }
            for account in world.accounts.values()
        ]
        return {"accounts": listed}

    @post("/accounts", sync_to_thread=False)
    def tell_account(data: JSONBody[AccountTold]) -> dict[str, Any]:
        account = world.account(data.account)
        told = data.model_dump(exclude_none=True, exclude={"account", "tokens", "permissions", "grants"})
        for name, value in told.items():
            setattr(account, name, value)
        if data.tokens is not None:
            account.tokens = set(data.tokens)
        if data.permissions is not None:
            account.permissions = set(data.permissions)
        now = world.now()
        for token, grant in (data.grants or {}).items():
            account.tokens.add(token)
            account.grants[token] = Grant(now - grant.age_seconds, now + grant.expires_seconds, grant.long)
        return {"account": account.id, "username": account.username, "page_id": account.page_id}

    return [read_accounts, tell_account]


def _fault_routes(faults: Faults) -> list[Any]:
    @get("/faults", sync_to_thread=False)
    def read_faults() -> dict[str, Any]:
        return {"faults": faults.told()}

    @post("/faults", sync_to_thread=False)
    def add_fault(data: JSONBody[FaultRule]) -> dict[str, int]:
        try:
            return {"id": faults.add(data)}
        except ValueError as error:
            raise ClientException(str(error)) from error

    @delete("/faults", sync_to_thread=False)
    def clear_faults() -> None:
        faults.clear()

    @delete("/faults/{number:int}", sync_to_thread=False)
    def remove_fault(number: FromPath[int]) -> None:
        if not faults.remove(number):
            raise NotFoundException(f"faults: there is no rule {number}")

    return [read_faults, add_fault, clear_faults, remove_fault]


def _script_routes(scripts: Scripts) -> list[Any]:
    @get("/scripts", sync_to_thread=False)
    def read_scripts() -> dict[str, Any]:
        return {"scripts": scripts.told()}

    @post("/scripts", sync_to_thread=False)
    def add_script(data: JSONBody[Script]) -> dict[str, Any]:
        try:
            scripts.add(data)
        except ValueError as error:
            raise ClientException(str(error)) from error
        return {"scripts": len(scripts.told())}

    @delete("/scripts", sync_to_thread=False)
    def clear_scripts() -> None:
        scripts.clear()

    return [read_scripts, add_script, clear_scripts]


def _speaking_routes(world: World, poster: WebhookPoster) -> list[Any]:
    @post("/webhooks", status_code=200)
    async def pass_webhook(request: Request[Any, Any, Any], deliver: FromQuery[bool] = True) -> dict[str, Any]:
        raw = await request.body()
        try:
            body = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ClientException(f"the body is not JSON: {error}") from error
        learnt = observe(world, body)
        if not deliver:
            return {"learnt": learnt, "status": None}
        if not poster.url:
            raise ServiceUnavailableException("SANDBOX_WEBHOOK_URL is not set: there is nowhere to deliver to")
        given = {name: request.headers[name] for name in FORWARDED_HEADERS if name in request.headers}
        signed = any(name.startswith("x-hub") for name in given)
        try:
            status = await poster.forward(raw, given if signed else None)
        except httpx2.TransportError as error:
            message = f"{poster.url} did not answer: {type(error).__name__}"
            raise ServiceUnavailableException(message) from error
        return {"learnt": learnt, "status": status}

    @get("/webhooks", sync_to_thread=False)
    def read_posting() -> dict[str, int]:
        return poster.told()

    return [pass_webhook, read_posting]


def _behaviour_routes(poster: WebhookPoster, rates: Rates, latency: ModelLatency) -> list[Any]:
    @get("/behaviour", sync_to_thread=False)
    def read_behaviour() -> dict[str, Any]:
        echo = poster.settings
        return {
            "echoes": echo.echoes,
            "reads": echo.reads,
            "echo_delay_seconds": echo.delay_seconds,
            "echo_delay_max_seconds": echo.delay_max_seconds,
            "echo_before_answer": echo.before_answer,
            "echo_duplicates": echo.duplicates,
            "echo_losses": echo.losses,
            "model_latency_seconds": latency.seconds,
            "enforce_rates": rates.enforce,
            "webhook_url": poster.url,
        }

    @get("/rates", sync_to_thread=False)
    def read_rates() -> dict[str, Any]:
        return {"enforced": rates.enforce, "exceeded": rates.exceeded, "counts": rates.told()}

    @put("/rates", sync_to_thread=False)
    def change_rates(data: JSONBody[dict[str, RateLimit]]) -> dict[str, Any]:
        rates.set_limits({what: (told.calls, told.seconds) for what, told in data.items()})
        return {"exceeded": rates.exceeded}

    @patch("/behaviour", sync_to_thread=False)
    def change_behaviour(data: JSONBody[Behaviour]) -> dict[str, Any]:
        echo = poster.settings
        told = data.model_dump(exclude_none=True)
        echo.echoes = told.get("echoes", echo.echoes)
        echo.reads = told.get("reads", echo.reads)
        echo.delay_seconds = told.get("echo_delay_seconds", echo.delay_seconds)
        echo.delay_max_seconds = told.get("echo_delay_max_seconds", echo.delay_max_seconds)
        echo.before_answer = told.get("echo_before_answer", echo.before_answer)
        echo.duplicates = told.get("echo_duplicates", echo.duplicates)
        echo.losses = told.get("echo_losses", echo.losses)
        latency.seconds = told.get("model_latency_seconds", latency.seconds)
        rates.enforce = told.get("enforce_rates", rates.enforce)
        poster.url = told.get("webhook_url", poster.url)
        return told

    return [read_behaviour, change_behaviour, read_rates, change_rates]


def health_route(*, world: World, journal: Journal, poster: WebhookPoster) -> Any:
    """Return ``GET /health``: the sandbox depends on nothing, so it is healthy when it answers."""

    @get("/health", sync_to_thread=False)
    def health() -> Response[dict[str, Any]]:
        return Response(
            {
                "status": "ok",
                "calls": journal.last,
                "conversations": len(world.conversations),
                "webhooks": {"url": poster.url, **poster.told()},
            }
        )

    return health
