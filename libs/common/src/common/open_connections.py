"""Which connections are open, from where, and which of them has to make room for a new one. Pure.

Whoever asks for nothing makes room first: a connection without a complete request is *idle*, and the oldest idle one of
the source that has most of them is closed. So a source that opens sockets and stays silent pushes out its own.
"""

import ipaddress
from collections import defaultdict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

NOWHERE = "unknown"


C = TypeVar("C", bound=Hashable)


def source_of_address(address: str | None) -> str:
    """Return what an address is counted by: an IPv4 address, or an IPv6 /64, which is one customer's network."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return NOWHERE
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed), 64), strict=False))
    return str(parsed)


@dataclass(frozen=True)
class OpenConnectionLimits:
    """How many connections may be open: at all, and from one source. `per_source` 0 is no bound."""

    total: int
    per_source: int


class OpenConnections(Generic[C]):
    """The open connections, in the order in which they became idle. Every step but `add` beyond the total is O(1)."""

    def __init__(self, limits: OpenConnectionLimits) -> None:
        self._limits = limits
        self._sources: dict[C, str] = {}
        self._counts: defaultdict[str, int] = defaultdict(int)
        self._idle: defaultdict[str, dict[C, None]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, connection: C, source: str) -> C | None:
        """Add an idle connection; return the one to close for it, which is itself where every other one is busy.

        What is returned counts as closed from here on: several may come before the first of them has ended.
        """
        evicted = self._add(connection, source)
        if evicted is not None:
            self.remove(evicted)
        return evicted

    def _add(self, connection: C, source: str) -> C | None:
        self._sources[connection] = source
        self._counts[source] += 1
        self._idle[source][connection] = None
        if 0 < self._limits.per_source < self._counts[source]:
            return next(iter(self._idle[source]))
        if len(self._sources) > self._limits.total:
            largest: dict[C, None] = max(self._idle.values(), key=len)
            return next(iter(largest))
        return None

    def mark_busy(self, connection: C) -> None:
        """Note that a request is complete enough to be worked on: the connection no longer makes room."""
        self._drop_idle(connection)

    def mark_idle(self, connection: C) -> None:
        """Note that the connection's request has ended and the next one has not come."""
        source = self._sources.get(connection)
        if source is not None:
            self._idle[source][connection] = None

    def remove(self, connection: C) -> None:
        """Note that a connection is closed; doing it again changes nothing."""
        self._drop_idle(connection)
        source = self._sources.pop(connection, None)
        if source is not None:
            self._counts[source] -= 1
            if not self._counts[source]:
                del self._counts[source]

    def _drop_idle(self, connection: C) -> None:
        source = self._sources.get(connection)
        if source is not None and source in self._idle:
            self._idle[source].pop(connection, None)
            if not self._idle[source]:
                del self._idle[source]
