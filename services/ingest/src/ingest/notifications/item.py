"""One item of a webhook on its way to one event: what it does not say itself, and how events are made."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.events.ids import conversation_id, fingerprint, interaction_id
from common.events.interactions import Envelope, Interaction, InteractionEvent, Unknown, UnknownReceived
from ingest.notifications.times import happened, milliseconds

NO_ACCOUNT = "0"
"""Stands for the account where the webhook names none; the dashboard's test sends the same. Consumers drop it."""

LONGEST_FIELD = 200


@dataclass(frozen=True, slots=True)
class Received:
    """What all events of one webhook share. `account` is whose they are, where that is known whatever they say."""

    at: datetime
    source: str
    traceparent: str | None
    account: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it came, and what the entry around it says."""

    original: Any
    account: str | None
    envelope: Envelope
    received: Received
    entry_time: datetime | None = None
    user_id: str | None = None
    standby: bool = False

    def event(
        self,
        event: Callable[..., InteractionEvent],
        data: Callable[..., Interaction],
        *identity: str | int | None,
        account: str | None = None,
        contact: str | None = None,
        at: datetime | None = None,
        **fields: Any,
    ) -> InteractionEvent:
        """Return the event of class `event` that holds `data`, its id derived from `identity`.

        `at` is when the item says it happened; without it the entry's time counts, then the time of arrival.
        """
        owner = account or self.account or NO_ACCOUNT
        entry = self.account if self.account not in {None, owner} else None
        conversation = conversation_id(owner, contact)
        return event(
            id=interaction_id(owner, *_told_apart(identity)),
            source=self.received.source,
            subject=conversation,
            partitionkey=conversation,
            time=happened(at, self.entry_time, received_at=self.received.at),
            traceparent=self.received.traceparent,
            data=data(
                account_id=owner,
                entry_id=entry,
                contact_id=contact,
                envelope=self.envelope,
                standby=self.standby,
                received_at_ms=milliseconds(self.received.at),
                original=self.original,
                **fields,
            ),
        )

    def unknown(self, field: str | None = None, **about: Any) -> InteractionEvent:
        """Return the event that keeps an item nobody here knows."""
        name = field[:LONGEST_FIELD] if field else None
        return self.event(UnknownReceived, Unknown, "un", fingerprint(self.original), field=name, **about)


def _told_apart(identity: Sequence[str | int | None]) -> list[str | int | None]:
    """Return the parts with no colon after the second, so that no two identities are written alike.

    The second, mostly a `mid`, may keep its own: Messenger's have some, and consumers build such ids themselves.
    """
    return [part.replace(":", "%3A") if n > 1 and isinstance(part, str) else part for n, part in enumerate(identity)]
