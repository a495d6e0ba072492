"""One pass over one reply: the place and the leave it holds, what it found out, and which row it wrote itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from common.events.replies import Reply, ReplyGenerated
from delivery.lookout import Lookout
from delivery.pace.leave import Leave
from delivery.pace.pacing import Turn
from delivery.pace.rate_limits import meters_of, page_of
from delivery.plan import Chosen, Impossible, Plan
from delivery.platforms.outside import Outside, kind_of
from delivery.rules.policy import Withhold


@dataclass
class Work:
    """One pass over one record: what it holds, what it found out, and which row it wrote itself."""

    event: ReplyGenerated
    turn: Turn
    lookout: Lookout
    outside: Outside
    permit: Leave | None = None
    plan: Plan | Withhold | Impossible | None = None
    subscriber: int | None = None
    mine: int | None = None
    finished_here: bool = False
    disturbed: int = 0
    unwritten: Callable[[], Awaitable[object]] | None = None

    @property
    def reply(self) -> Reply:
        """The reply it is about."""
        return self.event.data

    async def take(self, chosen: Chosen) -> None:
        """Wait for the pace and a place on the chosen route, then ask leave for one call.

        Raises Paced, OwnershipLost, BreakerOpen, Paused.
        """
        self.subscriber, first = chosen.subscriber, self.reply.origin != "api"
        self._give_back_permit()
        self.outside.refuse_if_paused(chosen.route, self.reply.account_id, kind_of(self.reply), first=first)
        key = self.plan.key if isinstance(self.plan, Plan) else None
        await self.turn.take(
            chosen.route,
            self.reply.account_id,
            meters_of(
                self.reply.action,
                chosen.route,
                account=self.reply.account_id,
                page=page_of(key or ""),
                subscriber=chosen.subscriber,
            ),
            first=first,
            who=self.reply.reply_id,
        )
        self.permit = self.outside.ask(chosen.route, self.reply.account_id, kind_of(self.reply), first=first)

    def leave(self) -> None:
        """Give back the place, and the leave for a call that was not made."""
        self.turn.leave()
        self._give_back_permit()

    def _give_back_permit(self) -> None:
        if self.permit is not None:
            self.permit.withdrawn()
            self.permit = None
