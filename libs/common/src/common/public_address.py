"""Whether an address can only be reached from this machine or its own network. Pure; no name is looked up."""

import ipaddress
from urllib.parse import urlsplit

LOCAL_ENDINGS = (".localhost", ".local", ".internal", ".test")
"""Names that public DNS never has: RFC 6761, RFC 6762, and ICANN's reservation of .internal."""


def is_local(url: str) -> bool:
    """Return whether a URL's host is a private one: a loopback or private address, or a name of one's own network."""
    try:
        host = (urlsplit(url).hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        # A name without a dot is a container's or a machine's; a number without one is an address in disguise.
        return bool(host) and (host.endswith(LOCAL_ENDINGS) or ("." not in host and not host[0].isdigit()))
