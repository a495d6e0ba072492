"""Which addresses are somebody's on the open Internet, and not this machine's, its network's or its cloud's. Pure.

The standard library's own `is_global` differs between Python's patch releases and lets multicast pass, so the ranges
are named here, after IANA's registries of special-purpose addresses (RFC 6890 and what followed). Of IPv6 only what
was given out as global unicast counts (2000::/3): that leaves out every form in which an IPv4 address can be dressed
up as one (mapped ::ffff:0:0/96, translated 64:ff9b::/96, compatible ::/96), link-local, site-local and unique local.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

_NOT_PUBLIC_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' own
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's host, which answers its machines with their configuration: public by number only
        "169.254.0.0/16",  # link-local, and where clouds answer with credentials
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # Teredo, ORCHID, benchmarks: IETF protocol assignments
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",  # documentation
    )
)


def is_public(address: str) -> bool:
    """Tell whether an address, as a resolver gives it, is one of the open Internet; what is no address is not."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _NOT_PUBLIC_V4)
    return _is_public_v6(parsed)


def _is_public_v6(address: IPv6Address) -> bool:
    return (
        address.scope_id is None and address in _GLOBAL_V6 and not any(address in network for network in _NOT_PUBLIC_V6)
    )
