"""Sends replies, each at most once: the ledger's states in the order in which things happen.

Every step between two effects is a line of its own, because a crash may come between any two of them: watch the
conversation, judge, choose the route, ask its breaker, write `attempting`, look whether anything was observed
meanwhile, call, write what came of it, publish. What is known to have happened is written by whoever knows it, also
by an owner that was overtaken; everything else is begun only while the record is still in hand.
"""

import time
from contextlib import nullcontext
from datetime import timedelta

import structlog

from common.breaker import BreakerOpen
from common.erasures import ConversationErased, refuse_if_erased
from common.errors import Permanent, Retryable, UnknownOutcome
from common.events.outcomes import Route
from common.events.replies import ReplyGenerated, Typing
from common.failpoints import failpoint, sabotaged
from common.kafka.barrier import ReadBarrier
from common.kafka.hold import refuse_if_lost
from common.merchants import Merchants
from common.platform_clock import PlatformTime
from common.sealing import Sealer
from delivery import ledger as rows
from delivery import permissions
from delivery.contacts import Contacts
from delivery.first_seen import FirstSeen
from delivery.last_look import Disturbed, LastLook
from delivery.ledger import CommentTaken, Ledger, Row
from delivery.lookout import DISTURBED_SECONDS, MOST_DISTURBED, Lookout, caught_up, heeds_people
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import outcome_of, outcome_of_erased
from delivery.pace.pacing import Pacing
from delivery.parts import cuts_of, keys_of, piece_to_send, pieces_of
from delivery.patience import Patience
from delivery.plan import Chosen, Impossible, Plan, Planner
from delivery.platforms.manychat_errors import NO_SUBSCRIBER
from delivery.platforms.outside import Outside, Sending
from delivery.platforms.sending import ALREADY_ANSWERED, ONE_MORE_AFTER, Refused, asks_for_one_more
from delivery.reports import Reports
from delivery.resolution import Eyes, Resolver
from delivery.row_writes import put_or_read, write_about, write_arrival
from delivery.rules.policy import WINDOW_CLOSED, Withhold
from delivery.stopping import Stops
from delivery.typing_indicator import TypingIndicator
from delivery.work import Work

log = structlog.get_logger("sender")

GONE = "no_such_recipient"

REPEATABLE = frozenset(
    {"hide_comment", "delete_comment", "reaction", "mark_seen", "subscriber_change", "operator_notification"}
)
"""Kinds of actions that may be done twice: nothing about them is ever unknown, they are simply done again."""


