"""Which links may be followed: https, to hosts on a list, written so that no two readers read them differently. Pure.

A customer, or whoever forged a webhook's content, chooses the links that come in. Programs disagree about what is the
host of a crooked one (`https://a@b`, `https://a\\@b`, `https://a%2eb`), so a link is matched as a whole against a
narrow grammar: no user, no escapes or letters beyond ASCII in the host, no address instead of a name, no other port.
Whatever does not fit is not followed. What is asked for afterwards are the parts that were matched here; nobody
parses the link a second time.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

HTTPS_PORT = 443
HIGHEST_PORT = 65_535
LONGEST_LINK = 4000
LONGEST_NAME = 253

_LINK = re.compile(
    r"(https?)://([a-z0-9.-]+)(?::([1-9][0-9]{0,4}))?(/[a-z0-9._~:/?\[\]@!$&'()*+,;=%-]*)?", re.ASCII | re.IGNORECASE
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Link:
    """A link that may be followed, in the parts by which it is asked for."""

    scheme: str
    host: str
    port: int
    target: str

    def __str__(self) -> str:
        usual = self.scheme == "https" and self.port == HTTPS_PORT
        return f"{self.scheme}://{self.host}{'' if usual else f':{self.port}'}{self.target}"


class AllowedHosts:
    """The hosts that links may lead to.

    An entry is a name (`lookaside.fbsbx.com`), a name with everything below it (`*.fbcdn.net`), or an origin
    (`http://127.0.0.1:8090`): a test's server, reached whatever its address is. Raises ValueError for anything else.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        names: set[str] = set()
        suffixes: set[str] = set()
        origins: set[tuple[str, str, int]] = set()
        for entry in (one.strip().lower() for one in entries):
            if "://" in entry:
                origins.add(_origin(entry))
            elif entry.startswith("*.") and _is_name(entry[2:]):
                suffixes.add(entry[1:])
            elif _is_name(entry):
                names.add(entry)
            else:
                raise ValueError(f"{entry!r} is no host: write a name such as lookaside.fbsbx.com, or *.fbcdn.net")
        self._names = frozenset(names)
        self._suffixes = tuple(suffixes)
        self.origins = frozenset(origins)

    def link(self, url: str) -> Link | None:
        """Return the link if it may be followed, else None."""
        match = _LINK.fullmatch(url) if len(url) <= LONGEST_LINK else None
        if match is None:
            return None
        scheme, host = match[1].lower(), match[2].lower()
        port = int(match[3]) if match[3] else (HTTPS_PORT if scheme == "https" else 80)
        link = Link(scheme, host, port, match[4] or "/")
        if (scheme, host, port) in self.origins:
            return link
        if scheme != "https" or port != HTTPS_PORT or not _is_name(host):
            return None
        return link if host in self._names or host.endswith(self._suffixes) else None


def _is_name(host: str) -> bool:
    """Tell whether a host is a name of two labels or more: no address in any spelling ends in letters."""
    labels = host.split(".")
    return (
        len(host) <= LONGEST_NAME
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1][0].isdigit()
    )


def _origin(entry: str) -> tuple[str, str, int]:
    match = _LINK.fullmatch(entry)
    if match is None or match[3] is None or match[4] or int(match[3]) > HIGHEST_PORT:
        raise ValueError(f"{entry!r} is no origin: write it as http://127.0.0.1:8090")
    return match[1], match[2], int(match[3])
