"""Who makes no calls for now, and who makes them more slowly: the app, one account, or one kind of an account's calls.

A limit that the platform reports is not about the one reply that met it. Whoever would call next in the same bucket is
asked to wait before anything is announced; nobody ever sleeps inside a call.

    free ── throttled ──► paused ── its time is over ──► probing: one call a second ── one worked ──► free
                            ▲                                │
                            └──────── throttled again ───────┘  (twice as long where the platform names no time)

It is pure bookkeeping in one process: each replica learns of a limit by its own calls.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Gauge

from common.clock import Clock
from common.errors import Paused
from delivery.platforms.usage import Pace

log = structlog.get_logger("pauses")

Scope = Literal["app", "account", "call"]
SCOPES: tuple[Scope, ...] = ("app", "account", "call")

FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
SHORTEST_PAUSE = 0.1
LONGEST_NAMED = 24 * 3600.0
PROBE_GAP = 1.0
FIGURES_HOLD = 3600.0
"""Seconds for which the platform's own figures space calls: they are about a rolling hour, and who calls little is not
told them any more."""
FOR_ANSWERS = 1.0
"""Seconds for which a slot of a slowed bucket is kept for an answer that was told to come back for it."""
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class Bucket:
    """What a limit is about: all calls of an API, those of one account, or one kind of an account's calls."""

    api: str
    account: str | None = None
    kind: str | None = None

    @property
    def scope(self) -> Scope:
        """How much it takes in."""
        return "call" if self.kind is not None else "account" if self.account is not None else "app"


@dataclass
class _State:
    until: datetime
    pause: float = 0.0
    """The last pause whose length the platform did not name, in seconds."""
    probing: bool = False
    gap: float = 0.0
    gap_until: datetime | None = None
    next_at: datetime | None = None
    answers_until: datetime | None = None
    """Until when slots are for answers only: one waits."""

    def gap_at(self, now: datetime) -> float:
        return self.gap if self.gap_until is not None and now < self.gap_until else 0.0

    def spacing(self, now: datetime) -> float:
        return max(self.gap_at(now), PROBE_GAP if self.probing else 0.0)


class Slot:
    """Leave for one call of a bucket that may be slowed."""

    def __init__(self, taken: list[tuple[_State, datetime | None, datetime]]) -> None:
        self._taken = taken

    def give_back(self) -> None:
        """Note that the call was not made: whoever asks next need not wait for it."""
        for state, before, after in self._taken:
            if state.next_at == after:
                state.next_at = before
        self._taken = []


