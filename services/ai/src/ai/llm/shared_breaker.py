"""One API and one key for all merchants, and still no merchant's failures stop the others.

What one merchant asks (long instructions, a customer's strange picture) can make a server fail or time out each time.
So each owner of requests, a merchant or an account, has a breaker of its own, and the breaker of all counts an owner
once until something works again.
What cannot lie in what is asked, a connection that is refused or breaks, always counts for all.
"""

from common.breaker import BreakerOpen, Breakers, Permit

ALL = "service"
MAX_OWNERS = 1000
"""Owners that are remembered as failing; with so many the breaker of all is open."""


class SharedBreaker:
    """The breakers of one API: one for all merchants, and one for each."""

    def __init__(self, breakers: Breakers) -> None:
        self._breakers = breakers
        self._failing: set[str] = set()

    def ask(self, owner: str) -> "SharedPermit":
        """Return a permit for one call. Raises BreakerOpen with the time until the next probe."""
        for_all = self._breakers.ask(ALL)
        try:
            own = self._breakers.ask(f"owner:{owner}")
        except BreakerOpen:
            for_all.withdrawn()
            raise
        return SharedPermit(self, owner, own, for_all)

    def counts(self, owner: str) -> bool:
        """Note that an owner's call failed; return whether that speaks against the API for all."""
        first = owner not in self._failing
        if first and len(self._failing) < MAX_OWNERS:
            self._failing.add(owner)
        return first

    def begin_again(self) -> None:
        """Forget who failed: something worked, or the breaker of all opened."""
        self._failing.clear()

    def note_opening(self) -> None:
        """Forget who failed where the breaker of all has opened: its probe may be any owner's."""
        if self._breakers.state(ALL) != "closed":
            self.begin_again()


class SharedPermit:
    """A permit for one call in an owner's name. A verdict has to follow."""

    def __init__(self, breaker: SharedBreaker, owner: str, own: Permit, for_all: Permit) -> None:
        self._breaker = breaker
        self._owner = owner
        self._own = own
        self._for_all = for_all

    def worked(self) -> None:
        """Note that the API answered, whatever the answer was about."""
        self._own.worked()
        self._for_all.worked()
        self._breaker.begin_again()

    def failed(self, *, by_connection: bool) -> None:
        """Note that the API is not well; `by_connection`: it cannot lie in what was asked."""
        self._own.failed()
        if self._breaker.counts(self._owner) or by_connection:
            self._for_all.failed()
            self._breaker.note_opening()
        else:
            self._for_all.withdrawn()

    def withdrawn(self) -> None:
        """Note that the call was not made, or says nothing about the API."""
        self._own.withdrawn()
        self._for_all.withdrawn()
