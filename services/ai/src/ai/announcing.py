"""How a decision comes into force: it is stored, then said, and counted once.

Storing comes first and yields what is stored under the decision's id, whoever made it; that is what is published, also
again. While the database is away, what was decided is kept here: a retry must not pay the model again. A decision whose
storing was never acknowledged is recognised as one's own when it is found, so its cost is counted all the same.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol

from ai.completion import Usage
from ai.decisions import Decision
from common.erasures import refuse_if_erased
from common.events.replies import OperatorNotification, ReplyGenerated
from common.failpoints import failpoint
from common.kafka.hold import refuse_if_lost

MOST_UNSTORED = 1000

Publish = Callable[[Sequence[ReplyGenerated]], Awaitable[None]]
"""Appends replies to their topic; returns when that is acknowledged."""


class Decisions(Protocol):
    """Keeps decisions."""

    async def covering(self, event_id: str) -> Decision | None:
        """Return the decision that answers an interaction, or None."""
        ...

    async def store(self, decision: Decision) -> tuple[Decision, bool]:
        """Store a decision; return what is stored under its id, and whether that was just now."""
        ...


class Spending(Protocol):
    """Counts what answers cost."""

    def spent(self, merchant_id: str, at: datetime, usage: Usage) -> None:
        """Count one answer."""
        ...


class DecisionObserver(Protocol):
    """Is told what was decided."""

    def decided(self, origin: str, match: str | None, usage: Usage, *, person_needed: bool) -> None:
        """Note a decision that was stored for the first time."""
        ...

    def discarded(self, usage: Usage) -> None:
        """Note an answer that was thrown away, because the customer had written on."""
        ...


class Announcer:
    """Stores decisions and publishes their replies."""

    def __init__(
        self, *, decisions: Decisions, spending: Spending, observer: DecisionObserver, publish: Publish
    ) -> None:
        self._decisions = decisions
        self._spending = spending
        self._observer = observer
        self._publish = publish
        self._unstored: OrderedDict[str, Decision] = OrderedDict()

    async def covering(self, event_id: str) -> Decision | None:
        """Return the stored decision that answers an interaction, or None."""
        return await self._decisions.covering(event_id)

    def unstored(self, event_id: str) -> Decision | None:
        """Return what was decided here about an interaction and is not known to be stored."""
        return self._unstored.get(event_id)

    async def store(self, decision: Decision) -> Decision:
        """Store a decision and return what is stored under its id.

        Raises ConversationErased, OwnershipLost, PyMongoError.
        """
        await refuse_if_erased()
        trigger = decision.covers[-1]
        self._unstored[trigger] = decision
        while len(self._unstored) > MOST_UNSTORED:
            self._unstored.popitem(last=False)
        refuse_if_lost()
        stored, new = await self._decisions.store(decision)
        self._unstored.pop(trigger, None)
        if new:
            self._count(stored)
        return stored

    def discard(self, decision: Decision) -> None:
        """Count what an answer cost that is thrown away before it was stored."""
        self._spending.spent(decision.merchant_id, decision.at, decision.usage)
        self._observer.discarded(decision.usage)

    def recognise(self, stored: Decision) -> None:
        """Count a decision that was found stored if it was made here and its storing never acknowledged."""
        made = self._unstored.pop(stored.covers[-1], None)
        if made is not None and made.replies == stored.replies:
            self._count(stored)

    async def say(self, decision: Decision) -> None:
        """Publish a decision's replies, if it has any. Raises ConversationErased, OwnershipLost, KafkaError,
        TimeoutError.
        """
        if decision.replies:
            await refuse_if_erased()
            refuse_if_lost()
            await self._publish(decision.replies)
        failpoint("ai.after_publish_before_done")

    def _count(self, decision: Decision) -> None:
        if decision.origin != "rule":
            self._spending.spent(decision.merchant_id, decision.at, decision.usage)
        person_needed = any(isinstance(reply.data.action, OperatorNotification) for reply in decision.replies)
        self._observer.decided(decision.origin, decision.match, decision.usage, person_needed=person_needed)
