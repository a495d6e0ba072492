"""Messages that the platform announces without their words: looked up by their id, and published as what they are.

Many accounts get no `message` webhook for a new direct message, only `message_edit` with `num_edit` 0 and no text
(reported since 2025). Delivery has the merchants' tokens, the rate limits and the breakers of the Graph API, so it asks
for the message (`GET /{mid}`) and publishes the answer where ingest would have: under the id that the message itself
has. Whichever copies come, before or after, are one message to every reader of the topic.

Where the platform does not give the message, what is published says why; ai then calls an agent. Such a message has an
id of its own, so that the real one, should it still come, is answered.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeGuard, TypeVar

import structlog

from common.breaker import BreakerOpen
from common.clock import Monotonic, monotonic
from common.erasures import refuse_if_erased
from common.errors import Paced, Retryable
from common.events import AnyEvent, Event
from common.events.ids import interaction_id
from common.events.interactions import (
    Echo,
    EchoReceived,
    Message,
    MessageEdited,
    MessageReceived,
)
from common.kafka.hold import hold, refuse_if_lost
from common.merchants import Merchant
from common.sealing import NotOpenable, Sealer
from common.tracing import continued
from delivery.metrics import DeliveryMetrics
from delivery.platforms.reading import ReadMessage
from delivery.platforms.sending import Refused

log = structlog.get_logger("message_lookup")

SOURCE = "/delivery"

MAX_TRIES: Final = 6
MIN_SECONDS: Final = 60.0
"""A message counts as unreadable after so many failed tries in this process, and so long after the first of them: the
first tries are fractions of a second apart, and a platform that restarts is away for longer. Where nothing was asked,
for our own pace or an open breaker, no try has failed.
"""

MAX_REMEMBERED: Final = 10_000

COPY_SECONDS: Final = 1.0
"""How long the message itself is waited for: where it comes at all, it comes with its announcement."""

T = TypeVar("T")
Publish = Callable[[Sequence[Event]], Awaitable[None]]


class MessageReader(Protocol):
    """Reads one message. Raises Retryable, Refused."""

    async def message(self, token: str, account: str, mid: str) -> ReadMessage:
        """Return what the platform shows of a message."""
        ...


@dataclass(frozen=True)
class _Failures:
    tries: int
    since: Monotonic


class MessageLookup:
    """Looks up announced messages."""

    def __init__(
        self,
        *,
        reader: MessageReader,
        sealer: Sealer,
        publish: Publish,
        metrics: DeliveryMetrics,
        ticks: Callable[[], Monotonic] = monotonic,
    ) -> None:
        self._reader = reader
        self._sealer = sealer
        self._publish = publish
        self._metrics = metrics
        self._ticks = ticks
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def note_seen(self, event: AnyEvent) -> None:
        """Remember a message that came by itself: its announcement asks for nothing."""
        if isinstance(event, MessageReceived | EchoReceived):
            _remember(self._seen, message_id(event), None)

    async def look_up(self, event: MessageEdited, merchant: Merchant) -> None:
        """Publish the message that `event` announces. Raises Retryable, KafkaError: the call is to be repeated then."""
        id_ = message_id(event)
        if id_ in self._seen or await hold().later_within(_brings(id_), COPY_SECONDS):
            self._metrics.lookups.labels("seen").inc()
            return
        try:
            found = await self._reader.message(self._token(merchant), event.data.account_id, event.data.mid)
        except (Paced, BreakerOpen):
            raise
        except Retryable as error:
            if not self._failed_for_good(id_):
                raise
            await self.give_up(event, error.reason)
        except Refused as refusal:
            await self.give_up(event, refusal.reason)
        else:
            await self._publish_message(event, found)
            self._metrics.lookups.labels("found").inc()
        self._failures.pop(id_, None)

    def _failed_for_good(self, id_: str) -> bool:
        """Count a failed try, and tell whether it was the last one."""
        now = self._ticks()
        before = self._failures.get(id_) or _Failures(0, now)
        failures = _Failures(before.tries + 1, before.since)
        _remember(self._failures, id_, failures)
        return failures.tries >= MAX_TRIES and now - failures.since >= MIN_SECONDS

    async def give_up(self, event: MessageEdited, cause: str) -> None:
        """Publish that there is a message which cannot be read. Raises KafkaError: the call is to be repeated then."""
        log.error("message.not_readable", conversation=event.data.conversation_id, cause=cause)
        if not event.data.from_account:  # whose a message of the account's is nobody can tell without its words
            await self._publish_message(event, None)
        self._metrics.lookups.labels("unreadable").inc()

    def _token(self, merchant: Merchant) -> str:
        try:
            token = merchant.opened("access_token", self._sealer)
        except NotOpenable:
            raise Refused("keys_unreadable") from None
        if token is None:
            raise Refused("no_access_token")
        return token

    async def _publish_message(self, event: MessageEdited, found: ReadMessage | None) -> None:
        await refuse_if_erased()  # asking the platform takes long, and what is published is a new record
        refuse_if_lost()
        await self._publish([_message_of(event, found)])


def announces(event: AnyEvent) -> TypeGuard[MessageEdited]:
    """Tell whether an event says that there is a message, or another text of one, and not which words it has."""
    return (
        isinstance(event, MessageEdited)
        and not (event.data.text or "").strip()
        and event.data.contact_id not in {None, event.data.account_id}
        and not event.data.standby
        and not event.data.is_self
    )


def message_id(event: MessageEdited | MessageReceived | EchoReceived) -> str:
    """Return the id of the event that brings the message."""
    return interaction_id(event.data.account_id, "msg", event.data.mid)


def _message_of(event: MessageEdited, found: ReadMessage | None) -> MessageReceived | EchoReceived:
    edit = event.data
    about: dict[str, Any] = {
        "source": SOURCE,
        "subject": event.subject,
        "partitionkey": event.partitionkey,
        "time": event.time,
        "traceparent": continued(event.traceparent),
        "causationid": event.id,
    }
    content: dict[str, Any] = {
        "account_id": edit.account_id,
        "contact_id": edit.contact_id,
        "envelope": edit.envelope,
        "received_at_ms": edit.received_at_ms,
        "mid": edit.mid,
        "text": found.text if found is not None else None,
        "attachments": found.attachments if found is not None else (),
        "is_unsupported": found is not None and not found.text and not found.attachments,
    }
    if edit.from_account:
        return EchoReceived(id=message_id(event), **about, data=Echo(**content))
    if found is not None:
        return MessageReceived(id=message_id(event), **about, data=Message(**content, known_from="lookup"))
    unread = interaction_id(edit.account_id, "unread", edit.mid)
    return MessageReceived(id=unread, **about, data=Message(**content, known_from="lookup", unreadable=True))


def _brings(id_: str) -> Callable[[AnyEvent], bool]:
    """Return what tells whether an event is the message itself."""

    def is_it(event: AnyEvent) -> bool:
        return isinstance(event, MessageReceived | EchoReceived) and event.id == id_

    return is_it


def _remember(kept: OrderedDict[str, T], key: str, value: T) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_REMEMBERED:
        kept.popitem(last=False)
