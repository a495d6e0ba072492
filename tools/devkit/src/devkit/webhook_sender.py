"""Deliver webhook bodies as the platform does: signed, over HTTP."""

from collections.abc import Mapping
from typing import Any

import httpx2

from devkit.signing import Style, serialise, signed_headers
from devkit.updates import Update, body_of


class WebhookSender:
    """Deliver webhook bodies signed as Meta signs them."""

    def __init__(
        self,
        url: str,
        secret: str,
        client: httpx2.AsyncClient,
        *,
        timeout_seconds: float = 10.0,
        style: Style = "compact",
        escape_slashes: bool = True,
    ) -> None:
        self._url = url
        self._secret = secret
        self._client = client
        self._timeout = timeout_seconds
        self._style: Style = style
        self._escape_slashes = escape_slashes

    async def send(self, *updates: Update) -> int:
        """Post the updates as one signed webhook and return the HTTP status.

        Raises `httpx2.TransportError` when nobody answers in time.
        """
        return await self.send_body(body_of(*updates))

    async def send_body(self, body: Mapping[str, Any]) -> int:
        """Post a whole webhook body, signed, and return the HTTP status."""
        return await self.send_bytes(serialise(body, style=self._style, escape_slashes=self._escape_slashes))

    async def send_bytes(self, raw: bytes, *, headers: Mapping[str, str] | None = None) -> int:
        """Post exactly these bytes; `headers` replace the signed ones, to try a forged signature."""
        sent = signed_headers(raw, self._secret) if headers is None else dict(headers)
        response = await self._client.post(self._url, content=raw, headers=sent, timeout=self._timeout)
        return response.status_code
