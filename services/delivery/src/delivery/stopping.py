"""What is done about an account whose errors say that sending is of no use: it is stopped, once, and people are told.

The standing is in the database (`common.accounts`), so that every replica and every service heeds it, and only
`jawab merchants connect` undoes it; a restriction with an end is over by itself. A key that ManyChat refuses stops only
that route, in this process, until another key is entered: the account itself is well.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from pymongo.errors import PyMongoError

from common.accounts import Standing
from common.clock import Clock
from common.errors import ProcessingError
from common.events.ids import conversation_id
from common.merchants import Merchant, MerchantNotReadable, Merchants
from common.remedies import completed
from delivery.contact_errors import ContactErrors
from delivery.platforms import graph_errors
from delivery.platforms.manychat_errors import KEY
from delivery.platforms.operator import Notice
from delivery.platforms.sending import Refused, Sent

log = structlog.get_logger("stopping")

HOLD = timedelta(hours=6)
"""How long an account is left alone that Meta blocks for its policies (368): "wait and retry", and no time is named."""
SUSPENSION = timedelta(hours=1)
"""How long an account is stopped for an error of which only the code is known, once several contacts met it."""
KEY_TRIED_AGAIN = timedelta(hours=1)
TOKEN_AGE = timedelta(seconds=15)
"""How much older than the call the token may be that it was made with: merchants are read from a cache, and a send may
wait for its turn. What an old token is told after the account was connected anew must not stop it again."""

MOST_REMEMBERED = 10_000
MOST_TOLD = 1_000
REFRESH_SECONDS = 30.0

ENFORCED = Refused(
    "policy_enforced",
    "Meta has taken messaging away from this account for breaking its policies: see the account's status in Instagram. "
    "Jawab sends nothing until Meta lifts it or the account is connected again.",
)

Held = Literal["needs_reconnection", "restricted"]


@dataclass(frozen=True)
class Stop:
    """How an action stops an account: in which state, and for how long where it ends by itself."""

    state: Held
    lasts: timedelta | None = None


STOPS: Mapping[str, Stop] = {
    "reconnect": Stop("needs_reconnection"),
    "suspend": Stop("needs_reconnection", SUSPENSION),
    "restrict": Stop("restricted"),
    "hold": Stop("restricted", HOLD),
}
"""The actions of the error tables that stop an account."""


WITHOUT_A_WAY: frozenset[str] = frozenset(
    {
        *(stop.state for stop in STOPS.values()),
        *(one.reason for one in graph_errors.meanings() if one.action in STOPS),
        ENFORCED.reason,
        KEY.reason,
        "keys_unreadable",
        "no_route",
    }
)
"""Reasons of replies that nothing is wrong with: the account has no way to send them until somebody mends it."""


class Standings(Protocol):
    """The two calls of `common.accounts.MongoStandings` that stopping needs. Both raise PyMongoError."""

    async def of(self, account_id: str) -> Standing:
        """Return the account's standing; active where nothing was ever noted."""
        ...

    async def note_news(self, standing: Standing) -> bool:
        """Write a standing; True for the one who was the first to."""
        ...


class Notifier(Protocol):
    """The one call of `delivery.platforms.operator.Operator`."""

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        """Tell the merchant's people. Raises Refused where their address does not take it."""
        ...


class StopMetrics:
    """The metrics of stopped accounts, in one registry; reasons come from the error tables."""

    def __init__(self, registry: CollectorRegistry) -> None:
        # Each stop once, by the replica that found it out.
        self.stops = Counter("delivery_accounts_stopped", "Accounts that were stopped", ["reason"], registry=registry)
        # Accounts this process knows to be stopped now.
        self.stopped = Gauge(
            "delivery_stopped_accounts", "Accounts that are stopped now, as far as known", ["reason"], registry=registry
        )


