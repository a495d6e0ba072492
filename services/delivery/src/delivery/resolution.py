"""Resolves sends that nobody saw the end of: acts on what `unknown_outcomes` decides."""

from collections import OrderedDict
from collections.abc import Sequence

import structlog

from common.clock import Clock
from common.errors import Retryable
from common.events.replies import ReplyGenerated
from common.failpoints import failpoint
from common.merchants import Merchants
from common.sealing import NotOpenable, Sealer
from delivery import ledger as rows
from delivery import unknown_outcomes
from delivery.first_seen import FirstSeen
from delivery.ledger import Ledger, Part, Row
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import outcome_of
from delivery.patience import Patience
from delivery.platforms.operator import notice_of
from delivery.platforms.reading import Author, Reading
from delivery.reports import Reports
from delivery.row_writes import put_or_read, write_about, write_arrival
from delivery.unknown_outcomes import Place, Reader, Sight, place_of

log = structlog.get_logger("resolution")

MOST_REMEMBERED = 10_000


class Eyes:
    """Looks for what a row may have sent, with the merchant's own token."""

    def __init__(self, *, merchants: Merchants, sealer: Sealer, reader: Reader, ledger: Ledger) -> None:
        self._merchants = merchants
        self._sealer = sealer
        self._reader = reader
        self._ledger = ledger

    async def look(self, row: Row, index: int, place: Place) -> Sight:
        """Look once; whatever cannot be read cannot be told."""
        part = row.parts[index]
        found = await self._merchants.by_id(row.merchant_id)
        merchant = found.seen_by(row.account_id) if found is not None else None
        try:
            token = merchant.opened("access_token", self._sealer) if merchant else None
        except NotOpenable:
            token = None
        at = part.attempted_at or row.at
        around = await self._ledger.around(row.conversation_id, at)
        others = unknown_outcomes.others_of(around, row, index)

        async def others_below(reading: Reading) -> Sequence[Part]:
            ids = [one.id for one in reading.shown]
            below = await self._ledger.public_replies_below(row.account_id, place.comment_id or "", at, part.key, ids)
            known = {row.reply_id, *(one.reply_id for one in around)}
            return [other for one in below if one.reply_id not in known for other in one.parts if other.attempted_at]

        author = Author(
            ids=frozenset({row.account_id, *filter(None, [merchant.app_scoped_id if merchant else None])}),
            username=merchant.username if merchant else "",
            customer=row.contact_id,
        )
        return await unknown_outcomes.look(
            self._reader, token, place, part, others, author=author, others_below=others_below
        )


class Resolver:
    """Brings unknown outcomes to an end, and remembers which replies it told the system about."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        eyes: Eyes,
        reports: Reports,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
        first_seen: FirstSeen,
    ) -> None:
        self._ledger = ledger
        self._eyes = eyes
        self._reports = reports
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._first_seen = first_seen
        self._unresolved: OrderedDict[str, None] = OrderedDict()

    def knows(self, reply_id: str) -> bool:
        """Tell whether this process said of a reply that its outcome is unknown, and did not end it yet."""
        return reply_id in self._unresolved

    def forget(self, reply_id: str) -> None:
        """Note that a reply came to its end."""
        self._unresolved.pop(reply_id, None)

    async def lose_sight(self, row: Row, evidence: str) -> Row:
        """Write that nobody knows what became of the part that is being sent."""
        now = self._clock.now()
        lost = await write_about(
            self._ledger,
            row,
            rows.part_to_send(row),
            lambda latest: rows.lost_sight(latest, evidence, now),
            only="attempting",
        )
        if lost.state == "unknown":
            self._metrics.unknown.labels(lost.route).inc()
            log.warning("reply.outcome_unknown", reply=row.reply_id, route=row.route, evidence=evidence)
        return lost

    async def resolve(self, event: ReplyGenerated, row: Row) -> Row | None:
        """Return the row once it is known what became of its send, or None where it may be sent again.

        Raises Retryable until one of the two is known or the reply is given to a person.
        """
        index = rows.part_to_send(row)
        if row.reply_id not in self._unresolved:
            failpoint("delivery.after_unknown_before_publish")
            await self._reports.publish(outcome_of(event, row))
            self._remember(row.reply_id)
        part = row.parts[index]
        step = unknown_outcomes.before_looking(self._first_seen.seconds(row, index), self._patience)
        if isinstance(step, unknown_outcomes.Wait):
            raise Retryable("its outcome is unknown", after=step.seconds)
        sight = await self._eyes.look(row, index, place_of(event.data))
        match unknown_outcomes.after_looking(part, sight, self._first_seen.seconds(row, index), self._patience):
            case unknown_outcomes.Wait(seconds):
                raise Retryable("its outcome is unknown", after=seconds)
            case unknown_outcomes.SendAgain():
                return None
            case unknown_outcomes.Found(message_id):
                self._metrics.resolved.labels("read").inc()
                log.info("reply.found", reply=row.reply_id, by="read", part=index)
                return await write_arrival(self._ledger, row, index, message_id, self._clock.now(), by_text=True)
            case unknown_outcomes.HandOver(detail):
                notice = notice_of(event.data, "outcome_unknown", detail, event.time)
                await self._reports.tell(event.data.merchant_id, notice)
                self._metrics.resolved.labels("handed_to_human").inc()
                return await put_or_read(self._ledger, rows.handed_over(row, detail, self._clock.now()), over=row)

    def _remember(self, reply_id: str) -> None:
        self._unresolved[reply_id] = None
        while len(self._unresolved) > MOST_REMEMBERED:
            self._unresolved.popitem(last=False)
