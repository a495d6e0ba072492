"""Who a contact is in ManyChat: found, remembered, linked, and looked up again before it is too old to be believed.

ManyChat numbers people by itself. The link to Instagram's number is a custom field of the merchant's, which holds the
person's Instagram-scoped id; somebody has to write it there once. Either the merchant's flow does, or we do: where
ManyChat itself told us of a message (its External Request), the subscriber is known and only the field is missing.

    not known                        find by the field; not found is believed for some minutes
    known, confirmed lately          used as it is, without a call
    known, not confirmed lately      find by the field: found is the truth; not found: the field is written
    ManyChat says no such subscriber forgotten (by whoever heard it), and not known from then on

No call of this sends anything to anybody, so all of them may be repeated.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from common.bounds import int64_of
from common.clock import Clock
from common.errors import Retryable
from common.events.interactions import InteractionEvent, MessageReceived
from delivery.contacts import Contact, Contacts
from delivery.platforms.manychat_errors import NO_SUBSCRIBER
from delivery.platforms.sending import Refused

log = structlog.get_logger("subscribers")

CONFIRMED_FOR = timedelta(days=7)
"""How long a link is believed: people are merged and deleted in ManyChat without anybody being told."""

MISSES_KEPT = timedelta(minutes=5)
MOST_REMEMBERED = 10_000


class SubscriberCalls(Protocol):
    """The calls about subscribers. Each raises Retryable, Refused."""

    async def find_subscriber(self, account: str, key: str, field_id: int, contact: str) -> int | None:
        """Return the person's subscriber id, or None."""
        ...

    async def link_subscriber(self, account: str, key: str, field_id: int, contact: str, subscriber: int) -> None:
        """Write the person's Instagram-scoped id into the subscriber's custom field."""
        ...


def named_by(event: InteractionEvent) -> int | None:
    """Return the subscriber that ManyChat named as the writer of a message, or None where it is no storable number."""
    number = event.data.subscriber_id if isinstance(event, MessageReceived) else None
    return int64_of(number)


@dataclass(frozen=True)
class Page:
    """A merchant's page in ManyChat: its key, and the custom field that links; without a field nothing is looked up."""

    account_id: str
    key: str
    field_id: int | None


class Subscribers:
    """Finds subscribers, with as few calls as can be."""

    def __init__(self, *, contacts: Contacts, calls: SubscriberCalls, clock: Clock) -> None:
        self._contacts = contacts
        self._calls = calls
        self._clock = clock
        self._misses: OrderedDict[str, datetime] = OrderedDict()

    async def of(self, page: Page, conversation_id: str, contact_id: str, known: Contact | None) -> int | None:
        """Return who the contact is in ManyChat, or None. Raises Retryable, Refused."""
        number = known.subscriber_id if known is not None else None
        confirmed_at = known.subscriber_at if known is not None else None
        if number is None:
            return await self._find(page, conversation_id, contact_id)
        fresh = confirmed_at is not None and self._clock.now() - confirmed_at < CONFIRMED_FOR
        # A contact whom only ManyChat numbered has no id of Instagram's that could be linked.
        if page.field_id is None or fresh or contact_id == str(number):
            return number
        try:
            return await self._confirm(page, page.field_id, conversation_id, contact_id, number)
        except Retryable:
            # An old link is better than none; the next send asks again.
            log.warning("subscriber.not_confirmed", conversation=conversation_id)
            return number

    async def _find(self, page: Page, conversation_id: str, contact_id: str) -> int | None:
        now = self._clock.now()
        missed_at = self._misses.get(conversation_id)
        if page.field_id is None or (missed_at is not None and now - missed_at < MISSES_KEPT):
            return None
        found = await self._calls.find_subscriber(page.account_id, page.key, page.field_id, contact_id)
        if found is None:
            self._misses[conversation_id] = now
            self._misses.move_to_end(conversation_id)
            while len(self._misses) > MOST_REMEMBERED:
                self._misses.popitem(last=False)
        else:
            await self._contacts.remember_subscriber(conversation_id, found, confirmed_at=now)
        return found

    async def _confirm(
        self, page: Page, field_id: int, conversation_id: str, contact_id: str, number: int
    ) -> int | None:
        """Look the link up again, and write it where ManyChat does not have it."""
        found = await self._calls.find_subscriber(page.account_id, page.key, field_id, contact_id)
        if found is None:
            try:
                await self._calls.link_subscriber(page.account_id, page.key, field_id, contact_id, number)
            except Refused as refusal:
                if refusal.reason != NO_SUBSCRIBER:
                    raise
                await self._contacts.remember_subscriber(conversation_id, None)
                return None
            log.info("subscriber.linked", conversation=conversation_id)
        await self._contacts.remember_subscriber(conversation_id, found or number, confirmed_at=self._clock.now())
        return found or number
