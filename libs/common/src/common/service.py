"""The shell of every service: a Litestar app with probes and metrics, and the way it is started.

`create_service` is used by each service's `create_app`; `run` by each `__main__`.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

import structlog
import uvicorn
from litestar import Litestar, Request, Response, get
from litestar.config.app import AppConfig
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.types import ControllerRouterHandler
from prometheus_client import CollectorRegistry
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from common import failpoints, metrics
from common.health import Health
from common.http_server import HttpMetrics, protocol_of, raise_file_limit
from common.log import configure_logging
from common.open_connections import OpenConnectionLimits
from common.settings import ServiceSettings
from common.wrong_input import dotted, problems

log = structlog.get_logger("service")

Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]

S = TypeVar("S", bound=ServiceSettings)

KNOWN_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress"})

EXIT_MISCONFIGURED = 78
"""EX_CONFIG of sysexits.h: restarting will not help."""


def create_service(
    name: str,
    *,
    routes: Sequence[ControllerRouterHandler],
    lifespan: Sequence[Lifespan],
    health: Health,
    registry: CollectorRegistry,
    max_body: int = 1024 * 1024,
    on_app_init: Sequence[Callable[[AppConfig], AppConfig]] = (),
) -> Litestar:
    """Return the service's app: its own routes beside /health, /livez, /readyz and /metrics."""
    app = Litestar(
        route_handlers=[*_probes(health), _metrics(registry), *routes],
        lifespan=list(lifespan),
        openapi_config=OpenAPIConfig(
            title=f"Jawab {name}",
            version="0.1.0",
            render_plugins=[JsonRenderPlugin()],  # the others load scripts from a CDN
        ),
        request_max_body_size=max_body,
        exception_handlers={Exception: _unexpected},
        on_app_init=list(on_app_init),
        logging_config=None,
    )
    app.state.http_metrics = HttpMetrics(registry)
    return app


def _probes(health: Health) -> list[ControllerRouterHandler]:
    @get("/livez", summary="Whether the process runs", sync_to_thread=False)
    def livez() -> dict[str, str]:
        return {"status": "ok", "service": health.service}

    @get("/readyz", summary="Whether the service should get traffic")
    async def readyz() -> Response[dict[str, Any]]:
        well, body = await health.report()
        return Response(body, status_code=200 if well else 503)

    @get("/health", summary="What the service depends on, and how each of it is")
    async def whole_health() -> Response[dict[str, Any]]:
        well, body = await health.report()
        return Response(body, status_code=200 if well else 503)

    return [livez, readyz, whole_health]


def _metrics(registry: CollectorRegistry) -> ControllerRouterHandler:
    @get("/metrics", media_type=metrics.CONTENT_TYPE, summary="Figures for Prometheus", sync_to_thread=False)
    def read_metrics() -> Response[bytes]:
        return Response(metrics.exposition(registry), headers={"content-type": metrics.CONTENT_TYPE})

    return read_metrics


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    if isinstance(error, HTTPException):
        body: dict[str, Any] = {"status_code": error.status_code, "detail": error.detail}
        if error.extra:
            body["extra"] = error.extra
        return Response(body, status_code=error.status_code, headers=error.headers)
    log.error("request.failed", method=request.method, path=request.url.path, exc_info=error)
    return Response({"status_code": 500, "detail": "Internal Server Error"}, status_code=500)


def unread_encoding(request: Request[Any, Any, Any]) -> str | None:
    """Return what to answer (415) to a body that came compressed, or None.

    Nobody who calls us compresses: Meta signs and sends plain JSON. Unpacking would also leave open which bytes a
    signature covers.
    """
    named = request.headers.get("content-encoding", "").strip().lower()
    if named in ("", "identity"):
        return None
    shown = named if named in KNOWN_ENCODINGS else "another than identity"
    return f"Content-Encoding {shown} is not read: send the body as it is, without compressing it"


async def refuse_encoded(request: Request[Any, Any, Any]) -> None:
    """Raise HTTPException (415) for a compressed body: a route's `before_request`."""
    detail = unread_encoding(request)
    if detail is not None:
        raise HTTPException(detail, status_code=415, headers={"Accept-Encoding": "identity"})


def run(name: str, settings_class: type[S], create_app: Callable[[S], Litestar]) -> None:
    """Read the environment, build the app and serve it until SIGTERM. Ends with one line and code 78 if it cannot."""
    try:
        settings = settings_class()
        # Before the wiring: what that says is a line of the log like every other.
        configure_logging(name, level=settings.log_level, format=settings.log_format)
        app = create_app(settings)
    except (ValidationError, SettingsError, ValueError) as error:
        sys.stderr.write(f"{name} cannot start: {misconfiguration(error, settings_class)}\n")
        raise SystemExit(EXIT_MISCONFIGURED) from None
    failpoints.arm(settings.failpoint)
    connections = OpenConnectionLimits(
        total=min(settings.max_connections, raise_file_limit()), per_source=settings.max_connections_per_source
    )
    log.info(
        "service.starting", environment=settings.environment, port=settings.port, max_connections=connections.total
    )
    uvicorn.run(
        app,
        http=protocol_of(app, connections=connections),
        ws="none",  # another protocol would have none of these bounds
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who may name the client's address is each service's own setting
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
        backlog=1024,
    )


def misconfiguration(error: Exception, settings_class: type[BaseSettings] | None = None) -> str:
    """Say in one line what is wrong with the environment and how to mend it, without quoting a value.

    With `settings_class` it is all of it: a check that concerns several variables is not made while one of them is
    wrong by itself, so each block that the class is composed of is asked, too.
    """
    if not isinstance(error, ValidationError):
        return " ".join(str(error).split())
    lines = _lines(error)
    for block in settings_class.__mro__[1:] if settings_class is not None else ():
        if issubclass(block, BaseSettings):
            try:
                block()
            except ValidationError as further:
                lines += _lines(further)
    return "; ".join(dict.fromkeys(lines)) + " (.env.example explains every variable)"


def _lines(error: ValidationError) -> list[str]:
    return [
        f"{dotted(problem.place)} is not set" if problem.kind == "missing" else problem.sentence()
        for problem in problems(error)
    ]
