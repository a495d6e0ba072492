"""Sends replies, each at most once: the ledger's states in the order in which things happen.

Every step between two effects is a line of its own, because a crash may come between any two of them: read the
contact, judge, choose the route, write `attempting`, call, write what came of it, publish.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import structlog

from common.clock import Clock
from common.errors import Permanent, ProcessingError, Retryable, UnknownOutcome
from common.events.replies import (
    CommentReply,
    DirectMessage,
    HideComment,
    OperatorNotification,
    PrivateReply,
    Reply,
    ReplyGenerated,
    Typing,
)
from common.merchants import Merchant, Merchants
from common.sealing import NotOpenable, Sealer
from delivery import ledger as rows
from delivery import unknown_outcomes
from delivery.contacts import Contacts
from delivery.ledger import CommentTaken, Ledger, Row, write_fact
from delivery.manychat import NO_SUBSCRIBER
from delivery.metrics import DeliveryMetrics
from delivery.operator import Notice
from delivery.outcomes import Publish, outcome_of, outcome_without_row
from delivery.pacing import Places, Turn
from delivery.parts import keys_of, texts_of
from delivery.patience import Patience
from delivery.plan import Chosen, Impossible, Plan, Planner, Subscribers
from delivery.policy import Withhold
from delivery.reading import Reading
from delivery.sending import ALREADY_ANSWERED, Refused, Sent

log = structlog.get_logger("sender")

REPEATABLE = frozenset({"hide_comment", "operator_notification"})
"""Kinds of actions that may be done twice: nothing about them is ever unknown, they are simply done again."""

MOST_REMEMBERED = 10_000
MISSES_KEPT = timedelta(minutes=5)


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


class ManyChatApi(Subscribers, Protocol):
    """The calls of `delivery.manychat.ManyChat`."""

    async def send_text(self, key: str, subscriber: int, text: str, tag: str | None = None) -> Sent:
        """Send a text into the subscriber's Instagram thread."""
        ...


class Notifier(Protocol):
    """The one call of `delivery.operator.Operator`."""

    async def notify(self, merchant: Merchant, notice: Notice) -> Sent:
        """Tell the merchant's people."""
        ...


@dataclass
class _Work:
    """One pass over one record: what it found out, and which row it wrote itself."""

    event: ReplyGenerated
    turn: Turn
    plan: Plan | Withhold | Impossible | None = None
    subscriber: int | None = None
    mine: int | None = None
    finished_here: bool = False

    @property
    def reply(self) -> Reply:
        return self.event.data

    async def take(self, chosen: Chosen) -> None:
        """Wait for a place on the chosen route."""
        self.subscriber = chosen.subscriber
        await self.turn.take(chosen.route)


