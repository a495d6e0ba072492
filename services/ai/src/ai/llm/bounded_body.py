"""Bounds what a server may make us read: no body is kept beyond `MAX_BODY_BYTES`, counted as sent and unpacked.

It works as a hook of the HTTP client, before any byte of the body is read, so it holds for errors as well, and whatever
proxy the environment names. How long reading may take is bounded by whoever makes the call (`ai.openai_call`).
"""

import zlib
from collections.abc import AsyncIterator
from typing import Final

import httpx2

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
"""Far above any completion: 16,000 tokens with their thoughts are about 100 KB."""

ACCEPTED_ENCODINGS: Final = "gzip, deflate"
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_ZLIB = 47
"""`zlib.decompressobj`: window of 32 KB, header of gzip or zlib found out by itself."""


class BodyNotRead(Exception):
    """A body is too large, or packed in a way nobody asked for."""


def bound_bodies(client: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """Return the client with every body it reads bounded; reading a larger one raises BodyNotRead."""
    hooks = client.event_hooks
    client.event_hooks = {**hooks, "response": [*hooks.get("response", []), _bound]}
    return client


async def _bound(response: httpx2.Response) -> None:
    stream = response.stream
    if not isinstance(stream, httpx2.AsyncByteStream):
        raise BodyNotRead("the body is not a stream")
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    response.stream = _Bounded(stream, encoding)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding not in {*_PACKED, "identity", ""}:
            raise BodyNotRead(f"the body is packed as {self._encoding[:20]!r}")
        unpacking = zlib.decompressobj(_ANY_ZLIB) if self._encoding in _PACKED else None
        sent = read = 0
        async for chunk in self._stream:
            sent += len(chunk)
            try:
                plain = unpacking.decompress(chunk, MAX_BODY_BYTES + 1 - read) if unpacking else chunk
            except zlib.error:
                raise BodyNotRead("the body is not packed as it says") from None
            read += len(plain)
            if max(sent, read) > MAX_BODY_BYTES:
                raise BodyNotRead(f"the body is larger than {MAX_BODY_BYTES} bytes")
            yield plain

    async def aclose(self) -> None:
        await self._stream.aclose()
