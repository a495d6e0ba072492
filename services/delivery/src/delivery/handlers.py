"""From a record to the one who deals with it."""

from collections.abc import Hashable

from aiokafka import ConsumerRecord

from common.errors import Retryable
from common.events import AnyEvent
from common.events.control import ConversationReleased, ConversationResolved, ConversationTakenOver
from common.events.interactions import INTERACTIONS, InteractionEvent
from common.events.replies import REPLIES, ReplyGenerated
from common.kafka.keyed import Handler
from common.merchants import MerchantNotReadable
from delivery.observations import Observer
from delivery.sender import InstagramMessageSender

BROKEN_MERCHANT_SECONDS = 15.0


def lane_of(record: ConsumerRecord) -> Hashable:
    """Give each conversation two lanes: effects may have to wait for observations (a send for its echo)."""
    return ("effects" if record.topic == REPLIES else "observations", record.key)


def delivery_handler(sender: InstagramMessageSender, observer: Observer) -> Handler:
    """Return the handler of everything delivery reads."""

    async def handle(event: AnyEvent) -> None:
        try:
            if isinstance(event, ReplyGenerated):
                await on_reply_generated(event)
            elif isinstance(event, ConversationTakenOver | ConversationReleased | ConversationResolved):
                await observer.control(event)
            elif event.topic == INTERACTIONS:
                await on_interaction(event)  # type: ignore[arg-type]
        except MerchantNotReadable as error:
            raise Retryable(str(error), after=BROKEN_MERCHANT_SECONDS) from error

    async def on_reply_generated(event: ReplyGenerated) -> None:
        await sender.deliver(event)

    async def on_interaction(event: InteractionEvent) -> None:
        await observer.observe(event)

    return handle
