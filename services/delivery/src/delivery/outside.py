"""Every call that sending makes of the outside world, behind the circuit breaker of its API and account.

A send is asked for twice: for leave, before the ledger says `attempting` (an API that is left alone must leave no row
that looks as if something had been sent), and for the call itself, which tells the breaker what became of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from common.breaker import Breakers, Permit
from common.events.outcomes import Route
from common.events.replies import (
    CommentReply,
    DirectMessage,
    HideComment,
    OperatorNotification,
    PrivateReply,
    Reply,
    Typing,
)
from common.merchants import Merchant
from delivery.operator import Notice, notice_of
from delivery.plan import Plan
from delivery.reading import Reading
from delivery.sending import Refused, Sent


class GraphApi(Protocol):
    """The calls of `delivery.instagram.Graph` that sending needs."""

    async def direct_message(self, token: str, account: str, contact: str, text: str) -> Sent:
        """Send a text into the person's thread."""
        ...

    async def private_reply(self, token: str, account: str, comment: str, text: str) -> Sent:
        """Answer a comment by a direct message."""
        ...

    async def comment_reply(self, token: str, comment: str, text: str) -> Sent:
        """Answer publicly under a comment."""
        ...

    async def hide_comment(self, token: str, comment: str, *, hidden: bool) -> Sent:
        """Hide a comment, or show it again."""
        ...

    async def typing(self, token: str, account: str, contact: str, *, on: bool) -> Sent:
        """Show or end the typing indicator."""
        ...

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read a person's thread."""
        ...

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment."""
        ...


class ManyChatApi(Protocol):
    """The calls of `delivery.manychat.ManyChat`."""

    async def find_subscriber(self, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None."""
        ...

    async def send_text(self, key: str, subscriber: int, text: str, tag: str | None = None) -> Sent:
        """Send a text into the subscriber's Instagram thread."""
        ...


class Notifier(Protocol):
    """The one call of `delivery.operator.Operator`."""

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        """Tell the merchant's people."""
        ...


@dataclass(frozen=True)
class Sending:
    """One part of a reply on its way: what, by whose keys, over which route, to whom."""

    reply: Reply
    at: datetime
    plan: Plan
    route: Route
    subscriber: int | None
    text: str


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
    ) -> None:
        self._graph = graph
        self._manychat = manychat
        self._operator = operator
        self._graph_breakers = graph_breakers
        self._manychat_breakers = manychat_breakers
        # A merchant's own address has none: a notice must never hold up the replies behind it.
        self._breakers: Mapping[Route, Breakers] = {"graph": graph_breakers, "manychat": manychat_breakers}

    def ask(self, route: Route, account: str) -> Permit | None:
        """Return leave for one send, None where none is needed. Raises BreakerOpen."""
        breakers = self._breakers.get(route)
        return breakers.ask(account) if breakers is not None else None

    async def send(self, sending: Sending) -> Sent:
        """Send one part. Raises Retryable, Refused or UnknownOutcome; whoever asked for leave tells the breaker."""
        reply, plan, text = sending.reply, sending.plan, sending.text
        token = plan.token or ""
        match reply.action:
            case DirectMessage(message_tag=tag) if sending.route == "manychat" and sending.subscriber is not None:
                return await self._manychat.send_text(plan.key or "", sending.subscriber, text, tag)
            case DirectMessage():
                return await self._graph.direct_message(token, reply.account_id, reply.contact_id or "", text)
            case PrivateReply(comment_id=comment):
                return await self._graph.private_reply(token, reply.account_id, comment, text)
            case CommentReply(comment_id=comment):
                return await self._graph.comment_reply(token, comment, text)
            case HideComment(comment_id=comment, hidden=hidden):
                return await self._graph.hide_comment(token, comment, hidden=hidden)
            case OperatorNotification(reason=reason, text=said):
                return await self._operator.notify(plan.merchant, notice_of(reply, reason, said, sending.at))
            case Typing(on=on):
                return await self._graph.typing(token, reply.account_id, reply.contact_id or "", on=on)
            case _:
                raise Refused("not_sendable", f"no route sends {reply.action.kind}")

    async def show_typing(self, token: str, account: str, contact: str, *, on: bool) -> Sent:
        """Show or end the typing indicator. Raises ProcessingError."""
        with self._graph_breakers.calling(account):
            return await self._graph.typing(token, account, contact, on=on)

    async def find_subscriber(self, account: str, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None. Raises Retryable, Refused."""
        with self._manychat_breakers.calling(account):
            return await self._manychat.find_subscriber(key, field_id, contact)

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read a person's thread. Raises Retryable, Refused."""
        with self._graph_breakers.calling(account):
            return await self._graph.conversation(token, account, contact)

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment. Raises Retryable, Refused."""
        with self._graph_breakers.calling(account):
            return await self._graph.comment_replies(token, account, comment)
