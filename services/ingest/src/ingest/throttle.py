"""A limit on failed proofs of identity per source address. Whoever can sign is never counted, so never slowed down."""

from collections.abc import Sequence

from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter

from common.open_connections import source_of_address

RETRY_AFTER_SECONDS = 60


class FailureLimit:
    """Counts failures by source address over a moving minute, in this process's memory."""

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    async def exceeded(self, source: str) -> bool:
        """Count one failure and tell whether `source` has now had more than its share."""
        return not await self._window.hit(self._limit, source)


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
