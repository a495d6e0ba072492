"""How many sends are under way at once over each route.

The place is taken before the ledger says `attempting`: a call then begins as soon as it is announced, and whoever waits
for a place has announced nothing. One route's hanging calls take no places of another.
"""

import asyncio
from collections.abc import Mapping

from common.events.outcomes import Route

ROUTES: tuple[Route, ...] = ("manychat", "graph", "operator")


class Places:
    """The places of each route, given in the order in which they were asked for."""

    def __init__(self, each: int) -> None:
        self._free: Mapping[Route, asyncio.Semaphore] = {route: asyncio.Semaphore(each) for route in ROUTES}

    def turn(self) -> "Turn":
        """Return a turn that holds no place yet."""
        return Turn(self._free)


class Turn:
    """One reply's place, at most one at a time."""

    def __init__(self, free: Mapping[Route, asyncio.Semaphore]) -> None:
        self._free = free
        self._held: Route | None = None

    async def take(self, route: Route) -> None:
        """Wait for a place on `route`; a place held on another is given back first."""
        if self._held == route:
            return
        self.leave()
        await self._free[route].acquire()
        self._held = route

    def leave(self) -> None:
        """Give back the place, if one is held."""
        if self._held is not None:
            self._free[self._held].release()
            self._held = None