class InstagramMessageSender:
    """Delivers replies over the merchant's routes, inside the platform's rules, at most once."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        ledger: Ledger,
        graph: GraphApi,
        manychat: ManyChatApi,
        operator: Notifier,
        sealer: Sealer,
        publish: Publish,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
        margin: timedelta,
        places: Places,
    ) -> None:
        self._planner = Planner(
            merchants=merchants, contacts=contacts, subscribers=manychat, sealer=sealer, clock=clock, margin=margin
        )
        self._merchants = merchants
        self._sealer = sealer
        self._contacts = contacts
        self._ledger = ledger
        self._graph = graph
        self._manychat = manychat
        self._operator = operator
        self._publish = publish
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._places = places
        self._unresolved: OrderedDict[str, None] = OrderedDict()

    async def deliver(self, event: ReplyGenerated) -> None:
        """Bring a reply to its end and publish what became of it.

        Raises Retryable while it has to wait (a limit, an outage, an outcome that is not known yet): the lane then
        keeps later replies of the conversation behind this one.
        """
        if isinstance(event.data.action, Typing):
            await self._show_typing(event)
            return
        work = _Work(event, self._places.turn())
        try:
            row = await self._advance(work)
        finally:
            work.turn.leave()
        await self._finish(work, row)

    async def _advance(self, work: _Work) -> Row:
        """Take the reply from state to state until it is finished, and return its row."""
        row = await self._open(work)
        while not row.finished:
            if row.state == "claimed":
                row = await self._begin(work, row)
            elif row.state == "unknown":
                row = await self._resolve(work, row)
            elif row.fence == work.mine:
                row = await self._attempt(work, row)
            elif row.kind in REPEATABLE:
                row = await self._begin(work, row)
            else:
                row = await self._lose_sight(row, "found begun: whoever began it left no answer")
        return row

    # Opening

    async def _open(self, work: _Work) -> Row:
        """Return the reply's row: the one that is there, or a new one, in `attempting` already where it may be sent."""
        reply = work.reply
        if reply.reply_id in self._unresolved or reply.origin in {"api", "human"}:
            found = await self._ledger.find(reply.reply_id)
            if found is not None:
                return found
            if reply.reply_id in self._unresolved:
                raise Permanent(f"{reply.reply_id}: its row in the ledger vanished while its outcome was unknown")
        work.plan = await self._planner.plan(work.event)
        now = self._clock.now()
        fresh = rows.opened(reply, keys_of(texts_of(reply.action)), now)
        first = await self._first_row(work, work.plan, fresh)
        there = await self._ledger.insert(first)
        if isinstance(there, CommentTaken):
            first = rows.withheld(fresh, ALREADY_ANSWERED, "another reply answers this comment privately", now)
            there = await self._ledger.insert(first)
        if isinstance(there, Row):
            return there
        work.mine = first.fence
        work.finished_here = first.finished
        return first

    async def _first_row(self, work: _Work, plan: Plan | Withhold | Impossible, fresh: Row) -> Row:
        chosen = await self._planner.choose(work.reply, plan, plan.routes) if isinstance(plan, Plan) else plan
        if isinstance(chosen, Chosen):
            await work.take(chosen)
            return rows.begin(fresh, chosen.route, self._clock.now())
        return self._ended(fresh, chosen)

    def _ended(self, row: Row, why: Withhold | Impossible) -> Row:
        end = rows.withheld if isinstance(why, Withhold) and row.state == "claimed" else rows.refused
        return end(row, why.reason, why.detail, self._clock.now())

    # Sending

    async def _begin(self, work: _Work, row: Row) -> Row:
        """Write `attempting` for the next part, or the end where it may not be sent; the row as it then is."""
        if work.plan is None:
            work.plan = await self._planner.plan(work.event)
        plan = work.plan
        chosen = await self._planner.choose(work.reply, plan, plan.starting_at(row)) if isinstance(plan, Plan) else plan
        if isinstance(chosen, Chosen):
            await work.take(chosen)
            return await self._put(work, rows.begin(row, chosen.route, self._clock.now()), over=row)
        return await self._put(work, self._ended(row, chosen), over=row)

    async def _put(self, work: _Work, row: Row, *, over: Row) -> Row:
        if not await self._ledger.put(row, over=over):
            found = await self._ledger.find(row.reply_id)
            if found is None and any(part.attempts for part in over.parts):
                raise Permanent(f"{row.reply_id}: its row in the ledger vanished while it was being sent")
            if found is None:
                raise Retryable(f"{row.reply_id}: its row in the ledger was withdrawn before anything was sent")
            return found
        work.mine = row.fence
        work.finished_here = row.finished
        return row

    async def _attempt(self, work: _Work, row: Row) -> Row:
        """Send the part this pass wrote `attempting` for, and write what came of it."""
        index, plan = rows.part_to_send(row), work.plan
        if not isinstance(plan, Plan):
            raise rows.IllegalTransition(f"{row.reply_id} is attempted without a plan")
        attempt, began = row.parts[index].attempts, row.parts[index].attempted_at
        if began is None or (self._clock.now() - began).total_seconds() > self._patience.settle:
            # This process was frozen in between: others already count the seconds after which nothing is under way.
            await write_fact(self._ledger, row, _if_same(index, attempt, rows.nothing_sent, only="attempting"))
            raise Retryable("the call was not begun in time")
        try:
            sent = await self._call(work, plan, row, index)
            work.turn.leave()
        except Refused as refusal:
            return await self._refused(work, plan, row, index, refusal)
        except UnknownOutcome as unknown:
            return await self._lose_sight(row, unknown.evidence)
        except Retryable:
            await write_fact(self._ledger, row, _if_same(index, attempt, rows.nothing_sent, only="attempting"))
            raise
        return await self._arrived(work, row, index, sent.message_id)

    async def _call(self, work: _Work, plan: Plan, row: Row, index: int) -> Sent:
        reply, route = work.reply, row.route
        text = texts_of(reply.action)[index]
        token = plan.token or ""
        match reply.action:
            case DirectMessage(message_tag=tag) if route == "manychat" and work.subscriber is not None:
                return await self._manychat.send_text(plan.key or "", work.subscriber, text, tag)
            case DirectMessage():
                return await self._graph.direct_message(token, reply.account_id, reply.contact_id or "", text)
            case PrivateReply(comment_id=comment):
                return await self._graph.private_reply(token, reply.account_id, comment, text)
            case CommentReply(comment_id=comment):
                return await self._graph.comment_reply(token, comment, text)
            case HideComment(comment_id=comment, hidden=hidden):
                return await self._graph.hide_comment(token, comment, hidden=hidden)
            case OperatorNotification(reason=reason, text=said):
                return await self._operator.notify(plan.merchant, self._notice(work, reason, said))
            case Typing(on=on):
                return await self._graph.typing(token, reply.account_id, reply.contact_id or "", on=on)

    async def _arrived(
        self, work: _Work, row: Row, index: int, message_id: str | None, *, by_text: bool = False
    ) -> Row:
        now = self._clock.now()
        change: Callable[[Row], Row | None] = lambda latest: (  # noqa: E731
            rows.after_arrival(latest, index, message_id, now, by_text=by_text)
        )
        row = await write_fact(self._ledger, row, change)
        work.finished_here = row.finished
        return row

    async def _refused(self, work: _Work, plan: Plan, row: Row, index: int, refusal: Refused) -> Row:
        if refusal.reason == ALREADY_ANSWERED and row.kind == "private_reply" and row.parts[index].unknowns:
            # The earlier attempt that nobody saw the end of is what answered the comment.
            return await self._arrived(work, row, index, None)
        if refusal.reason == NO_SUBSCRIBER:
            await self._contacts.remember_subscriber(row.conversation_id, None)
        if refusal.elsewhere:
            chosen = await self._planner.choose(work.reply, plan, plan.after(row.route))
            if isinstance(chosen, Chosen):
                log.info("reply.rerouted", reply=row.reply_id, reason=refusal.reason, route=chosen.route)
                await work.take(chosen)
                return await self._put(work, rows.begin(row, chosen.route, self._clock.now()), over=row)
        now = self._clock.now()
        change = _if_same(
            index, row.parts[index].attempts, lambda latest: rows.refused(latest, refusal.reason, refusal.detail, now)
        )
        row = await write_fact(self._ledger, row, change)
        work.finished_here = row.finished
        return row

    # Unknown outcomes

    async def _lose_sight(self, row: Row, evidence: str) -> Row:
        index = rows.part_to_send(row)
        now, attempt = self._clock.now(), row.parts[index].attempts
        lost = await write_fact(
            self._ledger,
            row,
            _if_same(index, attempt, lambda latest: rows.lost_sight(latest, evidence, now), only="attempting"),
        )
        if lost.state == "unknown":
            self._metrics.unknown.labels(lost.route).inc()
            log.warning("reply.outcome_unknown", reply=row.reply_id, route=row.route, evidence=evidence)
        return lost

    async def _resolve(self, work: _Work, row: Row) -> Row:
        """Find out what became of an unknown send. Raises Retryable until that is known or given up."""
        index = rows.part_to_send(row)
        if row.reply_id not in self._unresolved:
            await self._publish([outcome_of(work.event, row)])
            self._remember(row.reply_id)
        part = row.parts[index]
        step = unknown_outcomes.before_looking(part, self._clock.now(), self._patience)
        if isinstance(step, unknown_outcomes.Wait):
            raise Retryable("its outcome is unknown", after=step.seconds)
        sight = await self._look(work.reply, row, index)
        match unknown_outcomes.after_looking(row, part, sight, self._clock.now(), self._patience):
            case unknown_outcomes.Wait(seconds):
                raise Retryable("its outcome is unknown", after=seconds)
            case unknown_outcomes.Found(message_id):
                self._metrics.resolved.labels("read").inc()
                log.info("reply.found", reply=row.reply_id, by="read", part=index)
                return await self._arrived(work, row, index, message_id, by_text=True)
            case unknown_outcomes.SendAgain():
                work.plan = None
                again = await self._begin(work, row)
                self._metrics.resolved.labels("sent_again" if again.state == "attempting" else "not_sent_again").inc()
                log.warning("reply.proven_absent", reply=row.reply_id, part=index, now=again.state)
                return again
            case unknown_outcomes.HandOver(detail):
                await self._tell(work, detail)
                self._metrics.resolved.labels("handed_to_human").inc()
                return await self._put(work, rows.handed_over(row, detail, self._clock.now()), over=row)

    async def _look(self, reply: Reply, row: Row, index: int) -> unknown_outcomes.Sight:
        part = row.parts[index]
        merchant = await self._merchants.by_id(reply.merchant_id)
        try:
            token = self._sealer.open(merchant.access_token) if merchant and merchant.access_token else None
        except NotOpenable:
            token = None
        around = await self._ledger.around(row.conversation_id, part.attempted_at or row.at)
        return await unknown_outcomes.look(
            self._graph, token, reply, part, unknown_outcomes.others_of(around, row, index)
        )

    async def _tell(self, work: _Work, detail: str) -> None:
        merchant = await self._merchants.by_id(work.reply.merchant_id)
        if merchant is None:
            return
        try:
            await self._operator.notify(merchant, self._notice(work, "outcome_unknown", detail))
        except Refused:
            log.warning("operator.unreachable", merchant=merchant.id)

    def _notice(self, work: _Work, reason: str, text: str) -> Notice:
        reply = work.reply
        return Notice(
            reason=reason,
            text=text,
            conversation_id=reply.conversation_id,
            account_id=reply.account_id,
            contact_id=reply.contact_id,
            reply_id=reply.reply_id,
            at=work.event.time,
        )

    def _remember(self, reply_id: str) -> None:
        self._unresolved[reply_id] = None
        while len(self._unresolved) > MOST_REMEMBERED:
            self._unresolved.popitem(last=False)

    # Ending

    async def _finish(self, work: _Work, row: Row) -> None:
        await self._publish([outcome_of(work.event, row)])
        was_unresolved = row.reply_id in self._unresolved
        self._unresolved.pop(row.reply_id, None)
        if not (work.finished_here or was_unresolved):
            log.info("reply.redelivered", reply=row.reply_id, state=row.state)
            return
        self._metrics.replies.labels(row.state, row.route, row.kind).inc()
        if row.reason == "window_closed":
            self._metrics.window_closed.inc()
        if row.state == "delivered" and row.received_at_ms and row.finished_at is not None:
            waited = row.finished_at.timestamp() - row.received_at_ms / 1000
            self._metrics.webhook_to_delivered.observe(max(waited, 0.0))
        log.info(
            "reply.finished",
            state=row.state,
            reply=row.reply_id,
            conversation=row.conversation_id,
            kind=row.kind,
            route=row.route,
            reason=row.reason,
        )

    async def _show_typing(self, event: ReplyGenerated) -> None:
        """Show the typing indicator once, if it still makes sense: it is not worth a row, a wait or a second try."""
        plan = await self._planner.plan(event)
        reason = ""
        if not isinstance(plan, Plan):
            reason = plan.reason
        elif plan.token is None or event.data.contact_id is None or not isinstance(event.data.action, Typing):
            reason = "no_route"
        else:
            try:
                await self._graph.typing(
                    plan.token, event.data.account_id, event.data.contact_id, on=event.data.action.on
                )
            except ProcessingError:
                reason = "not_shown"
        await self._publish([outcome_without_row(event, route="graph", reason=reason, at=event.time)])
        self._metrics.replies.labels("suppressed" if reason else "delivered", "graph", "typing").inc()


def _if_same(
    index: int, attempt: int, change: Callable[[Row], Row], *, only: rows.State | None = None
) -> Callable[[Row], Row | None]:
    """Return `change`, applied only while the part is still at the attempt that the fact is about."""

    def apply(row: Row) -> Row | None:
        if not rows.is_same_attempt(row, index, attempt) or (only is not None and row.state != only):
            return None
        return change(row)

    return apply
