"""Logs are events: a name, a few facts, JSON on standard output. Nothing secret or personal gets into them.

Redaction is the last line of defence, not the first: callers log ids and counts. What slips through under a telling
name is replaced, and long strings are cut, so a body can never be logged whole.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

TELLING = re.compile(
    r"(secret|token|password|authorization|api_key|apikey|cookie|signature|jwt|body|payload|text|prompt|reply_text"
    r"|message_text|username|phone|email|lead|history)",
    re.IGNORECASE,
)
BEARER = re.compile(r"(?i)(bearer\s+|access_token=|sha256=|mongodb(?:\+srv)?://[^@/\s]*:)[^\s&\"']+")
HIDDEN = "[hidden]"
LONGEST = 300


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide values under telling names and tokens inside any string; cut long strings (a structlog processor)."""
    for name, value in event.items():
        if name != "event" and TELLING.search(name) and value is not None and not isinstance(value, bool | int | float):
            event[name] = HIDDEN
        elif isinstance(value, str):
            event[name] = BEARER.sub(r"\1" + HIDDEN, value)[:LONGEST]
    return event


def configure_logging(service: str, *, level: str = "info", format: str = "json") -> None:  # noqa: A002 its public name
    """Set up structlog, and send what libraries log through it (warnings and above only)."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _stamp(service),
    ]
    structlog.configure(
        processors=[*shared, _exception_name, redact, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _first_line],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _exception_name,
                redact,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _first_line(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep what a library says happened, not the objects it shows below: asyncio quotes a lost exception's message."""
    event["event"] = str(event["event"]).partition("\n")[0]
    return event


def _stamp(service: str) -> Any:
    def add(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _exception_name(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Keep an exception's class and place, not its message: messages quote what people wrote."""
    info = event.pop("exc_info", None)
    if info:
        error = sys.exc_info() if info is True else info if isinstance(info, tuple) else (type(info), info, None)
        if error[0] is not None:
            event["exception"] = error[0].__name__
            trace = error[2] or getattr(error[1], "__traceback__", None)
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            if trace is not None:
                event["at"] = f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
    return event