class Stops:
    """Stops accounts, and knows which are stopped."""

    def __init__(
        self, *, standings: Standings, merchants: Merchants, operator: Notifier, clock: Clock, metrics: StopMetrics
    ) -> None:
        self._standings = standings
        self._merchants = merchants
        self._operator = operator
        self._clock = clock
        self._metrics = metrics
        self._stopped: OrderedDict[str, Standing] = OrderedDict()
        self._refused_keys: OrderedDict[str, tuple[str, datetime]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], datetime] = OrderedDict()
        self._counted: set[str] = set()
        self._contact_errors = ContactErrors()

    async def standing(self, account_id: str) -> Standing:
        """Return how the account stands now: active, or what stops it. Raises PyMongoError."""
        found = await self._standings.of(account_id)
        now = self._clock.now()
        self._keep_count(found, now)
        return found if not found.works(now) else Standing(account_id, connected_at=found.connected_at)

    async def heed(
        self, account_id: str, refusal: Refused, began: datetime, key: str = "", *, contact: str = ""
    ) -> None:
        """Do what a refusal asks for beyond its message.

        `began` is when the call began, `key` what it was made with, `contact` the customer or comment it was about.
        What cannot be written now is found out again by the next message, so nothing is raised for it.
        """
        finding = refusal.finding
        action = finding.action if finding is not None else ""
        try:
            if action == "suspend" and not self._contact_errors.concerns_account(
                account_id, refusal.reason, contact, self._clock.now()
            ):
                return
            if action in STOPS:
                await self._stop(account_id, STOPS[action], refusal, began)
            elif action == "refuse_key":
                await self._refuse_key(account_id, key, refusal)
            elif action == "refuse_and_alert":
                await self._tell_once(account_id, refusal)
        except (PyMongoError, ProcessingError, MerchantNotReadable) as error:
            log.warning("account.not_stopped", account=account_id, reason=refusal.reason, error=type(error).__name__)

    async def enforced(self, account_id: str, action: str, at: datetime) -> None:
        """Do what a webhook about the platform's policies says: `block` stops the account, `unblock` frees it.

        Only a restriction is lifted, never a lost token. Raises PyMongoError, Retryable.
        """
        if action == "block":
            await self._stop(account_id, STOPS["restrict"], ENFORCED, at)
        elif action == "unblock" and (await self._standings.of(account_id)).state == "restricted":
            await self._standings.note_news(Standing(account_id, since=at))
            log.info("account.restriction_lifted", account=account_id)

    def refuses_key(self, account_id: str, key: str) -> bool:
        """Tell whether ManyChat refused this key a short while ago."""
        refused = self._refused_keys.get(account_id)
        if refused is None:
            return False
        fingerprint, until = refused
        if fingerprint == _fingerprint(key) and self._clock.now() < until:
            return True
        del self._refused_keys[account_id]
        self._count()
        return False

    async def refresh_regularly(self, interval: float = REFRESH_SECONDS) -> None:
        """Look every `interval` seconds whether what is stopped still is: somebody may have connected it."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 whoever refreshes runs beside what consumes, and must not end it
                log.warning("accounts.refresh_interrupted", error=type(error).__name__)

    async def refresh(self) -> None:
        """Look whether what this process knows to be stopped still is."""
        for account_id in list(self._stopped):
            try:
                await self.standing(account_id)
            except PyMongoError as error:
                log.warning("account.not_read", account=account_id, error=type(error).__name__)
                return
        for account_id, (_, until) in list(self._refused_keys.items()):
            if self._clock.now() >= until:
                del self._refused_keys[account_id]
        self._count()

    async def _stop(self, account_id: str, stop: Stop, refusal: Refused, began: datetime) -> None:
        until = self._clock.now() + stop.lasts if stop.lasts is not None else None
        since = began - TOKEN_AGE if stop.state == "needs_reconnection" else began
        standing = Standing(account_id, stop.state, refusal.reason, refusal.detail, since, until)
        if not await self._standings.note_news(standing):
            return
        self._keep_count(standing, self._clock.now())
        self._metrics.stops.labels(refusal.reason).inc()
        log.error("account.stopped", account=account_id, state=stop.state, reason=refusal.reason, until=until)
        await self._tell(account_id, refusal)

    async def _refuse_key(self, account_id: str, key: str, refusal: Refused) -> None:
        if self.refuses_key(account_id, key):
            return
        self._refused_keys[account_id] = (_fingerprint(key), self._clock.now() + KEY_TRIED_AGAIN)
        while len(self._refused_keys) > MOST_REMEMBERED:
            self._refused_keys.popitem(last=False)
        self._count()
        self._metrics.stops.labels(refusal.reason).inc()
        log.error("account.key_refused", account=account_id)
        await self._tell_once(account_id, refusal)

    async def _tell_once(self, account_id: str, refusal: Refused) -> None:
        """Tell people of what does not stop the account, once in a while."""
        now, what = self._clock.now(), (account_id, refusal.reason)
        told = self._told.get(what)
        if told is not None and now - told < HOLD:
            return
        self._told[what] = now
        while len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        await self._tell(account_id, refusal)

    async def _tell(self, account_id: str, refusal: Refused) -> None:
        merchant = await self._merchants.of_account(account_id)
        if merchant is None:
            return
        notice = Notice(
            reason=refusal.reason,
            text=completed(refusal.detail, merchant_id=merchant.id, account_id=account_id),
            conversation_id=conversation_id(account_id, None),
            account_id=account_id,
            contact_id=None,
            reply_id="",
            at=self._clock.now(),
        )
        try:
            await self._operator.notify(merchant, notice)
        except Refused:
            log.warning("operator.unreachable", merchant=merchant.id)

    def _keep_count(self, standing: Standing, now: datetime) -> None:
        if standing.state_at(now) in {"needs_reconnection", "restricted"}:  # who removed the app wants nothing mended
            self._stopped[standing.account_id] = standing
            self._stopped.move_to_end(standing.account_id)
            while len(self._stopped) > MOST_REMEMBERED:
                self._stopped.popitem(last=False)
        elif self._stopped.pop(standing.account_id, None) is None:
            return
        self._count()

    def _count(self) -> None:
        counts = dict.fromkeys(self._counted, 0)
        for standing in self._stopped.values():
            reason = standing.reason or standing.state
            counts[reason] = counts.get(reason, 0) + 1
        if self._refused_keys:
            counts["key_refused"] = len(self._refused_keys)
        self._counted |= counts.keys()
        for reason, count in counts.items():
            self._metrics.stopped.labels(reason).set(count)


def _fingerprint(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
