"""What follows from an answer beyond the one reply it was about: a pause, a stop, a figure.

Every call of the two platforms is made inside `of`, which hears the answers and the error that was made of them.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import datetime

from common.clock import Clock
from common.errors import Finding, ProcessingError, Retryable
from delivery.metrics import DeliveryMetrics
from delivery.pace.pauses import Bucket, Pauses, Slot
from delivery.platforms import usage
from delivery.platforms.calls import Answer, heard
from delivery.platforms.sending import Refused
from delivery.stopping import Stops

APIS = ("graph", "manychat")


class Consequences:
    """Counts errors, pauses buckets, stops accounts."""

    def __init__(self, *, pauses: Pauses, stops: Stops, clock: Clock, metrics: DeliveryMetrics) -> None:
        self._pauses = pauses
        self._stops = stops
        self._clock = clock
        self._metrics = metrics

    def wait(self, api: str, account: str, kind: str, *, first: bool = True) -> float:
        """Return the seconds for which a limit is waited out before a call of that kind, 0 where none is."""
        return self._pauses.wait(api, account, kind, first=first) if api in APIS else 0.0

    def slowed(self, api: str, account: str, kind: str) -> bool:
        """Tell whether a limit is waited out, or so near that calls are spaced."""
        return self._pauses.slowed(api, account, kind)

    def ask(self, api: str, account: str, kind: str, *, first: bool = True) -> Slot | None:
        """Return leave to make a call now, None where none is needed. Raises Paused during a pause."""
        return self._pauses.ask(api, account, kind, first=first) if api in APIS else None

    async def refuse_if_stopped(self, account: str) -> None:
        """Return where the account's token is of use. Raises Refused where it is known not to be, PyMongoError."""
        standing = await self._stops.standing(account)
        if standing.state == "needs_reconnection":
            raise Refused(standing.state, standing.detail)

    @asynccontextmanager
    async def of(
        self, api: str, account: str, kind: str, *, key: str = "", since: datetime | None = None, contact: str = ""
    ) -> AsyncIterator[None]:
        """Draw the consequences of the one call that is made inside; its error goes on as it is.

        `kind` is what limits of single kinds of calls are about, `key` the secret the call is made with, `since` when
        that was read, where it was not just now, `contact` the customer or comment it is about.
        """
        if api not in APIS:
            yield
            return
        began = since or self._clock.now()
        with heard() as answers:
            try:
                yield
            except ProcessingError as error:
                self._heed_finding(error, account, kind)
                self._heed_usage(api, account, answers)
                if isinstance(error, Refused):
                    if answers:
                        self._pauses.worked(api, account, kind)
                    await self._stops.heed(account, error, began, key, contact=contact)
                raise
            self._pauses.worked(api, account, kind)
            self._heed_usage(api, account, answers)

    def _heed_finding(self, error: ProcessingError, account: str, kind: str) -> None:
        finding = error.finding
        if finding is None:
            return
        self._metrics.errors.labels(finding.api, finding.code, finding.action).inc()
        bucket = _bucket_of(finding, account, kind)
        if bucket is not None:
            self._pauses.throttled(bucket, error.after if isinstance(error, Retryable) else None)

    def _heed_usage(self, api: str, account: str, answers: Iterable[Answer]) -> None:
        for answer in answers:
            of_app, of_account = usage.of_app(answer.app_usage), usage.of_account(answer.account_usage, account)
            if of_app is not None:
                self._pauses.used(Bucket(api), usage.pace(of_app))
            if of_account is not None:
                self._pauses.used(Bucket(api, account), usage.pace(of_account))


def _bucket_of(finding: Finding, account: str, kind: str) -> Bucket | None:
    match finding.action:
        case "pause_app":
            return Bucket(finding.api)
        case "pause_account":
            return Bucket(finding.api, account)
        case "pause_call":
            return Bucket(finding.api, account, kind)
        case _:
            return None
