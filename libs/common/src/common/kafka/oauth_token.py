"""The token for SASL/OAUTHBEARER, by OAuth 2.0 client credentials (RFC 6749, section 4.4), renewed before it ends.

aiokafka asks for a token at every connection. One request serves all connections that are opened at the same moment,
and the token is used for most of its life. A failure is a failed connection: aiokafka tries it again.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaConnectionError

from common.http_client import http_client

USED_SHARE = 0.8
"""The share of a token's life in which it is used: it must outlive the hand-shake, and clocks differ."""

USUAL_SECONDS = 300.0
"""How long a token is used whose end the server does not tell."""

MAX_SECONDS = 24 * 60 * 60.0
"""How long a token is used at most, however long the server says that it lasts."""

MAX_TOKEN = 64 * 1024


@dataclass(frozen=True)
class ClientCredentials:
    """Where tokens come from and by what right. `timeout` bounds one request, in seconds."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str
    timeout: float


class OAuthToken(AbstractTokenProvider):  # type: ignore[misc]  # aiokafka publishes no types
    """Gets tokens from an authorization server. `now` is monotonic, in seconds."""

    def __init__(self, credentials: ClientCredentials, now: Callable[[], float] = time.monotonic) -> None:
        self._credentials = credentials
        self._now = now
        self._lock = asyncio.Lock()
        self._token = ""
        self._used_until = float("-inf")

    async def token(self) -> str:
        """Return a token that has not ended. Raises KafkaConnectionError, which names no secret."""
        async with self._lock:
            if self._now() >= self._used_until:
                asked_at = self._now()
                self._token, lasts = await self._request()
                self._used_until = asked_at + lasts * USED_SHARE
            return self._token

    async def _request(self) -> tuple[str, float]:
        wanted = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            wanted["scope"] = self._credentials.scope
        by = httpx2.BasicAuth(self._credentials.client_id, self._credentials.client_secret)
        try:
            async with (
                asyncio.timeout(self._credentials.timeout),
                http_client(timeout=self._credentials.timeout) as http,
            ):
                answer = await http.post(self._credentials.token_url, data=wanted, auth=by)
            fields = answer.raise_for_status().json()
            token, lasts = fields["access_token"], fields.get("expires_in", USUAL_SECONDS)
        except httpx2.HTTPStatusError as error:
            raise KafkaConnectionError(f"KAFKA_OAUTH_TOKEN_URL answered {error.response.status_code}") from None
        except (httpx2.HTTPError, TimeoutError, OSError) as error:
            raise KafkaConnectionError(f"KAFKA_OAUTH_TOKEN_URL gave no answer: {type(error).__name__}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise KafkaConnectionError("KAFKA_OAUTH_TOKEN_URL answered without an access_token") from None
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
            raise KafkaConnectionError("KAFKA_OAUTH_TOKEN_URL answered without an access_token")
        is_number = isinstance(lasts, int | float) and not isinstance(lasts, bool)
        return token, float(min(lasts, MAX_SECONDS)) if is_number and lasts > 0 else USUAL_SECONDS
