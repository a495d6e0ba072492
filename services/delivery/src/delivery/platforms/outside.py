"""Every call that sending makes of the outside world, behind the circuit breaker of its API and account.

A send is asked for twice: for leave, before the ledger says `attempting` (an API that is left alone must leave no row
that looks as if something had been sent), and for the call itself, which tells the breaker what became of it. What else
follows from an answer is drawn by `delivery.consequences`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from common.breaker import BreakerOpen, Breakers
from common.errors import Paced, Paused
from common.events.outcomes import Route
from common.events.replies import Action, DirectMessage, Flow, OperatorNotification, Reply, Typing
from common.merchants import Merchant
from delivery.consequences import Consequences
from delivery.pace.leave import Leave
from delivery.pace.pacing import Pacing
from delivery.pace.rate_limits import Meter, page_of
from delivery.plan import Plan
from delivery.platforms.calls import LastLook, looking_last
from delivery.platforms.graph_requests import NORMAL, Manner
from delivery.platforms.operator import Notice, notice_of
from delivery.platforms.reading import Reading, ReadMessage
from delivery.platforms.sending import Sent


class GraphApi(Protocol):
    """The calls of `delivery.platforms.instagram.Graph` that sending needs."""

    async def send(self, token: str, account: str, contact: str, action: Action, manner: Manner = NORMAL) -> Sent:
        """Do what an action says, in one call."""
        ...

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read a person's thread."""
        ...

    async def message(self, token: str, mid: str) -> ReadMessage:
        """Read one message by its id."""
        ...

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment."""
        ...


class ManyChatApi(Protocol):
    """The calls of `delivery.platforms.manychat.ManyChat`."""

    async def find_subscriber(self, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None."""
        ...

    async def set_field(self, key: str, subscriber: int, field_id: int, value: str) -> None:
        """Write a custom field of a subscriber."""
        ...

    async def send_to_subscriber(self, key: str, subscriber: int, action: Action, tag: str | None = None) -> Sent:
        """Do what an action says, for a subscriber."""
        ...


class Notifier(Protocol):
    """The one call of `delivery.platforms.operator.Operator`."""

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        """Tell the merchant's people."""
        ...


@dataclass(frozen=True)
class Sending:
    """One part of a reply on its way: what, by whose keys, over which route, to whom. `piece` is the part, `look` is
    made once more where the transport begins to write.
    """

    reply: Reply
    at: datetime
    plan: Plan
    route: Route
    subscriber: int | None
    piece: Action
    look: LastLook | None = None


SEND = "send"


def kind_of(reply: Reply) -> str:
    """Return which limit a reply's calls are under: ManyChat counts flows apart from all other content."""
    return "send_flow" if isinstance(reply.action, Flow) else SEND


