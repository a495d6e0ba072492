"""The HTTP clients that call outside APIs: bounded in time, in connections and in the size of what they keep."""

from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from urllib.request import Request

import httpx2


class _NoCookies(DefaultCookiePolicy):
    """Keeps none: a client calls for all merchants, and what an answer to one sets is nobody else's."""

    def set_ok(self, cookie: Cookie, request: Request) -> bool:  # noqa: ARG002 the policy's names
        return False


def http_client(*, timeout: float, connections: int = 100) -> httpx2.AsyncClient:
    """Return a client whose every call ends within about `timeout` seconds and which never follows a redirect.

    A redirect from a provider's API would carry a merchant's token to wherever it points.
    """
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(timeout, connect=min(timeout, 5.0), pool=timeout),
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=30),
        follow_redirects=False,
        cookies=CookieJar(_NoCookies()),
        trust_env=True,
        headers={"user-agent": "jawab/0.1"},
    )
