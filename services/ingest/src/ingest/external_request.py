"""ManyChat's External Request: the one way in which ManyChat tells of a message, as a step of a merchant's flow.

It sends the contact's data as a JSON object, signs nothing and promises no retry; a secret of the account
(`ingest.account_secret`) stands in for a signature. The same request sent twice gives the same event id.
"""

from datetime import datetime, timedelta
from typing import Any

from common.bounds import MAX_ID_DIGITS, digits_of, int64_of
from common.events.ids import conversation_id, fingerprint, interaction_id
from common.events.interactions import Message, MessageReceived
from ingest.notifications.reading import mapping, text
from ingest.notifications.times import happened, milliseconds, moment

SOURCE = "/ingest/manychat"
LAST_SEEN = ("ig_last_interaction", "last_interaction", "last_seen")
NOTHING: tuple[Any, ...] = (None, "", 0, "0")
"""How a flow writes an id or a time that the contact does not have."""

REPEAT_WINDOW = timedelta(minutes=1)


class InvalidContactData(Exception):
    """A field is missing, or beyond what can be stored: which one, and what to send instead."""


def message_of(
    body: dict[str, Any], *, default_account: str, received_at: datetime, traceparent: str | None
) -> MessageReceived:
    """Return the message a contact wrote, from the contact's data: the body itself, or its `contact`.

    The contact is `ig_id`, the Instagram-scoped id; a flow that cannot send it is known by ManyChat's own `id`, which
    every message keeps as `subscriber_id`: whoever answers through ManyChat needs no look-up then.
    Raises InvalidContactData when the contact or the text is missing, or an id is none that can be stored.
    """
    contact_data = mapping(body.get("contact"))

    def told(name: str) -> Any:
        return next((value for data in (body, contact_data) if (value := data.get(name)) not in NOTHING), None)

    named = told("account_id")
    account = default_account if named is None else _platform_id("account_id", named)
    if account is None:
        raise InvalidContactData(
            "account_id is no number (an unfilled placeholder?): send the account's id, or leave it out"
        )
    subscriber = _subscriber_id("id", told("id")) or _subscriber_id("subscriber_id", told("subscriber_id"))
    contact = _platform_id("ig_id", told("ig_id")) or subscriber
    if contact is None:
        raise InvalidContactData("ig_id is missing: choose 'Add Full Contact Data' as the External Request's body")
    said = text(body.get("last_input_text")) or text(contact_data.get("last_input_text"))
    if not said or not said.strip():
        raise InvalidContactData("last_input_text is missing or empty: there is no message to answer")
    seen = next(filter(None, (moment(told(name)) for name in LAST_SEEN)), None)
    mid = "manychat-" + fingerprint([contact, said, _occasion(seen, received_at)])
    conversation = conversation_id(account, contact)
    return MessageReceived(
        id=interaction_id(account, "msg", mid),
        source=SOURCE,
        subject=conversation,
        partitionkey=conversation,
        time=happened(seen, received_at=received_at),
        traceparent=traceparent,
        data=Message(
            account_id=account,
            contact_id=contact,
            envelope="external_request",
            received_at_ms=milliseconds(received_at),
            original=body,
            mid=mid,
            text=said,
            subscriber_id=subscriber,
        ),
    )


def _platform_id(name: str, value: Any) -> str | None:
    """Return the digits of an Instagram id. Raises InvalidContactData when there are more than can be stored.

    A flow may leave a placeholder unfilled (`{{ig_id}}`, `null`): taken for an id it would be everybody's, and
    strangers would share a conversation.
    """
    digits = digits_of(value)
    if digits is not None and len(digits) > MAX_ID_DIGITS:
        raise InvalidContactData(f"{name} has more than {MAX_ID_DIGITS} digits: send the Instagram id, or leave it out")
    return digits


def _subscriber_id(name: str, value: Any) -> str | None:
    """Return ManyChat's id of the contact. Raises InvalidContactData when it is larger than can be stored.

    Delivery stores it as a number, because ManyChat's API takes numbers.
    """
    digits = digits_of(value)
    if digits is None:
        return None
    number = int64_of(digits)
    if number is None:
        raise InvalidContactData(f"{name} is larger than any ManyChat id (2^63): send the contact's own id")
    return str(number)


def _occasion(seen: datetime | None, received_at: datetime) -> int:
    """Tell one message from the next of the same words; without the contact's own time, by the minute of arrival."""
    if seen is not None:
        return milliseconds(seen)
    return milliseconds(received_at) // (REPEAT_WINDOW // timedelta(milliseconds=1))