class Outside:
    """The platforms and the merchants' people."""

    def __init__(
        self,
        *,
        graph: GraphApi,
        manychat: ManyChatApi,
        operator: Notifier,
        graph_breakers: Breakers,
        manychat_breakers: Breakers,
        consequences: Consequences,
        pacing: Pacing,
    ) -> None:
        self._graph = graph
        self._manychat = manychat
        self._operator = operator
        self._graph_breakers = graph_breakers
        self._manychat_breakers = manychat_breakers
        self._consequences = consequences
        self._pacing = pacing
        # A merchant's own address has none: a notice must never hold up the replies behind it.
        self._breakers: Mapping[Route, Breakers] = {"graph": graph_breakers, "manychat": manychat_breakers}

    def refuse_if_paused(self, route: Route, account: str, kind: str = SEND, *, first: bool = True) -> None:
        """Return where no limit is being waited out. Raises Paused with the time to wait.

        `first` tells an answer from what a program asks for.
        """
        wait = self._consequences.wait(route, account, kind, first=first)
        if wait > 0:
            raise Paused(f"{route} asked for a pause", after=wait)

    def ask(self, route: Route, account: str, kind: str = SEND, *, first: bool = True) -> Leave | None:
        """Return leave for one send, None where none is needed. Raises BreakerOpen, or Paused during a pause."""
        breakers = self._breakers.get(route)
        if breakers is None:
            return None
        slot = self._consequences.ask(route, account, kind, first=first)
        try:
            return Leave(breakers.ask(account), slot)
        except BreakerOpen:
            if slot is not None:
                slot.give_back()
            raise

    async def send(self, sending: Sending) -> Sent:
        """Send one part. Raises Retryable, Refused or UnknownOutcome; whoever asked for leave tells the breaker."""
        key = (sending.plan.key if sending.route == "manychat" else sending.plan.token) or ""
        account, kind = sending.reply.account_id, kind_of(sending.reply)
        contact = sending.reply.contact_id or ""
        since = sending.plan.made_at
        async with self._consequences.of(sending.route, account, kind, key=key, since=since, contact=contact):
            with looking_last(sending.look):
                return await self._send(sending)

    async def _send(self, sending: Sending) -> Sent:
        reply, plan, piece = sending.reply, sending.plan, sending.piece
        if isinstance(piece, OperatorNotification):
            notice = notice_of(reply, piece.reason, piece.text, sending.at)
            return await self._operator.notify(plan.merchant, notice)
        if sending.route == "manychat" and sending.subscriber is not None:
            tag = piece.message_tag if isinstance(piece, DirectMessage) else None
            return await self._manychat.send_to_subscriber(plan.key or "", sending.subscriber, piece, tag)
        return await self._graph.send(plan.token or "", reply.account_id, reply.contact_id or "", piece, plan.manner)

    async def show_typing(self, token: str, account: str, contact: str, *, on: bool) -> Sent:
        """Show or end the typing indicator. Raises ProcessingError."""
        async with self._pacing.at_once(Meter("message", account)) as free:
            if not free or self._consequences.slowed("graph", account, "typing"):
                raise Paced("the limit of message is reached: messages come first")
            async with self._calling("graph", account, "typing", contact=contact):
                return await self._graph.send(token, account, contact, Typing(on=on))

    async def find_subscriber(self, account: str, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None. Raises Retryable, Refused."""
        async with self._calling(
            "manychat", account, "find_subscriber", Meter("manychat_other", page_of(key)), key=key
        ):
            return await self._manychat.find_subscriber(key, field_id, contact)

    async def link_subscriber(self, account: str, key: str, field_id: int, contact: str, subscriber: int) -> None:
        """Write the person's Instagram-scoped id into the subscriber's custom field. Raises Retryable, Refused."""
        async with self._calling("manychat", account, "set_field", Meter("manychat_other", page_of(key)), key=key):
            await self._manychat.set_field(key, subscriber, field_id, contact)

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read a person's thread. Raises Retryable, Refused."""
        await self._consequences.refuse_if_stopped(account)
        async with self._calling("graph", account, "read", Meter("conversation", account), contact=contact):
            return await self._graph.conversation(token, account, contact)

    async def message(self, token: str, account: str, mid: str) -> ReadMessage:
        """Read one message by its id. Raises Retryable, Refused."""
        await self._consequences.refuse_if_stopped(account)
        async with self._calling("graph", account, "read", Meter("conversation", account)):
            return await self._graph.message(token, mid)

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment. Raises Retryable, Refused."""
        await self._consequences.refuse_if_stopped(account)
        async with self._calling("graph", account, "read", Meter("comment", account), contact=comment):
            return await self._graph.comment_replies(token, account, comment)

    @asynccontextmanager
    async def _calling(
        self, api: Route, account: str, kind: str, *meters: Meter, key: str = "", contact: str = ""
    ) -> AsyncIterator[None]:
        """Make one call that no ledger knows of, at the pace that its meters allow.

        Raises Paced, BreakerOpen, or Paused during a pause, before it is made.
        """
        async with self._pacing.paced(*meters) as turn:
            with self.ask(api, account, kind) or nullcontext(), turn.calling():
                async with self._consequences.of(api, account, kind, key=key, contact=contact):
                    yield
