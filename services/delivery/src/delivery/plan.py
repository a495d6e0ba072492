"""How a reply can be sent: by whose keys, over which routes, to whom; or why it cannot be sent at all."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from common.accounts import Standing
from common.errors import Retryable
from common.events.ids import USERNAME_CONTACT
from common.events.outcomes import Route
from common.events.replies import (
    Action,
    DeleteComment,
    HideComment,
    OperatorNotification,
    Reply,
    ReplyGenerated,
)
from common.merchants import Merchant, Merchants, RouteName
from common.platform_clock import PlatformTime
from common.sealing import NotOpenable, Sealer
from delivery.contacts import Contact, Contacts
from delivery.ledger import Row
from delivery.parts import pieces_of
from delivery.platforms import content_limits, routing
from delivery.platforms.graph_requests import NORMAL, Manner
from delivery.platforms.manychat_errors import KEY
from delivery.platforms.sending import DAY_OLD, Refused
from delivery.rules import policy, reasons, window
from delivery.rules.policy import WINDOW_CLOSED, Allow, Withhold
from delivery.stopping import Stops
from delivery.subscribers import Page, SubscriberCalls, Subscribers

log = structlog.get_logger("plan")

CLOCK_UNKNOWN_MARGIN = timedelta(seconds=120)
"""How much earlier a window is taken to end while the platform's clock is not known."""


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
    manner: Manner = NORMAL
    stopped: Withhold | None = None
    """Why a route that the merchant has is not among `routes`: the account is stopped, or its key refused."""
    made_at: datetime | None = None
    """When the keys were read: a send may wait for its turn for long."""

    def starting_at(self, row: Row) -> tuple[Route, ...]:
        """Return the routes to try: a message whose first parts went one way goes on that way.

        A part whose outcome was unknown once takes no other route, even now that it was proven absent: what the first
        may still do late, nobody could tell from what a second one did.
        """
        if row.current is not None and row.parts[row.current].unknowns:
            return tuple(route for route in self.routes if route == row.route)
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
        subscribers: SubscriberCalls,
        stops: Stops,
        sealer: Sealer,
        clock: PlatformTime,
        margin: timedelta,
    ) -> None:
        self._merchants = merchants
        self._contacts = contacts
        self._subscribers = Subscribers(contacts=contacts, calls=subscribers, clock=clock)
        self._stops = stops
        self._sealer = sealer
        self._clock = clock
        self._margin = margin

    def detail_of(self, event: ReplyGenerated, plan: Plan, refusal: Refused) -> str:
        """Return the sentences about a refusal, which never contradict what is known of the customer."""
        last = policy.last_opened(plan.contact, event.data, event.time)
        wrote_lately = last is not None and window.is_open(last, self._clock.now(), self._margin)
        if last is None or not wrote_lately or not refusal.detail.startswith(DAY_OLD):
            return refusal.detail
        code = refusal.detail.rpartition(" (")[2]
        return f"{reasons.window_refused_early(last)} ({code}"

    async def plan(self, event: ReplyGenerated) -> Plan | Withhold | Impossible:
        """Return the routes a reply may take, or why it may take none."""
        reply = event.data
        began = self._clock.now()
        merchant = await self._merchant_of(reply)
        if merchant is None:
            return Withhold("unknown_merchant", "no merchant here has this id and account")
        if isinstance(reply.action, OperatorNotification):
            return Plan(merchant, ("operator",))
        standing = await self._stops.standing(reply.account_id)
        if standing.state in {"restricted", "disconnected"}:
            return Withhold(standing.state, standing.detail)
        contact = None
        if not isinstance(reply.action, HideComment | DeleteComment):
            contact = await self._contacts.find(reply.conversation_id)
        verdict = policy.judge(
            reply,
            decided_at=event.time,
            contact=contact,
            now=self._clock.now(),
            margin=self._margin if self._clock.known else self._margin + CLOCK_UNKNOWN_MARGIN,
            human_agent=merchant.human_agent,
        )
        if isinstance(verdict, Withhold):
            return verdict
        if not pieces_of(reply.action):
            return Impossible("empty_text", "the text is nothing but white space")
        planned = self._routes(reply, merchant, contact, verdict, standing)
        if isinstance(planned, Impossible):
            return planned
        stopped = self._stopped(reply, planned, standing)
        if not planned.routes:
            return stopped or planned
        if planned.manner.opt_in_token is not None:
            await self._use_opt_in(reply, planned.manner.opt_in_token)
        return replace(planned, made_at=began, stopped=stopped)

    async def _use_opt_in(self, reply: Reply, token: str) -> None:
        """Keep the token for this reply, also for its second try. Raises Retryable where another one was faster."""
        if not await self._contacts.use_opt_in(reply.conversation_id, token, reply.reply_id):
            raise Retryable("another reply has just used the customer's opt-in")

    async def _merchant_of(self, reply: Reply) -> Merchant | None:
        found = await self._merchants.by_id(reply.merchant_id)
        return found.seen_by(reply.account_id) if found is not None else None

    def _stopped(self, reply: Reply, plan: Plan, standing: Standing) -> Withhold | None:
        """Return why a route that the merchant has cannot be used now; None where no stop is the reason."""
        named = routing.ordered(reply.action, plan.merchant.routes)
        if standing.state != "active" and plan.token is not None and "graph" in named:
            return Withhold(standing.state, standing.detail)
        if plan.key is not None and "manychat" in named and self._stops.refuses_key(reply.account_id, plan.key):
            return Withhold(KEY.reason, KEY.said)
        return None

    def _routes(
        self, reply: Reply, merchant: Merchant, contact: Contact | None, verdict: Allow, standing: Standing
    ) -> Plan | Impossible:
        try:
            token = merchant.opened("access_token", self._sealer)
            key = merchant.opened("manychat_api_key", self._sealer)
        except NotOpenable as error:
            return Impossible("keys_unreadable", str(error))
        if not all(_fits_a_header(secret) for secret in (token, key)):
            return Impossible("keys_unreadable", "a key holds characters that no key has: enter the keys again")
        if reply.action.kind in routing.ADDRESSED_TO_A_PERSON and (nobody := _nobody(reply)):
            return nobody
        usable: dict[RouteName, bool] = {
            "manychat": key is not None
            and not verdict.only_graph
            and not self._stops.refuses_key(reply.account_id, key),
            "graph": token is not None and not verdict.only_tagged and standing.state == "active",
        }
        open_to = tuple(route for route in routing.ordered(reply.action, merchant.routes) if usable[route])
        routes = _taking(reply.action, open_to, verdict)
        if isinstance(routes, Impossible):
            return routes
        manner = Manner(verdict.human_agent, verdict.opt_in_token)
        return Plan(merchant, routes, contact, token, key, verdict.only_tagged, manner)

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
                if not refusal.elsewhere or position + 1 == len(routes):
                    return plan.stopped or Impossible(refusal.reason, refusal.detail)
                log.warning("manychat.lookup_refused", conversation=reply.conversation_id, reason=refusal.reason)
            else:
                if subscriber is not None:
                    return Chosen(route, subscriber)
        return _without_a_route(plan)

    async def _subscriber(self, reply: Reply, plan: Plan) -> int | None:
        """Return who the contact is in ManyChat. Raises Retryable, Refused."""
        if plan.key is None or reply.contact_id is None:
            return None
        page = Page(reply.account_id, plan.key, plan.merchant.manychat_igsid_field)
        return await self._subscribers.of(page, reply.conversation_id, reply.contact_id, plan.contact)