class InstagramMessageSender:
    """Delivers replies over the merchant's routes, inside the platform's rules, at most once."""

    def __init__(
        self,
        *,
        merchants: Merchants,
        contacts: Contacts,
        ledger: Ledger,
        outside: Outside,
        reports: Reports,
        sealer: Sealer,
        clock: PlatformTime,
        metrics: DeliveryMetrics,
        patience: Patience,
        margin: timedelta,
        pacing: Pacing,
        barrier: ReadBarrier,
        stops: Stops,
        first_seen: FirstSeen,
    ) -> None:
        self._planner = Planner(
            merchants=merchants,
            contacts=contacts,
            subscribers=outside,
            stops=stops,
            sealer=sealer,
            clock=clock,
            margin=margin,
        )
        self._resolver = Resolver(
            ledger=ledger,
            eyes=Eyes(merchants=merchants, sealer=sealer, reader=outside, ledger=ledger),
            reports=reports,
            clock=clock,
            metrics=metrics,
            patience=patience,
            first_seen=first_seen,
        )
        self._typing = TypingIndicator(planner=self._planner, outside=outside, reports=reports, metrics=metrics)
        self._contacts = contacts
        self._ledger = ledger
        self._outside = outside
        self._reports = reports
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._pacing = pacing
        self._barrier = barrier
        self._first_seen = first_seen

    async def deliver(self, event: ReplyGenerated) -> None:
        """Bring a reply to its end and publish what became of it.

        Raises Retryable while it has to wait (a limit, an outage, an outcome that is not known yet): the lane then
        keeps later replies of the conversation behind this one.
        """
        if isinstance(event.data.action, Typing):
            await self._typing.show(event, event.data.action)
            return
        barrier = self._barrier if heeds_people(event.data) else None
        lookout = Lookout(barrier, event.data.conversation_id)
        work = Work(event, self._pacing.turn(), lookout, self._outside)
        try:
            row = await self._advance(work)
        finally:
            work.leave()
            await lookout.end()
        await self._finish(work, row)

    async def suppress_erased(self, event: ReplyGenerated) -> None:
        """Publish that a reply is not sent: its customer was erased after it was decided. The ledger keeps nothing."""
        self._resolver.forget(event.data.reply_id)
        if not isinstance(event.data.action, Typing):
            await self._reports.publish(outcome_of_erased(event, self._clock.now()))

    async def _advance(self, work: Work) -> Row:
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
                row = await self._resolver.lose_sight(row, "found begun: whoever began it left no answer")
        return row

    # Opening

    async def _open(self, work: Work) -> Row:
        """Return the reply's row: the one that is there, or a new one, in `attempting` already where it may be sent."""
        reply = work.reply
        known = self._resolver.knows(reply.reply_id)
        if known or reply.origin in {"api", "human"}:
            found = await self._ledger.find(reply.reply_id)
            if found is not None:
                return found
            if known:
                raise Permanent(f"{reply.reply_id}: its row in the ledger vanished while its outcome was unknown")
        plan = await self._consider(work)
        now = self._clock.now()
        pieces = pieces_of(reply.action)
        fresh = rows.opened(reply, keys_of(pieces), now, cuts_of(reply.action, pieces))
        chosen = await self._choose(work, plan, plan.routes if isinstance(plan, Plan) else ())
        first = self._announced(fresh, chosen)
        await refuse_if_erased()  # the pace may have made it wait for long
        refuse_if_lost()
        self._note_attempt(first)
        failpoint("delivery.before_claim")
        there = await self._insert(work, first)
        if isinstance(there, CommentTaken):
            way = "in public" if rows.is_public(reply.action) else "privately"
            first = rows.withheld(fresh, ALREADY_ANSWERED, f"another reply answers this comment {way}", now)
            there = await self._ledger.insert(first)
        if isinstance(there, Row):
            work.leave()
            return there
        work.mine = first.fence
        work.finished_here = first.finished
        return first

    async def _consider(self, work: Work) -> Plan | Withhold | Impossible:
        """Watch the conversation from now on, and decide from there how the reply may be sent."""
        work.leave()
        await work.lookout.begin()
        work.plan = await self._planner.plan(work.event)
        if isinstance(work.plan, Withhold) and work.plan.reason == WINDOW_CLOSED and not work.lookout.watching:
            await caught_up(self._barrier, work.reply.conversation_id)
            work.plan = await self._planner.plan(work.event)
        return work.plan

    async def _choose(
        self, work: Work, plan: Plan | Withhold | Impossible, routes: tuple[Route, ...]
    ) -> Chosen | Withhold | Impossible:
        """Return the route to take, with a place on it and leave for a call; or why there is none.

        A route whose breaker is open has sent nothing and will not for a while: the next one is taken. Raises
        BreakerOpen where that was the last.
        """
        away: BreakerOpen | None = None
        while isinstance(plan, Plan):
            chosen = await self._planner.choose(work.reply, plan, routes)
            if not isinstance(chosen, Chosen):
                if away is not None:
                    raise away
                return chosen
            try:
                await work.take(chosen)
            except BreakerOpen as is_open:
                away, routes = away or is_open, routes[routes.index(chosen.route) + 1 :]
                if not routes:
                    raise away from None
                log.info("reply.rerouted", reply=work.reply.reply_id, reason="breaker_open", left=chosen.route)
            else:
                return chosen
        return plan

    def _announced(self, row: Row, chosen: Chosen | Withhold | Impossible) -> Row:
        """Return the row that says what will be done: `attempting`, or its end."""
        now = self._clock.now()
        if isinstance(chosen, Chosen):
            return rows.begin(row, chosen.route, now, at_platform_time=self._clock.trusted)
        sent = sum(part.state == "delivered" for part in row.parts)
        detail = f"{chosen.detail}; {sent} of {len(row.parts)} parts had been sent" if sent else chosen.detail
        end = rows.withheld if isinstance(chosen, Withhold) and row.state == "claimed" else rows.refused
        return end(row, chosen.reason, detail, now)

    # Sending

    async def _begin(self, work: Work, row: Row) -> Row:
        """Write `attempting` for the next part, or the end where it may not be sent; the row as it then is."""
        plan = await self._consider(work)
        chosen = await self._choose(work, plan, plan.starting_at(row) if isinstance(plan, Plan) else ())
        return await self._put(work, self._announced(row, chosen), over=row)

    async def _put(self, work: Work, row: Row, *, over: Row) -> Row:
        """Write what will be done; the row as it then is, which may be another owner's."""
        refuse_if_lost()
        self._note_attempt(row)
        if _is_written_too_late(row):
            work.unwritten, stored = lambda: self._ledger.put(row, over=over), row
        else:
            stored = await put_or_read(self._ledger, row, over=over)
        if stored is row:
            work.mine = row.fence
            work.finished_here = row.finished
        return stored

    async def _insert(self, work: Work, row: Row) -> Row | CommentTaken | None:
        if _is_written_too_late(row):
            work.unwritten = lambda: self._ledger.insert(row)
            return await self._ledger.find(row.reply_id)
        return await self._ledger.insert(row)

    async def _attempt(self, work: Work, row: Row) -> Row:
        """Send the part this pass wrote `attempting` for, and write what came of it."""
        index, plan = rows.part_to_send(row), work.plan
        if not isinstance(plan, Plan):
            raise rows.IllegalTransition(f"{row.reply_id} is attempted without a plan")
        asked_at = time.perf_counter()
        look = LastLook(work, self._first_seen, row, settle=self._patience.settle)
        try:
            await look.look()
        except Disturbed:
            return await self._begin_anew(work, row, index)
        except (Retryable, ConversationErased):
            await self._take_back(work, row, index)
            raise
        failpoint("delivery.after_attempting_before_http")
        piece = piece_to_send(work.reply.action, row.parts, index)
        sending = Sending(work.reply, work.event.time, plan, row.route, work.subscriber, piece, look.look_again)
        if work.lookout.watching:
            self._metrics.unseen.observe(time.perf_counter() - asked_at)
        try:
            with work.turn.calling(), work.permit or nullcontext():
                sent = await self._outside.send(sending)
            failpoint("delivery.after_http_before_ledger")
            await self._write_what_was_withheld(work)
            work.leave()
        except Refused as refusal:
            return await self._refused(work, plan, row, index, refusal)
        except UnknownOutcome as unknown:
            await self._write_what_was_withheld(work)
            return await self._resolver.lose_sight(row, unknown.evidence)
        except Disturbed:
            return await self._begin_anew(work, row, index)
        except (Retryable, ConversationErased):
            await self._take_back(work, row, index)
            raise
        return await self._arrived(work, row, index, sent.message_id)

    def _note_attempt(self, row: Row) -> None:
        """Count the attempt's seconds from before it is written: nobody else knows of it earlier."""
        if row.state == "attempting":
            self._first_seen.seconds(row, rows.part_to_send(row))

    async def _take_back(self, work: Work, row: Row, index: int) -> Row:
        """Write that the attempt sent nothing, unless somebody else has the row by now."""
        await self._write_what_was_withheld(work)
        work.leave()
        return await write_about(self._ledger, row, index, rows.nothing_sent, only="attempting")

    async def _begin_anew(self, work: Work, row: Row, index: int) -> Row:
        """Take back what was announced: something was observed since the reply was judged. Raises Retryable."""
        self._metrics.disturbed.inc()
        work.disturbed += 1
        row = await self._take_back(work, row, index)
        log.info("reply.disturbed", reply=row.reply_id, conversation=row.conversation_id, times=work.disturbed)
        if work.disturbed >= MOST_DISTURBED:
            raise Retryable("its conversation does not rest", after=DISTURBED_SECONDS)
        return row

    async def _write_what_was_withheld(self, work: Work) -> None:
        """Under `sabotage.attempting_after_call` only: write `attempting` now that it is too late."""
        if work.unwritten is not None:
            await work.unwritten()
            work.unwritten = None

    async def _arrived(self, work: Work, row: Row, index: int, message_id: str | None) -> Row:
        row = await write_arrival(self._ledger, row, index, message_id, self._clock.now())
        work.finished_here = row.finished
        return row

    async def _refused(self, work: Work, plan: Plan, row: Row, index: int, refusal: Refused) -> Row:
        await self._write_what_was_withheld(work)
        if refusal.reason == ALREADY_ANSWERED and row.kind == "private_reply" and row.parts[index].unknowns:
            # The earlier attempt that nobody saw the end of is what answered the comment.
            return await self._arrived(work, row, index, None)
        if refusal.reason == GONE and row.kind == "delete_comment" and row.parts[index].attempts > 1:
            # An earlier attempt that nobody saw the end of is what deleted it.
            return await self._arrived(work, row, index, None)
        if refusal.reason == NO_SUBSCRIBER:
            await self._contacts.remember_subscriber(row.conversation_id, None)
        if asks_for_one_more(refusal) and row.parts[index].attempts == 1:
            await self._take_back(work, row, index)
            raise Retryable(refusal.detail, after=ONE_MORE_AFTER)
        if refusal.elsewhere and not row.parts[index].unknowns:
            try:
                chosen = await self._choose(work, plan, plan.after(row.route))
                if isinstance(chosen, Chosen):
                    log.info("reply.rerouted", reply=row.reply_id, reason=refusal.reason, route=chosen.route)
                    stored = await self._put(work, self._announced(row, chosen), over=row)
                    overtaken = stored.fence != work.mine
                    if overtaken and rows.is_same_attempt(stored, index, row.parts[index].attempts):
                        # Only an echo came between, which named an earlier part: this attempt sent nothing.
                        return await self._take_back(work, stored, index)
                    return stored
            except Retryable:
                await self._take_back(work, row, index)
                raise
        now, detail = self._clock.now(), self._planner.detail_of(work.event, plan, refusal)
        row = await write_about(
            self._ledger, row, index, lambda latest: rows.refused(latest, refusal.reason, detail, now)
        )
        work.finished_here = row.finished
        return row

    async def _resolve(self, work: Work, row: Row) -> Row:
        """Find out what became of an unknown send, and send again what never arrived. Raises Retryable."""
        resolved = await self._resolver.resolve(work.event, row)
        if resolved is not None:
            return resolved
        again = await self._begin(work, row)
        self._metrics.resolved.labels("sent_again" if again.state == "attempting" else "not_sent_again").inc()
        log.warning("reply.proven_absent", reply=row.reply_id, part=row.current, now=again.state)
        return again

    # Ending

    async def _finish(self, work: Work, row: Row) -> None:
        failpoint("delivery.after_ledger_before_publish")
        await permissions.note_end(self._contacts, work.reply, row)
        await self._reports.publish(outcome_of(work.event, row))
        failpoint("delivery.after_publish_before_done")
        was_unresolved = self._resolver.knows(row.reply_id)
        self._resolver.forget(row.reply_id)
        if work.finished_here or was_unresolved:
            self._reports.count(row)
        else:
            log.info("reply.redelivered", reply=row.reply_id, state=row.state)


def _is_written_too_late(row: Row) -> bool:
    """Tell whether a sabotage holds `attempting` back until the call was made."""
    return row.state == "attempting" and sabotaged("sabotage.attempting_after_call")
