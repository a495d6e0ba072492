"""How a reply can be sent: by whose keys, over which routes, to whom; or why it cannot be sent at all."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from common.clock import Clock
from common.errors import Retryable
from common.events.outcomes import Route
from common.events.replies import DirectMessage, HideComment, OperatorNotification, Reply, ReplyGenerated
from common.merchants import Merchant, Merchants, RouteName
from common.sealing import NotOpenable, Sealer
from delivery import policy
from delivery.contacts import Contact, Contacts
from delivery.ledger import Row
from delivery.parts import texts_of
from delivery.policy import Withhold
from delivery.sending import Refused

log = structlog.get_logger("plan")

MOST_REMEMBERED = 10_000
MISSES_KEPT = timedelta(minutes=5)


class Subscribers(Protocol):
    """Finds people in ManyChat."""

    async def find_subscriber(self, account: str, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None. Raises Retryable, Refused."""
        ...


@dataclass(frozen=True)
class Impossible:
    """The reply cannot be sent, whatever the rules say."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Plan:
    """How a reply can be sent: the routes in order, with the keys they need."""

    merchant: Merchant
    routes: tuple[Route, ...]
    contact: Contact | None = None
    token: str | None = None
    key: str | None = None
    only_tagged: bool = False

    def starting_at(self, row: Row) -> tuple[Route, ...]:
        """Return the routes to try: a message whose first parts went one way goes on that way."""
        if row.route in self.routes and any(part.state == "delivered" for part in row.parts):
            return self.routes[self.routes.index(row.route) :]
        return self.routes

    def after(self, route: Route) -> tuple[Route, ...]:
        """Return the routes behind `route`."""
        return self.routes[self.routes.index(route) + 1 :] if route in self.routes else ()


@dataclass(frozen=True)
class Chosen:
    """The route to take, and who the contact is in ManyChat where that is the route."""

    route: Route
    subscriber: int | None = None


class Planner:
    """Decides how a reply is sent, from its merchant, its contact and the platform's rules."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        subscribers: Subscribers,
        sealer: Sealer,
        clock: Clock,
        margin: timedelta,
    ) -> None:
        self._merchants = merchants
        self._contacts = contacts
        self._subscribers = subscribers
        self._sealer = sealer
        self._clock = clock
        self._margin = margin
        self._misses: OrderedDict[str, datetime] = OrderedDict()

    async def plan(self, event: ReplyGenerated) -> Plan | Withhold | Impossible:
        """Return the routes a reply may take, or why it may take none."""
        reply = event.data
        found = await self._merchants.by_id(reply.merchant_id)
        merchant = found.seen_by(reply.account_id) if found is not None else None
        if merchant is None:
            return Withhold("unknown_merchant", "no merchant here has this id and account")
        if isinstance(reply.action, OperatorNotification):
            return Plan(merchant, ("operator",))
        if not merchant.connected:
            return Withhold("disconnected", "the merchant removed the app; connect the account again")
        contact = None
        if not isinstance(reply.action, HideComment):
            contact = await self._contacts.find(reply.conversation_id)
        verdict = policy.judge(
            reply, decided_at=event.time, contact=contact, now=self._clock.now(), margin=self._margin
        )
        if isinstance(verdict, Withhold):
            return verdict
        if not texts_of(reply.action):
            return Impossible("empty_text", "the text is nothing but white space")
        return self._routes(reply, merchant, contact, only_tagged=verdict.only_tagged)

    def _routes(
        self, reply: Reply, merchant: Merchant, contact: Contact | None, *, only_tagged: bool
    ) -> Plan | Impossible:
        try:
            token = self._sealer.open(merchant.access_token) if merchant.access_token else None
            key = self._sealer.open(merchant.manychat_api_key) if merchant.manychat_api_key else None
        except NotOpenable as error:
            return Impossible("keys_unreadable", str(error))
        if not all(_fits_a_header(secret) for secret in (token, key)):
            return Impossible("keys_unreadable", "a key holds characters that no key has: enter the keys again")
        direct = isinstance(reply.action, DirectMessage)
        if direct and reply.contact_id is None:
            return Impossible("no_such_recipient", "a direct message needs contact_id")
        usable = {"manychat": direct and key is not None, "graph": token is not None and not only_tagged}
        named: tuple[RouteName, ...] = merchant.routes if direct else ("graph",)
        return Plan(merchant, tuple(name for name in named if usable[name]), contact, token, key, only_tagged)

    async def choose(self, reply: Reply, plan: Plan, routes: tuple[Route, ...]) -> Chosen | Withhold | Impossible:
        """Return the first of `routes` that can be used, or why none can. Raises Retryable."""
        for position, route in enumerate(routes):
            if route != "manychat":
                return Chosen(route)
            try:
                subscriber = await self._subscriber(reply, plan)
            except Retryable:
                if position + 1 == len(routes):
                    raise
                log.warning("manychat.lookup_failed", conversation=reply.conversation_id)
            except Refused as refusal:
                return Impossible(refusal.reason, refusal.detail)
            else:
                if subscriber is not None:
                    return Chosen(route, subscriber)
        if plan.only_tagged:
            return Withhold("window_closed", "the window is closed, and no route can use the message tag")
        return Impossible("no_route", "no route can send this: give the merchant an access token or a ManyChat key")

    async def _subscriber(self, reply: Reply, plan: Plan) -> int | None:
        """Return who the contact is in ManyChat. Raises Retryable, Refused."""
        if plan.contact is not None and plan.contact.subscriber_id is not None:
            return plan.contact.subscriber_id
        field = plan.merchant.manychat_igsid_field
        conversation, now = reply.conversation_id, self._clock.now()
        missed_at = self._misses.get(conversation)
        if plan.key is None or field is None or reply.contact_id is None:
            return None
        if missed_at is not None and now - missed_at < MISSES_KEPT:
            return None
        found = await self._subscribers.find_subscriber(reply.account_id, plan.key, field, reply.contact_id)
        if found is None:
            self._misses[conversation] = now
            while len(self._misses) > MOST_REMEMBERED:
                self._misses.popitem(last=False)
        else:
            await self._contacts.remember_subscriber(conversation, found)
        return found


def _fits_a_header(secret: str | None) -> bool:
    return secret is None or (secret.isascii() and secret.isprintable())
