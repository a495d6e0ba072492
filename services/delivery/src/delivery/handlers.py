"""From a record to the one who deals with it."""

from collections.abc import Awaitable, Hashable

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from common.errors import Retryable
from common.events import ANY_EVENT, AnyEvent
from common.events.control import ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.interactions import INTERACTIONS, EchoReceived, InteractionEvent
from common.events.replies import ReplyGenerated, ReplyRequested
from common.kafka.burial import Buried
from common.kafka.keys import conversation_of
from common.kafka.subscription import Handler
from common.merchants import BROKEN_MERCHANT_SECONDS, MerchantNotReadable
from delivery.dead_replies import DeadReplies
from delivery.message_lookup import announces
from delivery.observations import Observer
from delivery.sender import InstagramMessageSender

EFFECTS = {event.topic: event for event in (ReplyGenerated, ReplyRequested)}
"""The events that are sent, by their topics; a conversation has one order across both."""


def lane_of(record: ConsumerRecord) -> Hashable:
    """Give each conversation two lanes: effects may have to wait for observations (a send for its echo)."""
    return ("effects" if record.topic in EFFECTS else "observations", record.key)


def observations_of(conversation_id: str) -> Hashable:
    """Return the lane of a conversation's observations, as `lane_of` gives it to their records."""
    return ("observations", conversation_id.encode())


def delivery_handler(sender: InstagramMessageSender, observer: Observer) -> Handler:
    """Return the handler of everything delivery reads."""

    async def handle(event: AnyEvent) -> None:
        if isinstance(event, ReplyGenerated):
            await _or_later(on_reply_generated(event))
        elif isinstance(event, ConversationTakenOver | ConversationReleased | ConversationResolved):
            await _or_later(observer.control(event))
        elif event.topic == INTERACTIONS:
            await _or_later(on_interaction(event))  # type: ignore[arg-type]

    async def on_reply_generated(event: ReplyGenerated) -> None:
        await sender.deliver(event)

    async def on_interaction(event: InteractionEvent) -> None:
        await observer.observe(event)

    return handle


def dead_lettered(dead: DeadReplies, observer: Observer) -> Buried:
    """Return what is called when a record went to its dead-letter topic: a reply that dies is never silent, and a
    person who wrote or took over is heeded though the record of it died.
    """

    async def buried(record: ConsumerRecord, cause: str) -> None:
        if record.topic not in EFFECTS:
            await observation_died(record, cause)
            return
        try:
            event = EFFECTS[record.topic].from_json(record.value or b"")
        except ValidationError:
            await _or_later(dead.record_died(conversation_of(record.key) or "", cause))
        else:
            await _or_later(dead.reply_died(event, cause))

    async def observation_died(record: ConsumerRecord, cause: str) -> None:
        try:
            event = ANY_EVENT.validate_json(record.value or b"")
        except ValidationError:
            return  # the subscriber has counted and logged it, and nobody waits for its answer
        if isinstance(event, EchoReceived):
            await _or_later(observer.echo_died(event, cause))
        elif announces(event):
            await _or_later(observer.announcement_died(event, cause))
        elif isinstance(event, ConversationTakenOver | ConversationReleased | ConversationResolved):
            await _or_later(observer.control(event))

    return buried


async def _or_later(step: Awaitable[None]) -> None:
    """Wait for a step; a merchant's document that is broken now may be mended by the next try."""
    try:
        await step
    except MerchantNotReadable as error:
        raise Retryable(str(error), after=BROKEN_MERCHANT_SECONDS) from error
