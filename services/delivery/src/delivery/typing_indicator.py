"""Shows that an answer is being typed: once, if it still makes sense. It is not worth a row, a wait or a second try."""

import asyncio

from common.errors import ProcessingError
from common.events.replies import ReplyGenerated, Typing
from common.kafka.hold import hold, refuse_if_lost
from delivery.metrics import DeliveryMetrics
from delivery.outcomes import outcome_without_row
from delivery.plan import Plan, Planner
from delivery.platforms.outside import Outside
from delivery.reports import Reports

COURTESY_SECONDS = 1.0
"""What showing that an answer is being typed may take: the answer waits behind it."""


class TypingIndicator:
    """Shows and ends the typing indicator, and tells what became of it."""

    def __init__(self, *, planner: Planner, outside: Outside, reports: Reports, metrics: DeliveryMetrics) -> None:
        self._planner = planner
        self._outside = outside
        self._reports = reports
        self._metrics = metrics

    async def show(self, event: ReplyGenerated, typing: Typing) -> None:
        """Do what the event asks for, unless the answer that it announces waits behind it in the lane already."""
        reason = "too_late" if hold().later(lambda _: True) else await self._try(event, typing)
        await self._reports.publish(outcome_without_row(event, route="graph", reason=reason, at=event.time))
        self._metrics.replies.labels("suppressed" if reason else "delivered", "graph", "typing").inc()

    async def _try(self, event: ReplyGenerated, typing: Typing) -> str:
        """Return why it could not be shown, empty where it was."""
        plan = await self._planner.plan(event)
        if not isinstance(plan, Plan):
            return plan.reason
        if plan.token is None or event.data.contact_id is None:
            return "no_route"
        refuse_if_lost()
        try:
            async with asyncio.timeout(COURTESY_SECONDS):
                await self._outside.show_typing(plan.token, event.data.account_id, event.data.contact_id, on=typing.on)
        except (ProcessingError, TimeoutError):
            return "not_shown"
        return ""
