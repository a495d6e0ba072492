"""How many sends are under way at once over each route, and whose is next.

Free places go round between the accounts that wait for one, so that one account's thousand sends put at most one of
theirs before another's; within an account answers come before what programs ask for. One route's hanging calls take no
places of another.

Nobody waits for long: what was judged before the wait (the window, the account's standing) has to hold at the call, and
whoever comes back is judged anew.
"""

import asyncio
from collections import OrderedDict, deque

from common.errors import Paced
from common.events.outcomes import Route
from common.kafka.hold import hold

LONGEST = 20.0
"""Seconds. Well inside the window's margin, and inside the time for which a shared count knows a call under way."""
BACK_AFTER = 0.2

ROUTES: tuple[Route, ...] = ("manychat", "graph", "operator")

Waiter = asyncio.Future[None]


class _Ring:
    """The free places of one route, and those who wait for one, by account and by whether they come first."""

    def __init__(self, places: int) -> None:
        self.free = places
        self._waiting: OrderedDict[str, tuple[deque[Waiter], deque[Waiter]]] = OrderedDict()

    def join(self, account: str, *, first: bool) -> Waiter | None:
        """Take a place, or return what waits for one."""
        if self.free > 0:
            self.free -= 1
            return None
        waiter: Waiter = asyncio.get_running_loop().create_future()
        queues = self._waiting.setdefault(account, (deque(), deque()))
        queues[0 if first else 1].append(waiter)
        return waiter

    def leave(self) -> None:
        """Give a place to the next one, or back."""
        while self._waiting:
            account, queues = self._waiting.popitem(last=False)
            given = _give_one(queues)
            if any(queues):
                self._waiting[account] = queues
            if given:
                return
        self.free += 1


def _give_one(queues: tuple[deque[Waiter], deque[Waiter]]) -> bool:
    for queue in queues:
        while queue:
            waiter = queue.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
    return False


class Places:
    """The places of each route."""

    def __init__(self, each: int, *, longest: float = LONGEST) -> None:
        self._rings = {route: _Ring(each) for route in ROUTES}
        self._longest = longest

    async def take(self, route: Route, account: str, *, first: bool = True) -> None:
        """Wait for a place.

        Raises Paced where none is free for too long, OwnershipLost when the record in hand is let go meanwhile.
        """
        ring = self._rings[route]
        waiter = ring.join(account, first=first)
        if waiter is None:
            return

        def give_up() -> None:
            if not waiter.done():
                waiter.set_exception(Paced(f"all places of {route} are taken", after=BACK_AFTER))

        end = asyncio.get_running_loop().call_later(self._longest, give_up)
        try:
            await hold().wait_for(waiter)
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                ring.leave()
            waiter.cancel()
            raise
        finally:
            end.cancel()

    def leave(self, route: Route) -> None:
        """Give a place back."""
        self._rings[route].leave()

    def free(self, route: Route) -> int:
        """Return how many places of a route nobody holds."""
        return self._rings[route].free
