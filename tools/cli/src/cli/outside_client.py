"""The HTTP client by which commands reach outside APIs: bounded in time, and never redirected with a token in hand."""

import httpx2

NEVER_BY_PROXY: dict[str, httpx2.AsyncBaseTransport | None] = {"all://localhost": None, "all://127.0.0.1": None}
"""A proxy of the environment is for the outside APIs; it does not know this machine."""


def outside_client(timeout: float) -> httpx2.AsyncClient:
    """Return a client whose calls end within `timeout` seconds."""
    return httpx2.AsyncClient(timeout=timeout, follow_redirects=False, mounts=NEVER_BY_PROXY)
