"""Fetches a customer's media from the hosts on the list, and from nowhere else, into memory only.

What is asked for is bounded in time (all redirects together), in size, in kind (the answer's content type) and in
place: each hop has to fit the list of hosts (`links`), a host is resolved once, every address it has must be public
(`public_addresses`), and the connection goes to such an address, so nobody can answer a second question differently.
TLS still asks for the host's name and checks its certificate. No proxy of the environment is used: it would resolve
the name again. No cookies, no credentials, no compression (a small answer must not become a large one).

No library was found that does this for httpx2: those there are wrap httpx, or check a name and let the client resolve
it again.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import urljoin

import httpcore2

from ai.media.links import AllowedHosts, Link
from ai.media.public_addresses import is_public

MOST_REDIRECTS = 3
CONNECTIONS = 32
KEPT_OPEN_SECONDS = 15.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _TOO_MANY_REQUESTS, _REQUEST_TIMEOUT, _SERVER_ERROR = 200, 429, 408, 500

NotFetchedReason = Literal[
    "not_allowed", "not_public", "refused", "too_big", "wrong_type", "timeout", "unavailable", "too_many_redirects"
]
PASSING: Final[frozenset[NotFetchedReason]] = frozenset({"unavailable"})
"""What may be different a moment later. A timeout has used up the time there was."""

Resolve = Callable[[str, int], Awaitable[Collection[str]]]
"""Returns every address of a host. Raises OSError."""


class NotFetched(Exception):
    """There is nothing to be had; `reason` is from a closed set and quotes nothing."""

    def __init__(self, reason: NotFetchedReason) -> None:
        super().__init__(reason)
        self.reason: NotFetchedReason = reason


@dataclass(frozen=True)
class Fetched:
    """What a link led to. `media_type` is what its server says, in lower case, without parameters."""

    content: bytes = field(repr=False)
    media_type: str


class Downloads:
    """Fetches media. Times in seconds."""

    def __init__(
        self,
        hosts: AllowedHosts,
        *,
        timeout: float,
        most_bytes: int,
        resolve: Resolve | None = None,
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._hosts = hosts
        self._timeout = timeout
        self._most_bytes = most_bytes
        inside = frozenset((host, port) for _, host, port in hosts.origins)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=CONNECTIONS,
            max_keepalive_connections=CONNECTIONS,
            keepalive_expiry=KEPT_OPEN_SECONDS,
            network_backend=PublicNetwork(resolve or addresses_of, inside=inside, backend=backend),
        )

    async def fetch(self, url: str, *, kinds: Collection[str]) -> Fetched:
        """Return what `url` leads to, if its content type begins with one of `kinds`. Raises NotFetched."""
        try:
            async with asyncio.timeout(self._timeout):
                for _ in range(MOST_REDIRECTS + 1):
                    link = self._hosts.link(url)
                    if link is None:
                        raise NotFetched("not_allowed")
                    found = await self._hop(link, kinds)
                    if isinstance(found, Fetched):
                        return found
                    url = _joined(link, found)
        except (TimeoutError, httpcore2.TimeoutException):
            raise NotFetched("timeout") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError):
            raise NotFetched("unavailable") from None
        raise NotFetched("too_many_redirects")

    async def _hop(self, link: Link, kinds: Collection[str]) -> "Fetched | str":
        """Return what one request brings: the media, or where it is said to be."""
        url = httpcore2.URL(scheme=link.scheme, host=link.host, port=link.port, target=link.target)
        headers: dict[bytes | str, bytes | str] = {
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "jawab/0.1",
        }
        limits = {"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._timeout)}
        async with self._pool.stream("GET", url, headers=headers, extensions=limits) as response:
            told = {name.lower().decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
            if response.status in _REDIRECTS and "location" in told:
                return told["location"]
            if response.status != _OK:
                raise NotFetched(_meaning(response.status))
            media_type = told.get("content-type", "").partition(";")[0].strip().lower()
            encoding = told.get("content-encoding", "identity").lower()
            if not media_type.startswith(tuple(kinds)) or encoding != "identity":
                raise NotFetched("wrong_type")
            length = told.get("content-length", "")
            if length.isdigit() and int(length) > self._most_bytes:
                raise NotFetched("too_big")
            parts: list[bytes] = []
            size = 0
            async for part in response.aiter_stream():
                size += len(part)
                if size > self._most_bytes:
                    raise NotFetched("too_big")
                parts.append(part)
            return Fetched(b"".join(parts), media_type)

    async def aclose(self) -> None:
        """Close what is open."""
        await self._pool.aclose()


class PublicNetwork(httpcore2.AsyncNetworkBackend):
    """Connects to public addresses only: resolves a host, looks at all its addresses, and goes to one of those.

    `inside` names hosts and ports that are reached wherever they are: a test's.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        inside: Collection[tuple[str, int]] = frozenset(),
        backend: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._resolve = resolve
        self._inside = inside
        self._backend = backend or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to one of the host's addresses. Raises NotFetched when any of them is not public."""
        addresses = await self._resolve(host, port)
        if (host, port) not in self._inside and not (addresses and all(map(is_public, addresses))):
            raise NotFetched("not_public")
        failed: httpcore2.NetworkError | httpcore2.TimeoutException | None = None
        for address in addresses:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
                failed = error
        raise failed or httpcore2.ConnectError("the host has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._backend.sleep(seconds)


async def addresses_of(host: str, port: int) -> list[str]:
    """Return every address of a host, in the order in which they should be tried. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _joined(link: Link, location: str) -> str:
    """Return where a redirect leads. Raises NotFetched for what is no address: urljoin refuses half a bracket."""
    try:
        return urljoin(str(link), location)
    except ValueError:
        raise NotFetched("not_allowed") from None


def _meaning(status: int) -> NotFetchedReason:
    passes = status >= _SERVER_ERROR or status in {_TOO_MANY_REQUESTS, _REQUEST_TIMEOUT}
    return "unavailable" if passes else "refused"