class PauseMetrics:
    """The metrics of pauses, in one registry. `api` comes from the code, accounts are no labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Limits that are waited out now: of the whole app, of accounts, of single kinds of calls.
        self.paused = Gauge(
            "delivery_paused_buckets", "Limits that are being waited out", ["api", "scope"], registry=registry
        )
        # Those near their limit: their calls are spaced.
        self.slowed = Gauge(
            "delivery_slowed_buckets", "Limits that are near: calls are spaced", ["api", "scope"], registry=registry
        )


class Pauses:
    """The pauses of one process; of the buckets that were of use longest ago none is remembered."""

    def __init__(
        self, *, clock: Clock, metrics: PauseMetrics, apis: tuple[str, ...], most: int = MOST_REMEMBERED
    ) -> None:
        self._clock = clock
        self._most = most
        self._each: OrderedDict[Bucket, _State] = OrderedDict()
        for api in apis:
            for scope in SCOPES:
                metrics.paused.labels(api, scope).set_function(partial(self.count, api, scope))
                metrics.slowed.labels(api, scope).set_function(partial(self.count, api, scope, slowed=True))

    def wait(self, api: str, account: str, kind: str, *, first: bool = True) -> float:
        """Return the seconds until a call of that kind may be made, 0 where it may be made now.

        `first` tells an answer from what a program asks for: the next slot of a slowed bucket is the answer's.
        """
        now, states = self._clock.now(), self._about(api, account, kind)
        wait = max((self._left(state, now, first=first) for state in states), default=0.0)
        if first and wait > 0:
            for state in states:
                state.answers_until = now + timedelta(seconds=wait + FOR_ANSWERS)
        return wait

    def slowed(self, api: str, account: str, kind: str) -> bool:
        """Tell whether calls of that kind are held back or spaced: then there is none to spare for a courtesy."""
        now = self._clock.now()
        return any(now < state.until or state.spacing(now) > 0 for state in self._about(api, account, kind))

    def ask(self, api: str, account: str, kind: str, *, first: bool = True) -> "Slot":
        """Return leave to make a call now: the next one of a slowed bucket is then one gap away.

        Raises Paused with the time to wait.
        """
        wait = self.wait(api, account, kind, first=first)
        if wait > 0:
            raise Paused(f"{api} asked for a pause", after=wait)
        now, taken = self._clock.now(), []
        for state in self._about(api, account, kind):
            before, state.next_at = state.next_at, now + timedelta(seconds=state.spacing(now))
            taken.append((state, before, state.next_at))
        return Slot(taken)

    def throttled(self, bucket: Bucket, after: float | None) -> None:
        """Note that the platform refused a call as one too many; `after` are the seconds it named."""
        now = self._clock.now()
        state = self._state(bucket, now)
        if after is not None:
            length = min(max(after, SHORTEST_PAUSE), LONGEST_NAMED)
        elif now < state.until:
            return  # began before the pause did, and says nothing new
        else:
            again = state.probing and state.pause > 0
            state.pause = length = min(state.pause * 2, LONGEST_PAUSE) if again else FIRST_PAUSE
        if now >= state.until:
            log.warning("pause.began", api=bucket.api, account=bucket.account, kind=bucket.kind, seconds=length)
        state.until = max(state.until, now + timedelta(seconds=length))
        state.probing = True

    def used(self, bucket: Bucket, pace: Pace) -> None:
        """Note what the platform's own figures ask for."""
        if pace == Pace() and bucket not in self._each:
            return
        now = self._clock.now()
        state = self._state(bucket, now)
        state.gap, state.gap_until = pace.gap, now + timedelta(seconds=FIGURES_HOLD)
        if pace.gap <= 0:
            state.next_at = None
        if pace.stop > 0:
            if now >= state.until:
                log.warning("pause.began", api=bucket.api, account=bucket.account, seconds=pace.stop, reason="usage")
            state.until = max(state.until, now + timedelta(seconds=pace.stop))
            state.probing = True

    def worked(self, api: str, account: str, kind: str) -> None:
        """Note that a call was taken: what was being probed is free again."""
        now = self._clock.now()
        for bucket in _buckets(api, account, kind):
            state = self._each.get(bucket)
            if state is not None and now >= state.until:
                state.probing = False
                state.pause = 0.0
                if state.gap_at(now) <= 0:
                    del self._each[bucket]

    def count(self, api: str, scope: Scope, *, slowed: bool = False) -> int:
        """Return how many buckets of an API are paused, or slowed."""
        now = self._clock.now()
        return sum(
            (now >= state.until and state.gap_at(now) > 0) if slowed else now < state.until
            for bucket, state in self._each.items()
            if bucket.api == api and bucket.scope == scope
        )

    def _state(self, bucket: Bucket, now: datetime) -> _State:
        state = self._each.get(bucket)
        if state is None:
            state = self._each[bucket] = _State(now)
            while len(self._each) > self._most:
                self._each.popitem(last=False)
        self._each.move_to_end(bucket)
        return state

    def _about(self, api: str, account: str, kind: str) -> list[_State]:
        return [state for bucket in _buckets(api, account, kind) if (state := self._each.get(bucket)) is not None]

    @staticmethod
    def _left(state: _State, now: datetime, *, first: bool) -> float:
        moments = [state.until, state.next_at]
        if not first and state.spacing(now) > 0:
            moments.append(state.answers_until)
        return max(0.0, *((moment - now).total_seconds() for moment in moments if moment is not None))


def _buckets(api: str, account: str, kind: str) -> tuple[Bucket, Bucket, Bucket]:
    return Bucket(api), Bucket(api, account), Bucket(api, account, kind)
