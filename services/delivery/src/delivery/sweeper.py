"""Ends the replies whose owner died for good: their record is gone, and no lane will ever come back to them.

A row that nobody touched for longer than a record can be retried is such a row. What was never sent is said to have
failed; what may have been sent is looked for once. Nothing is ever sent from here: the text is not kept, and an answer
that is hours late helps nobody. A person is told instead.

Several replicas may sweep at once. Each end is a compare-and-set, so one of them writes it, marked as untold; the mark
goes when the outcome is published and the person told, so a death in between only leaves that to the next sweep.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import structlog
from aiokafka.errors import KafkaError
from pymongo.errors import PyMongoError

from common.clock import Clock
from common.errors import ProcessingError
from delivery import ledger as rows
from delivery import permissions
from delivery.contacts import Contacts
from delivery.ledger import Ledger, Row
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import outcome_of_abandoned
from delivery.platforms.operator import notice_of
from delivery.reports import Reports
from delivery.resolution import Eyes
from delivery.unknown_outcomes import Found, Sight, place_of_row

log = structlog.get_logger("sweeper")

MARGIN = timedelta(minutes=5)
WAITS = rows.LONGEST_LIFE
"""How long a reply of which nothing was sent may wait: in its topic behind a broadcast, or for an account's pause."""

MOST_AT_ONCE = 100
MAX_LEFT = 1000
"""Rows that are remembered as not to be ended now; they come after all others, however old they are."""

NEVER_SENT = "never_sent"

NOBODY_CAME = "its record was lost before it was sent; see the conversation and answer"
NOT_FOUND = (
    "it is not known whether it arrived, and whoever sent it is gone; see the conversation and answer if it did not"
)

Step = Literal["leave", "tell", "give_up", "lose_sight", "look"]


@dataclass(frozen=True)
class Swept:
    """How many rows a sweep read, and how many of them it brought to their end."""

    read: int = 0
    ended: int = 0


def last_moved_at(row: Row) -> datetime:
    """Return when anybody last did something about the reply."""
    moments = [row.at, row.unknown_since, *(part.attempted_at for part in row.parts)]
    return max(moment for moment in moments if moment is not None)


def step_for(row: Row, now: datetime, abandoned_after: timedelta) -> Step:
    """Decide what a row needs: nothing while somebody may still be at it."""
    if row.erased:
        return "leave"
    if row.untold:
        return "tell"
    if row.finished or now - last_moved_at(row) < (WAITS if rows.only_waits(row) else abandoned_after):
        return "leave"
    match row.state:
        case "claimed":
            return "give_up"
        case "attempting":
            return "lose_sight"
        case _:
            return "look"


def after_looking(row: Row, index: int, sight: Sight, now: datetime) -> Row:
    """Return the row after the one look at what an owner left unknown: there it is, or a person has to see."""
    if isinstance(sight, Found):
        return rows.arrived(row, index, sight.message_id, now, by_text=True)
    return rows.handed_over(row, NOT_FOUND, now)


class Sweeper:
    """Sweeps the ledger."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        contacts: Contacts,
        eyes: Eyes,
        reports: Reports,
        clock: Clock,
        metrics: DeliveryMetrics,
        abandoned_after: timedelta,
    ) -> None:
        self._ledger = ledger
        self._contacts = contacts
        self._eyes = eyes
        self._reports = reports
        self._clock = clock
        self._metrics = metrics
        self._abandoned_after = abandoned_after
        self._left: OrderedDict[str, None] = OrderedDict()

    async def sweep_regularly(self, interval: float) -> None:
        """Sweep every `interval` seconds, the first time after one: what waits in the topics is read first."""
        while True:
            await asyncio.sleep(interval)
            try:
                swept = await self.sweep()
            except Exception as error:  # noqa: BLE001 whoever sweeps runs beside what consumes, and must not end it
                log.warning("sweep.interrupted", error=type(error).__name__)
            else:
                if swept.ended:
                    log.warning("sweep.ended", rows=swept.ended, read=swept.read)

    async def sweep(self) -> Swept:
        """Bring what was left behind to its end, a bounded number of rows; the rest is for the next sweep."""
        now = self._clock.now()
        found = await self._ledger.left_behind(
            now - self._abandoned_after, MOST_AT_ONCE + len(self._left), waiting_before=now - WAITS
        )
        found = sorted(found, key=lambda row: row.reply_id in self._left)[:MOST_AT_ONCE]
        ended = 0
        for row in found:
            try:
                ended += await self._end(row)
                self._left.pop(row.reply_id, None)
            except (ProcessingError, PyMongoError, KafkaError, OSError):
                raise
            except Exception as error:  # noqa: BLE001 one row, or one merchant's document: the others do not wait for it
                log.error("sweep.left", reply=row.reply_id, error=type(error).__name__)
                self._leave(row.reply_id)
        return Swept(len(found), ended)

    def _leave(self, reply_id: str) -> None:
        self._left[reply_id] = None
        self._left.move_to_end(reply_id)
        while len(self._left) > MAX_LEFT:
            self._left.popitem(last=False)

    async def _end(self, row: Row) -> bool:
        """Take one row to its end; False where it has to be left, or somebody else got there first."""
        while (step := step_for(row, self._clock.now(), self._abandoned_after)) != "leave":
            if step == "tell":
                return await self._tell(row)
            ahead = await self._next(row, step)
            if ahead.finished:
                ahead = rows.ended_for_its_owner(ahead)
            if not await self._ledger.put(ahead, over=row):
                return False
            row = ahead
        return False

    async def _next(self, row: Row, step: Step) -> Row:
        now = self._clock.now()
        if step == "give_up":
            return rows.given_up(row, NEVER_SENT, NOBODY_CAME, now)
        if step == "lose_sight":
            # As old as the attempt: the next step has nothing left to wait for.
            since = row.parts[rows.part_to_send(row)].attempted_at or row.at
            return rows.lost_sight(row, "whoever sent it is gone", since)
        index = rows.part_to_send(row)
        return after_looking(row, index, await self._eyes.look(row, index, place_of_row(row)), now)

    async def _tell(self, row: Row) -> bool:
        await permissions.give_back_opt_in(self._contacts, row)
        await self._reports.publish(outcome_of_abandoned(row))
        if row.state != "delivered":
            notice = notice_of(row, row.reason, row.detail, row.finished_at or row.at)
            await self._reports.tell(row.merchant_id, notice)
        if not await self._ledger.put(rows.told(row), over=row):
            return False
        self._reports.count(row)
        how = {"delivered": "found", "failed": NEVER_SENT}.get(row.state, "handed_to_human")
        self._metrics.swept.labels(how).inc()
        return True
