"""Who wrote a message that the account sent: Jawab, or a person in the Instagram app?

Every message from the account comes back as an echo, and the platform does not say who sent it. What Jawab sends is
in the ledger before it is sent, so an echo that nobody here sent is a person's. The echo may come before the send's
own answer, late, or more than once, and ManyChat never tells the id it carries; taking our own reply for a person's
would silence Jawab in that conversation for hours, so text and time are enough to own it.

What another app sent counts as a person's answer, too, unless the merchant says that the app is a tool: ManyChat's own
flows answer nobody on behalf of anybody. Where the platform names no app, everything nobody here sent is a person's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from common.clock import Clock
from common.errors import Retryable
from common.events.interactions import Echo, EchoReceived
from common.failpoints import failpoint
from common.merchants import Merchant
from delivery.contacts import Contacts
from delivery.fingerprints import is_weak, message_keys
from delivery.first_seen import FirstSeen
from delivery.ledger import FLOW, IN_THE_THREAD, MOST_ROWS, Ledger, Part, Row
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import Publish, human_replied
from delivery.patience import Patience
from delivery.row_writes import write_arrival
from delivery.unnamed import find_unnamed, may_be_dated

log = structlog.get_logger("echoes")

A_PERSON = "person"

INBOXES = frozenset({"263902037430900", "1217981644879628"})
"""The apps in which people type: the Page's inbox and Instagram's (Messenger Platform, "Handover Protocol API")."""


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
    """It has the text of a reply that went out at that time under another id, or a flow did, of which nobody here
    knows the messages, or too many replies went out to tell: ours, or as good as ours."""


@dataclass(frozen=True)
class TooEarly:
    """A call is under way whose answer may name this message."""


@dataclass(frozen=True)
class Tool:
    """Nobody here sent it, and nobody typed it: one of the merchant's other apps did."""


@dataclass(frozen=True)
class Foreign:
    """Nobody here sent it."""


Recognition = Recorded | Names | Repeats | TooEarly | Tool | Foreign


def is_a_tool(app_id: str | None, merchant: Merchant) -> bool:
    """Tell whether what this app sends is nobody's answer, by the merchant's wish."""
    if app_id is None:
        return False
    return app_id in merchant.tool_apps or (merchant.other_apps == "ignore" and app_id not in INBOXES)


def keys_of_echo(echo: Echo) -> tuple[str, ...]:
    """Return the fingerprints under which the ledger may know a message: of its words, and of its attachments."""
    return message_keys(echo.text, (attachment.type for attachment in echo.attachments))


def recognise(
    *,
    mid: str,
    keys: Sequence[str],
    at: datetime,
    own_app: bool,
    rows: Sequence[Row],
    is_under_way: Callable[[Row, int], bool],
) -> Recognition:
    """Decide whose an echo is. `rows` are those that may have sent it; `is_under_way` tells whether the call that
    sends a part may not have been answered yet.

    `keys` are its fingerprints. Among as many rows as are ever read at once its own may be missing.
    """
    all_seen = len(rows) < MOST_ROWS
    if any(mid in row.message_ids for row in rows):
        return Recorded()
    rows = [row for row in rows if row.kind in IN_THE_THREAD]
    single = [row for row in rows if row.kind != FLOW]
    for key in keys:
        found = find_unnamed(single, key, at)
        if found is not None:
            # What has no words may be a person's as well: the answer of the call under way tells.
            wait = is_weak(key) and is_under_way(*found)
            return TooEarly() if wait else Names(*found)
    attempted = [(row, index) for row in rows for index, part in enumerate(row.parts) if may_be_dated(part, at)]
    if own_app or any(row.kind == FLOW or _says(row.parts[index], keys) for row, index in attempted):
        return Repeats()
    if any(is_under_way(row, index) for row, index in attempted):
        return TooEarly()
    return Foreign() if all_seen else Repeats()


def _says(part: Part, keys: Sequence[str]) -> bool:
    return part.key in keys and not is_weak(part.key)


class EchoLedger(Ledger, Protocol):
    """The ledger, and what only echoes ask of it."""

    async def private_replies_by_username(
        self, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        """Return whichever row has `message_id`, and the account's private replies from about `at` with one of the
        fingerprints `keys` that may have arrived, to authors of whom only the username is known. Raises PyMongoError.
        """
        ...


class EchoReader:
    """Resolves sends by their echoes, and notices when a person answers."""

    def __init__(
        self,
        *,
        ledger: EchoLedger,
        contacts: Contacts,
        publish: Publish,
        clock: Clock,
        metrics: DeliveryMetrics,
        patience: Patience,
        first_seen: FirstSeen,
        app_id: str | None = None,
    ) -> None:
        self._ledger = ledger
        self._contacts = contacts
        self._publish = publish
        self._clock = clock
        self._metrics = metrics
        self._patience = patience
        self._first_seen = first_seen
        self._app_id = app_id

    async def read(self, event: EchoReceived, merchant: Merchant, *, last: bool = False) -> Recognition:
        """Take in one echo and return whose it is.

        Raises Retryable while a call is under way that may turn out to have sent it; not when it is the `last` look.
        """
        echo = event.data
        keys = keys_of_echo(echo)
        rows = await self._ledger.possible_senders(echo.conversation_id, echo.account_id, event.time, echo.mid, keys)
        recognised = partial(
            recognise,
            mid=echo.mid,
            keys=keys,
            at=event.time,
            own_app=self._app_id is not None and echo.app_id == self._app_id,
            is_under_way=(lambda *_: False) if last else self._is_under_way,
        )
        verdict = recognised(rows=rows)
        if isinstance(verdict, Foreign):
            # Such a reply's conversation bears its comment's username; its thread, the customer's id.
            by_username = await self._ledger.private_replies_by_username(echo.account_id, event.time, echo.mid, keys)
            verdict = recognised(rows=by_username)
        if isinstance(verdict, Foreign) and is_a_tool(echo.app_id, merchant):
            verdict = Tool()
        match verdict:
            case TooEarly():
                raise Retryable("echo: a call that may have sent it is under way", after=self._patience.poll)
            case Names(row, part):
                await self._name(row, part, echo.mid)
            case Foreign():
                await self._person_wrote(event, merchant)
            case Recorded() | Repeats() | Tool():
                pass
        self._metrics.echoes.labels(type(verdict).__name__.lower()).inc()
        return verdict

    def _is_under_way(self, row: Row, index: int) -> bool:
        waits = row.parts[index].state == "attempting"
        return waits and self._first_seen.seconds(row, index) < self._patience.in_flight

    async def _name(self, row: Row, part: int, mid: str) -> None:
        was_unknown = row.state == "unknown"
        await write_arrival(self._ledger, row, part, mid, self._clock.now(), by_text=True)
        failpoint("delivery.after_echo_before_done")
        if was_unknown:
            self._metrics.resolved.labels("echo").inc()
            log.info("reply.found", reply=row.reply_id, by="echo", part=part)

    async def _person_wrote(self, event: EchoReceived, merchant: Merchant) -> None:
        now = self._clock.now()
        until = event.time + merchant.quiet_time(self._patience.human_pause)
        if until > now:
            await self._contacts.set_owner(
                event.data.conversation_id, "human", by=A_PERSON, since=event.time, until=until
            )
        await self._publish([human_replied(event, merchant.id)])
        log.info("human.replied", conversation=event.data.conversation_id)
