"""What a person's own acts permit: each interaction that changes what may be sent to them is noted in their contact."""

from common.events.interactions import InteractionEvent, OptInReceived
from delivery import opt_ins, window
from delivery.contacts import Contacts


def concern(event: InteractionEvent) -> bool:
    """Tell whether an interaction changes what may be sent to its contact."""
    if event.data.contact_id is None:
        return False
    return window.opens(event) or isinstance(event, OptInReceived) or _is_the_account(event)


async def note(contacts: Contacts, event: InteractionEvent) -> None:
    """Note what an interaction permits. Doing it again changes nothing. Raises PyMongoError."""
    conversation = event.data.conversation_id
    if _is_the_account(event):
        await contacts.is_the_account_itself(conversation)
    elif window.opens(event):
        await contacts.customer_acted(conversation, event.time)
    elif isinstance(event, OptInReceived) and event.data.stopped:
        await contacts.opted_out(conversation, event.time)
    elif isinstance(event, OptInReceived) and (token := opt_ins.given(event)) is not None:
        await contacts.opted_in(conversation, token)


def _is_the_account(event: InteractionEvent) -> bool:
    """Tell whether the contact is the account under the id it has as a person."""
    return event.data.is_self and event.data.contact_id != event.data.account_id
