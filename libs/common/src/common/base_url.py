"""The addresses of outside APIs as settings name them: what would fail at the first call is refused at start-up."""

from typing import Annotated

import httpx2
from pydantic import AfterValidator

LAST_PORT = 65535


def base_url(value: str) -> str:
    """Return the address under which an API's paths begin, without the line end of a mounted file or a slash behind it.

    Raises ValueError, without quoting the value, where no call could be made with it.
    """
    url = value.strip().rstrip("/")
    parts = _parts(url)
    if "?" in url or "#" in url or parts.userinfo:
        raise ValueError("must be a plain address: no user, no query, no fragment")
    return url


def whole_url(value: str) -> str:
    """Return an address that is called as it is, such as a webhook's, which may keep its secret in a query.

    Raises ValueError, without quoting the value, where no call could be made with it.
    """
    url = value.strip()
    _parts(url)
    return url


def _parts(url: str) -> httpx2.URL:
    if any(character.isspace() for character in url):
        raise ValueError("must hold no white space")
    try:
        parts = httpx2.URL(url)
        host = parts.host  # decoding it is what fails for a name that is none
    except (httpx2.InvalidURL, UnicodeError):
        raise ValueError("must be an address: see the host, the number behind its colon, IPv6 in brackets") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.port is not None and parts.port > LAST_PORT:
        raise ValueError(f"must have a number up to {LAST_PORT} behind the host's colon")
    return parts


BaseUrl = Annotated[str, AfterValidator(base_url)]
"""A setting under which an API's paths begin."""

WholeUrl = Annotated[str, AfterValidator(whole_url)]
"""A setting that is called as it is."""