def _nobody(reply: Reply) -> Impossible | None:
    """Return why a reply cannot be addressed to its contact; None where it can."""
    if reply.contact_id is None:
        return Impossible("no_such_recipient", f"{reply.action.kind} needs contact_id")
    if reply.contact_id.startswith(USERNAME_CONTACT):
        return Impossible(
            "no_such_recipient",
            "Instagram named the author of this comment by username alone, so no message can be addressed to them. "
            "Answer the comment, publicly or with a private reply.",
        )
    return None


def _without_a_route(plan: Plan) -> Withhold | Impossible:
    """Return why none of a plan's routes knows the customer."""
    if plan.only_tagged or plan.manner != NORMAL:
        why = reasons.no_route_for(human_agent=plan.manner.human_agent, tagged=plan.only_tagged)
        return Withhold(WINDOW_CLOSED, why)
    if plan.stopped is not None:
        return plan.stopped
    return Impossible("no_route", "no route can send this: give the merchant an access token or a ManyChat key")


def _taking(action: Action, routes: tuple[Route, ...], verdict: Allow) -> tuple[Route, ...] | Impossible:
    """Return the routes that take this content, or what the first of them would not take."""
    if verdict.opt_in_token is not None and len(pieces_of(action)) > 1:
        return Impossible("text_too_long", "outside the window it has to fit into one message of 1,000 bytes")
    breaches = {route: content_limits.breach(action, route) for route in routes}
    first = next((breach for breach in breaches.values() if breach is not None), None)
    taking = tuple(route for route in routes if breaches[route] is None)
    if first is not None and not taking:
        return Impossible(first.reason, first.detail)
    return taking


def _fits_a_header(secret: str | None) -> bool:
    return secret is None or (secret.isascii() and secret.isprintable())
