"""Where a request really comes from, behind as many proxies of ours as there are."""

from collections.abc import Sequence

from common.open_connections import source_of_address


def source_of(peer: str | None, forwarded_for: Sequence[str], trusted_proxies: int) -> str:
    """Return the address that failures are counted by: an IPv4 address or an IPv6 /64, which is one customer's.

    `forwarded_for` are the X-Forwarded-For headers. Each of our proxies appends the address it was called from, so with
    `trusted_proxies` of them the last so many entries are theirs and what stands before is anybody's invention.
    """
    hops = [hop.strip() for header in forwarded_for for hop in header.split(",")]
    address = peer
    if 0 < trusted_proxies <= len(hops):
        address = hops[-trusted_proxies]
    return source_of_address(address)
