"""Keeps from delivery's handlers what was received before its customer was erased: it is counted, and nothing else.

The ledger and the contact forgot that customer, so without this a reply that was under way would be sent, and its echo
would look like an agent's answer.
"""

from aiokafka import ConsumerRecord
from pydantic import ValidationError

from common.erasures import ConversationErased, Erasures
from common.events import ANY_EVENT, AnyEvent
from common.events.interactions import EchoReceived
from common.events.replies import ReplyGenerated
from common.kafka.burial import Buried
from common.kafka.subscription import Handler
from delivery.echoes import keys_of_echo
from delivery.sender import InstagramMessageSender


def unless_erased(handle: Handler, erasures: Erasures, sender: InstagramMessageSender) -> Handler:
    """Return `handle` for all but what was received before its customer was erased; such a reply is suppressed."""

    async def handle_unless_erased(event: AnyEvent) -> None:
        try:
            await erasures.begin(event)
            if not await _was_sent_before_erasure(erasures, event):
                await handle(event)
        except ConversationErased:
            if isinstance(event, ReplyGenerated):
                await sender.suppress_erased(event)
            await erasures.note_ignored(event)

    return handle_unless_erased


def dead_unless_erased(on_dead_letter: Buried, erasures: Erasures) -> Buried:
    """Return `on_dead_letter` for all but what was received before its customer was erased: nobody waits for that."""

    async def on_dead_letter_unless_erased(record: ConsumerRecord, cause: str) -> None:
        try:
            event = ANY_EVENT.validate_json(record.value or b"")
        except ValidationError:
            await on_dead_letter(record, cause)
            return
        try:
            await erasures.begin(event)
            if not await _was_sent_before_erasure(erasures, event):
                await on_dead_letter(record, cause)
        except ConversationErased:
            await erasures.note_ignored(event)

    return on_dead_letter_unless_erased


async def _was_sent_before_erasure(erasures: Erasures, event: AnyEvent) -> bool:
    """Return whether an event is the echo of a message that Jawab sent before its customer was erased."""
    if not isinstance(event, EchoReceived) or event.data.contact_id is None:
        return False
    echo = event.data
    return await erasures.sent(echo.account_id, event.data.contact_id, echo.mid, keys_of_echo(echo))
