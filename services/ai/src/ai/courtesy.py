"""What shows a customer that somebody is there: their messages are marked as seen, and typing while the model thinks.

Neither is worth a customer's time or a decision of its own: they are published beside what is being done, nothing waits
for that and nothing fails with it. They never come after the answer: Kafka keeps the order in which records of one
conversation were handed over, and what was not handed over when the answer is ready is given up.
"""

import asyncio

import structlog
from aiokafka.errors import KafkaError

from ai.actions import events
from ai.announcing import Publish
from ai.incoming import Incoming
from common.clock import Clock
from common.events.ids import decision_id
from common.events.replies import Action, MarkSeen, Typing
from common.kafka.hold import hold
from common.merchants import Merchant

log = structlog.get_logger("ai")


class Courtesy:
    """The courtesies of one turn; none without `publish`. To be closed before the answer is published."""

    def __init__(self, publish: Publish | None, clock: Clock, merchant: Merchant, said: Incoming) -> None:
        self._publish = publish
        self._clock = clock
        self._merchant = merchant
        self._said = said
        self._showing: list[asyncio.Task[None]] = []

    def seen(self) -> None:
        """Mark the conversation as seen, if the merchant wants that."""
        if self._merchant.mark_seen:
            self._show(MarkSeen())

    def typing(self) -> None:
        """Show that an answer is being written, if the merchant wants that."""
        if self._merchant.show_typing:
            self._show(Typing(on=True))

    async def close(self) -> None:
        """Give up what is not under way yet."""
        for task in self._showing:
            task.cancel()
        await asyncio.gather(*self._showing, return_exceptions=True)

    def _show(self, action: Action) -> None:
        if self._publish is not None and self._said.in_thread and hold().owned:
            self._showing.append(asyncio.create_task(self._published(self._publish, action), name="courtesy"))

    async def _published(self, publish: Publish, action: Action) -> None:
        said = self._said
        made = events(
            [action],
            decision=decision_id(said.conversation_id, f"{action.kind}:{said.id}"),
            said=said,
            merchant=self._merchant,
            origin="rule",
            now=self._clock.now(),
        )
        try:
            await publish(made)
        except (KafkaError, OSError):
            log.info("courtesy.not_published", conversation=said.conversation_id, kind=action.kind)
