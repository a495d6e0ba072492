"""The sandbox's own API: look at what happened, order misbehaviour, speak as a customer.

Everything is below ``/sandbox``; the page for people is at ``/sandbox/``. Who exists is said in `facts`, how fast and
how faithfully the sandbox tells of it in `behaviour`.
"""

import json
from importlib.resources import files
from typing import Annotated, Any

import httpx2
from litestar import MediaType, Request, Response, Router, delete, get, post
from litestar.exceptions import ClientException, NotFoundException, ServiceUnavailableException
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from devkit.sandbox.behaviour import ModelLatency, behaviour_routes
from devkit.sandbox.facts import account_routes, people_routes
from devkit.sandbox.faults import FaultRule, Faults
from devkit.sandbox.journal import MAX_ENTRIES_A_READ, MAX_WAIT_SECONDS, Journal
from devkit.sandbox.observation import observe
from devkit.sandbox.openai import Script, Scripts
from devkit.sandbox.rates import Rates
from devkit.sandbox.webhooks import WebhookPoster
from devkit.sandbox.world import World

FORWARDED_HEADERS = ("content-type", "x-hub-signature", "x-hub-signature-256")

Number = Annotated[int, QueryParameter(ge=0)]
Wait = Annotated[float, QueryParameter(ge=0, le=MAX_WAIT_SECONDS)]


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
            *people_routes(world),
            *account_routes(world),
            *_fault_routes(faults),
            *_script_routes(scripts),
            *_speaking_routes(world, poster),
            *behaviour_routes(poster, rates, latency),
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
