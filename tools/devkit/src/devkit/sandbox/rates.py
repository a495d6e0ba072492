"""The documented rate limits, kept by token buckets when the sandbox is told to enforce them."""

from devkit.sandbox.bounded import Bounded


class Rates:
    """Allow `limit` calls per `seconds` for each key; everything when not enforcing."""

    def __init__(self, *, enforce: bool) -> None:
        self.enforce = enforce
        self._buckets: Bounded[tuple[str, str], tuple[float, float]] = Bounded(10_000)

    def allows(self, what: str, who: str, *, limit: float, seconds: float, now: float) -> bool:
        """Take one call out of the bucket of `what` for `who`; False when it is empty."""
        if not self.enforce:
            return True
        tokens, since = self._buckets.get((what, who), (limit, now))
        tokens = min(limit, tokens + (now - since) * limit / seconds)
        allowed = tokens >= 1
        self._buckets[what, who] = (tokens - 1 if allowed else tokens, now)
        return allowed
