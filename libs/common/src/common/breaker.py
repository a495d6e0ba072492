"""Circuit breakers: an outside API that fails again and again is left alone for a while, then tried by one call.

    closed ──── `failures` in a row ────► open ──── its pause is over ────► half-open: one probe
      ▲                                    ▲                                   │
      │                                    └────────── the probe failed ───────┤  (a longer pause)
      └──────────────────────────────────────────────── the probe worked ──────┘

There is one per API and account (a merchant's own): one merchant's revoked token or blocked account must not stop the
others. A lane that meets an open breaker waits by `Retryable`, so nothing is lost and nobody hammers what is down.

It is pure bookkeeping without I/O, locks or tasks; all of it runs between two awaits. What counts as a failure is what
the *other side* did: no answer, a server error, an unknown outcome. A refusal is an answer, and so is a 429.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Self

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from common.clock import Clock
from common.errors import Permanent, ProcessingError, Retryable, Throttled

log = structlog.get_logger("breaker")

State = Literal["closed", "open", "half_open"]

MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class BreakerPolicy:
    """How much is borne, and how long is waited. Times in seconds.

    The pause doubles with every failed probe up to `longest_pause`. Whoever comes while a probe is under way is asked
    to come again after `probe_wait`; a probe that nobody tells the end of for `longest_probe` is given up.
    """

    failures: int = 5
    first_pause: float = 5.0
    longest_pause: float = 60.0
    probe_wait: float = 1.0
    longest_probe: float = 120.0


class BreakerOpen(Retryable):
    """The API is left alone for now: nothing was asked of it. `after` is the time until it may be tried."""


class Permit:
    """Leave for one call. A verdict has to follow; what follows the first one means nothing.

    As a context manager around the call it gives the verdict by itself.
    """

    __slots__ = ("_breaker", "_told", "_turn")

    def __init__(self, breaker: "Breaker", turn: int) -> None:
        self._breaker = breaker
        self._turn = turn
        self._told = False

    def worked(self) -> None:
        """Note that the API answered, whatever the answer was about."""
        self._tell(self._breaker._worked)

    def failed(self) -> None:
        """Note that the API is not well."""
        self._tell(self._breaker._failed)

    def withdrawn(self) -> None:
        """Note that the call was not made, or says nothing about the API: a probe's place is free again."""
        self._tell(self._breaker._withdrawn)

    def ended(self, error: BaseException) -> None:
        """Note the error a call ended with: whether it speaks for the API, against it, or not about it."""
        if isinstance(error, Permanent | Throttled):
            self.worked()
        elif isinstance(error, BreakerOpen) or not isinstance(error, ProcessingError | TimeoutError | OSError):
            self.withdrawn()
        else:
            self.failed()

    def __enter__(self) -> Self:
        """Begin the call."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Note how the call ended."""
        if error is None:
            self.worked()
        else:
            self.ended(error)

    def _tell(self, verdict: Callable[[int], None]) -> None:
        if not self._told:
            self._told = True
            verdict(self._turn)


class Breaker:
    """The breaker of one API and account.

    `turn` numbers its states: a call that began before the last change of state says nothing about the present one.
    """

    def __init__(self, policy: BreakerPolicy, clock: Clock, opened: Callable[[], None] = lambda: None) -> None:
        self._policy = policy
        self._clock = clock
        self._opened = opened
        self._state: State = "closed"
        self._turn = 0
        self._failures = 0
        self._pause = policy.first_pause
        self._until: datetime | None = None
        self._probing = False

    @property
    def state(self) -> State:
        """The state as it was left by the last call; an open breaker turns half-open when it is next asked."""
        return self._state

    def ask(self) -> Permit:
        """Return leave for one call. Raises BreakerOpen."""
        if self._state == "closed":
            return Permit(self, self._turn)
        left = self._left()
        if self._state == "open":
            if left > 0:
                raise BreakerOpen("the circuit breaker is open", after=left)
            self._enter("half_open")
        elif self._probing and left > 0:
            raise BreakerOpen("the circuit breaker lets one call try", after=min(left, self._policy.probe_wait))
        elif self._probing:
            self._enter("half_open")  # whoever was to tell how the probe ended is gone
        self._probing = True
        self._wait(self._policy.longest_probe)
        return Permit(self, self._turn)

    def _worked(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._failures = 0
        if self._state == "half_open":
            self._pause = self._policy.first_pause
            self._enter("closed")

    def _failed(self, turn: int) -> None:
        if turn != self._turn:
            return
        self._failures += 1
        if self._state == "half_open":
            self._pause = min(self._pause * 2, self._policy.longest_pause)
            self._open()
        elif self._failures >= self._policy.failures:
            self._open()

    def _withdrawn(self, turn: int) -> None:
        if turn == self._turn:
            self._probing = False

    def _open(self) -> None:
        self._enter("open")
        self._wait(self._pause)
        self._opened()

    def _enter(self, state: State) -> None:
        self._state = state
        self._turn += 1
        self._failures = 0
        self._probing = False

    def _wait(self, seconds: float) -> None:
        self._until = self._clock.now() + timedelta(seconds=seconds)

    def _left(self) -> float:
        """Return the seconds until the wait is over; a clock that was set back makes it no longer than it ever was."""
        if self._until is None:
            return 0.0
        longest = self._policy.longest_probe if self._state == "half_open" else self._pause
        return min((self._until - self._clock.now()).total_seconds(), longest)


class BreakerMetrics:
    """The metrics of all breakers of a process, in one registry. `api` comes from the code, accounts are no labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Accounts whose calls of an API are held back now; more than a few at once: the API itself is down.
        self.open = Gauge(
            "breaker_open", "Accounts whose breaker for an API is open or half-open", ["api"], registry=registry
        )
        self.openings = Counter("breaker_openings", "Times a breaker opened", ["api"], registry=registry)


class Breakers:
    """The breakers of one API, one per account; of the accounts that were asked for longest ago none is remembered."""

    def __init__(
        self,
        api: str,
        *,
        clock: Clock,
        metrics: BreakerMetrics,
        policy: BreakerPolicy | None = None,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._api = api
        self._clock = clock
        self._policy = policy or BreakerPolicy()
        self._most = most
        self._each: OrderedDict[str, Breaker] = OrderedDict()
        self._openings = metrics.openings.labels(api)
        metrics.open.labels(api).set_function(self.count_open)

    def ask(self, account: str) -> Permit:
        """Return leave for one call in an account's name. Raises BreakerOpen with the time until the next probe."""
        breaker = self._each.get(account)
        if breaker is None:
            breaker = self._each[account] = Breaker(self._policy, self._clock, lambda: self._note_opening(account))
            while len(self._each) > self._most:
                self._each.popitem(last=False)
        self._each.move_to_end(account)
        return breaker.ask()

    @contextmanager
    def calling(self, account: str) -> Iterator[None]:
        """Ask, and tell what became of the call that is made inside. Raises BreakerOpen before anything is called."""
        with self.ask(account):
            yield

    def state(self, account: str) -> State:
        """Return the state of an account's breaker."""
        breaker = self._each.get(account)
        return breaker.state if breaker is not None else "closed"

    def count_open(self) -> int:
        """Return how many accounts' breakers are not closed."""
        return sum(breaker.state != "closed" for breaker in self._each.values())

    def _note_opening(self, account: str) -> None:
        self._openings.inc()
        log.warning("breaker.opened", api=self._api, account=account)
