"""One call to an outside API, from the request to an answer or to the knowledge that none came.

What matters afterwards is one thing: may the other side have seen the request? Until its first byte was written the
answer is no, and the call may simply be made again. From then on a missing answer means that nobody knows.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx2

from common.clock import SystemClock, monotonic
from common.platform_clock import RemoteClock, dated

MAX_ANSWER_BYTES = 1024 * 1024
MAX_HEADER_CHARACTERS = 32 * 1024
LONGEST_WAIT = 3600.0
MAX_PORT = 65535

NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
"""Failures that happen before the first byte of a request is written."""

Observe = Callable[[str, str, float], None]
"""Takes an API, a call's name and its seconds."""


@dataclass(frozen=True)
class Answer:
    """What came back. `body` is None when it was no JSON.

    `app_usage` and `account_usage` are the texts of X-App-Usage and X-Business-Use-Case-Usage (`usage`).
    """

    status: int
    body: Any = field(default=None, repr=False)
    retry_after: float | None = None
    app_usage: str | None = None
    account_usage: str | None = None

    @property
    def fields(self) -> Mapping[str, Any]:
        """The body where it is an object, else an empty one."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def succeeded(self) -> bool:
        """Whether the HTTP status says so; a body may say otherwise."""
        return httpx2.codes.is_success(self.status)


@dataclass(frozen=True)
class NoAnswer:
    """Nothing came back. `left` tells whether any of the request may have left; `evidence` is an error's class."""

    left: bool
    evidence: str


_heard: ContextVar[list[Answer] | None] = ContextVar("answers heard", default=None)


@contextmanager
def heard() -> Iterator[list[Answer]]:
    """Collect the answers that come to the calls made inside, also where only an error is made of them."""
    answers: list[Answer] = []
    token = _heard.set(answers)
    try:
        yield answers
    finally:
        _heard.reset(token)


LastLook = Callable[[], Awaitable[None]]
"""Returns where a call may still begin; raises where it may not."""

_last_look: ContextVar[LastLook | None] = ContextVar("last look before sending", default=None)


@contextmanager
def looking_last(look: LastLook | None) -> Iterator[None]:
    """Let the calls made inside look once more when the transport begins to write the request.

    A connection may have to be waited for, looked up and secured first, for seconds. What `look` raises comes out of
    the call, and not one byte of the request was written then.
    """
    token = _last_look.set(look)
    try:
        yield
    finally:
        _last_look.reset(token)


async def look_last() -> None:
    """Look whether the call may still begin. Raises what the caller's look raises."""
    look = _last_look.get()
    if look is not None:
        await look()


class OutsideApi:
    """An outside API: one base URL, one bound on each call. `clock` is its clock, as its answers show it."""

    def __init__(
        self,
        name: str,
        client: httpx2.AsyncClient,
        base_url: str,
        *,
        timeout: float,
        observe: Observe,
    ) -> None:
        self.name = name
        self._client = client
        self._base_url = base_url
        self._observe = observe
        self.clock = RemoteClock()
        self._total = timeout
        # Shorter than the whole, so that it is always known whether a connection was the matter.
        self._timeout = httpx2.Timeout(timeout, connect=min(timeout / 2, 5.0), pool=timeout / 4)

    async def call(
        self,
        method: str,
        path: str,
        *,
        name: str,
        token: str | None = None,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Answer | NoAnswer:
        """Make the call, once. Never raises for what the network or the other side does, nor for an address that is
        none: a merchant's own may be anything. Raises what `looking_last` raises.
        """
        steps: list[str] = []

        async def note(step: str, _: Mapping[str, Any]) -> None:
            if step.endswith("send_request_headers.started"):
                steps.append("look_last.started")
                await look_last()
            steps.append(step)

        try:
            request = self._client.build_request(
                method,
                self._base_url + path,
                params=params,
                json=body,
                headers={"authorization": f"Bearer {token}"} if token else None,
                timeout=self._timeout,
                extensions={"trace": note},
            )
        except (httpx2.InvalidURL, ValueError) as error:
            return NoAnswer(left=False, evidence=type(error).__name__)
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._total):
                answer = await self._exchange(request)
        except NOT_SENT as error:
            return NoAnswer(left=False, evidence=type(error).__name__)
        except (httpx2.HTTPError, httpx2.StreamError, TimeoutError, OSError) as error:
            return NoAnswer(left=_may_have_left(steps), evidence=type(error).__name__)
        finally:
            self._observe(self.name, name, time.monotonic() - began)
        heard_so_far = _heard.get()
        if heard_so_far is not None:
            heard_so_far.append(answer)
        return answer

    async def _exchange(self, request: httpx2.Request) -> Answer:
        if (request.url.port or 0) > MAX_PORT:
            raise httpx2.UnsupportedProtocol("there is no such port")  # the transport would raise a group of errors
        sent = monotonic()
        response = await self._client.send(request, stream=True)
        self.clock.observe(response.headers.get("date"), sent, monotonic())
        try:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > MAX_ANSWER_BYTES:
                    content.clear()
                    break
        finally:
            await response.aclose()
        # A date is relative to the clock of whoever wrote it.
        their_time = dated(response.headers.get("date")) or SystemClock().now()
        after = retry_after(response.headers.get("retry-after"), their_time)
        return Answer(
            response.status_code,
            _parsed(bytes(content)),
            after,
            app_usage=_header(response, "x-app-usage"),
            account_usage=_header(response, "x-business-use-case-usage"),
        )


def _may_have_left(steps: list[str]) -> bool:
    """Tell from the transport's trace whether writing had begun; a transport that traces nothing may have written."""
    return not steps or any("send_request" in step for step in steps)


def _header(response: httpx2.Response, name: str) -> str | None:
    value = response.headers.get(name)
    return value if value is not None and len(value) <= MAX_HEADER_CHARACTERS else None


def _parsed(content: bytes) -> Any:
    """Return what an answer says, with U+FFFD for half an emoji, which nothing here could store; None: no JSON."""
    try:
        said = json.loads(content)
        if b"\\ud" in content.lower():
            written = json.dumps(said, ensure_ascii=False)
            said = json.loads(written.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    except (ValueError, RecursionError):
        return None
    return said


def retry_after(header: str | None, now: datetime) -> float | None:
    """Read a Retry-After header, seconds or a date (RFC 9110, 10.2.3), as seconds from now up to an hour."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        moment = dated(header)
        if moment is None:
            return None
        seconds = (moment - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None  # noqa: PLR0124 not a NaN
