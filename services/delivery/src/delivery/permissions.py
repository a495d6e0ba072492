"""What changes what may be sent to a person is noted in their contact: what they do, and what was moderated here."""

from common.events.interactions import InteractionEvent, OptInReceived
from common.events.replies import DeleteComment, HideComment, Reply
from delivery.contacts import Contacts
from delivery.ledger import IN_THE_THREAD, Row, nothing_left
from delivery.rules import opt_ins, window


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


async def note_end(contacts: Contacts, reply: Reply, row: Row) -> None:
    """Note what a reply's end changes. Doing it again changes nothing. Raises PyMongoError."""
    await give_back_opt_in(contacts, row)
    await _note_moderation(contacts, reply, row)


async def give_back_opt_in(contacts: Contacts, row: Row) -> None:
    """Free the token that a reply kept for itself where certainly nothing was sent on it. Raises PyMongoError."""
    unsent = row.state in {"failed", "suppressed"} and not row.erased and nothing_left(row)
    if unsent and row.kind in IN_THE_THREAD and row.reason not in opt_ins.DOUBTED:
        await contacts.give_back_opt_in(row.conversation_id, row.reply_id)


async def _note_moderation(contacts: Contacts, reply: Reply, row: Row) -> None:
    """Note a comment that was hidden, deleted or shown again: what is hidden cannot be answered.

    A reply that is read again notes it again, and those behind it are read again, too: the last one counts.
    """
    if row.state != "delivered" or reply.contact_id is None:
        return
    match reply.action:
        case HideComment(comment_id=comment, hidden=hidden):
            await contacts.comment_hidden(reply.conversation_id, comment, hidden=hidden)
        case DeleteComment(comment_id=comment):
            await contacts.comment_hidden(reply.conversation_id, comment, hidden=True)
