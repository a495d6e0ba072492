"""Who wrote a message that the account sent: Jawab, or a person in the Instagram app?

Every message from the account comes back as an echo, and the platform does not say who sent it. What Jawab sends is
in the ledger before it is sent, so an echo that nobody here sent is a person's. The echo may come before the send's
own answer, late, or more than once, and ManyChat never tells the id it carries; taking our own reply for a person's
would silence Jawab in that conversation for hours, so text and time are enough to own it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from common.clock import Clock
from common.errors import Retryable
from common.events.interactions import EchoReceived
from common.failpoints import failpoint
from delivery.contacts import Contacts
from delivery.ledger import IN_THE_THREAD, MOST_ROWS, Ledger, Row, find_unnamed, text_key, write_arrival
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import Publish, human_replied
from delivery.patience import Patience

log = structlog.get_logger("echoes")

CLOCKS_DIFFER = 60.0
"""Seconds by which the platform's clock may be behind ours."""

SHOWN_LATER = 300.0
"""Seconds after an attempt within which the platform may date what it sent; well above a call's time."""

A_PERSON = "person"


@dataclass(frozen=True)
class Recorded:
    """The ledger knows this message."""


@dataclass(frozen=True)
class Names:
    """It is this part, whose id was not known."""

    row: Row
    part: int


@dataclass(frozen=True)
class Repeats:
    """It has the text of a reply that went out at that time under another id, or too many replies went out to tell:
    ours, or as good as ours."""


@dataclass(frozen=True)
class TooEarly:
    """A call is under way whose answer may name this message."""


@dataclass(frozen=True)
class Foreign:
    """Nobody here sent it."""


Recognition = Recorded | Names | Repeats | TooEarly | Foreign


def recognise(
    *, mid: str, key: str | None, at: datetime, own_app: bool, rows: Sequence[Row], now: datetime, in_flight: float
) -> Recognition:
    """Decide whose an echo is. `rows` are those that may have sent it; `in_flight` is how long a call lasts.

    `key` is the fingerprint of its text. Among as many rows as are ever read at once its own may be missing.
    """
    all_seen = len(rows) < MOST_ROWS
    if any(mid in row.message_ids for row in rows):
        return Recorded()
    rows = [row for row in rows if row.kind in IN_THE_THREAD]
    if key is not None:
        found = find_unnamed(rows, key, at, early=CLOCKS_DIFFER, late=SHOWN_LATER)
        if found is not None:
            return Names(*found)
    attempted = [
        (part.attempted_at, part)
        for row in rows
        for part in row.parts
        if part.attempted_at is not None and -CLOCKS_DIFFER <= (at - part.attempted_at).total_seconds() <= SHOWN_LATER
    ]
    if own_app or any(part.key == key for _, part in attempted):
        return Repeats()
    for attempted_at, part in attempted:
        if part.state == "attempting" and (now - attempted_at).total_seconds() < in_flight:
            return TooEarly()
    return Foreign() if all_seen else Repeats()


class EchoReader:
    """Resolves sends by their echoes, and notices when a person answers."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        contacts: Contacts,
        publish: Publish,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
        app_id: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._contacts = contacts
        self._publish = publish
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._app_id = app_id

    async def read(self, event: EchoReceived, merchant_id: str) -> None:
        """Take in one echo. Raises Retryable while a call is under way that may turn out to have sent it."""
        echo = event.data
        key = text_key(echo.text) if echo.text else None
        rows = await self._ledger.possible_senders(echo.conversation_id, echo.account_id, event.time, echo.mid, key)
        verdict = recognise(
            mid=echo.mid,
            key=key,
            at=event.time,
            own_app=self._app_id is not None and echo.app_id == self._app_id,
            rows=rows,
            now=self._clock.now(),
            in_flight=self._patience.in_flight,
        )
        match verdict:
            case TooEarly():
                raise Retryable("echo: a call that may have sent it is under way", after=self._patience.poll)
            case Names(row, part):
                await self._name(row, part, echo.mid)
            case Foreign():
                await self._person_wrote(event, merchant_id)
            case Recorded() | Repeats():
                pass
        self._metrics.echoes.labels(type(verdict).__name__.lower()).inc()

    async def _name(self, row: Row, part: int, mid: str) -> None:
        was_unknown = row.state == "unknown"
        await write_arrival(self._ledger, row, part, mid, self._clock.now(), by_text=True)
        failpoint("delivery.after_echo_before_done")
        if was_unknown:
            self._metrics.resolved.labels("echo").inc()
            log.info("reply.found", reply=row.reply_id, by="echo", part=part)

    async def _person_wrote(self, event: EchoReceived, merchant_id: str) -> None:
        now = self._clock.now()
        until = event.time + self._patience.human_pause
        if until > now:
            await self._contacts.set_owner(
                event.data.conversation_id, "human", by=A_PERSON, since=event.time, until=until
            )
        await self._publish([human_replied(event, merchant_id)])
        log.info("human.replied", conversation=event.data.conversation_id)
