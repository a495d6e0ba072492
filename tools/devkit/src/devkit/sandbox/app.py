"""Wire the sandbox world together: the only place that knows every room."""

import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from litestar import Litestar, asgi
from litestar.types import Receive, Scope, Send

from devkit.ids import Ids
from devkit.sandbox.behaviour import ModelLatency
from devkit.sandbox.calls import Room
from devkit.sandbox.control import control_router, health_route
from devkit.sandbox.door import MAX_BODY_BYTES, RoomDoor
from devkit.sandbox.faults import Faults
from devkit.sandbox.instagram import GraphRoom
from devkit.sandbox.journal import Journal
from devkit.sandbox.manychat import ManyChatRoom
from devkit.sandbox.media import MediaRoom
from devkit.sandbox.openai import OpenAIRoom, Scripts
from devkit.sandbox.operator import OperatorRoom
from devkit.sandbox.rates import Rates
from devkit.sandbox.settings import SandboxSettings
from devkit.sandbox.webhooks import EchoSettings, WebhookPoster, retry_waits
from devkit.sandbox.world import Account, World

MAX_WEBHOOK_CONNECTIONS = 16
MAX_MODEL_BYTES = 32 * 1024 * 1024
"""A recording may have 25 MB."""


def platform_clock(settings: SandboxSettings, now: Callable[[], float] = time.time) -> Callable[[], float]:
    """Return the clock of the platform that the sandbox plays."""
    return lambda: now() + settings.clock_offset


def create_sandbox(settings: SandboxSettings, *, now: Callable[[], float] = time.time) -> Litestar:
    """Return the sandbox as an application; its lifespan must run for echoes to be posted.

    `now` returns seconds since 1970; the platform's own clock, which decides the windows, differs from it by
    `settings.clock_offset`. The journal keeps the times of `now`.
    """
    token = settings.access_token.get_secret_value()
    account = Account(
        settings.account_id,
        settings.account_username,
        page_id=settings.page_id,
        tokens={token} if token else set(),
    )
    world = World(
        account=account,
        ids=Ids(settings.seed or os.urandom(8).hex()),
        now=platform_clock(settings, now),
        app_secret=settings.app_secret.get_secret_value(),
    )
    journal = Journal(settings.journal_limit, now)
    faults, scripts, rates = Faults(now), Scripts(), Rates(enforce=settings.enforce_rates)
    latency = ModelLatency(settings.model_latency_seconds)
    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=MAX_WEBHOOK_CONNECTIONS))
    poster = WebhookPoster(
        url=settings.webhook_url,
        secret=settings.app_secret.get_secret_value(),
        client=client,
        journal=journal,
        settings=EchoSettings(
            echoes=settings.echoes,
            reads=settings.reads,
            delay_seconds=settings.echo_delay_seconds,
            delay_max_seconds=settings.echo_delay_max_seconds,
            before_answer=settings.echo_before_answer,
            duplicates=settings.echo_duplicates,
            losses=settings.echo_losses,
        ),
        seed=settings.seed,
        retry_seconds=retry_waits(settings.webhook_patience_seconds),
        wants=lambda update: bool(world.account(update.account).subscribed_fields),
    )

    @asynccontextmanager
    async def posting(_: Litestar) -> AsyncIterator[None]:
        poster.start()
        try:
            yield
        finally:
            await poster.stop()
            await client.aclose()

    def at(path: str, room: Room, waits: Callable[[], float] = lambda: 0.0, most_bytes: int = MAX_BODY_BYTES) -> Any:
        door = RoomDoor(room, faults=faults, journal=journal, poster=poster, latency=waits, most_bytes=most_bytes)

        @asgi(path, is_mount=True, copy_scope=True)
        async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
            await door(scope, receive, send)

        return mounted

    return Litestar(
        route_handlers=[
            at("/v1", OpenAIRoom(scripts, now), latency, MAX_MODEL_BYTES),
            at("/manychat", ManyChatRoom(world, rates, igsid_field_id=settings.igsid_field_id)),
            at("/graph", GraphRoom(world, rates)),
            at("/operator", OperatorRoom()),
            at("/media", MediaRoom()),
            control_router(
                world=world,
                journal=journal,
                faults=faults,
                scripts=scripts,
                poster=poster,
                rates=rates,
                latency=latency,
            ),
            health_route(world=world, journal=journal, poster=poster),
        ],
        lifespan=[posting],
        openapi_config=None,
        logging_config=None,
    )
