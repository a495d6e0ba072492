"""Looks whether a call may still begin: after `attempting` is written, and again where the transport begins to write.

Between the two lie the wait for a connection, a name to be looked up, TLS: milliseconds on a connection that is kept,
seconds on a slow network. An agent may have answered meanwhile, the partition may be with another replica, and the time
may be over within which a call must begin, because others already count the seconds after which nothing is under way.
"""

from common.erasures import refuse_if_erased
from common.errors import Retryable
from common.kafka.hold import refuse_if_lost
from delivery.first_seen import FirstSeen
from delivery.ledger import Row, part_to_send
from delivery.work import Work

LOOK_AGAIN_AFTER = 0.05
"""Seconds after which what was observed is asked for again; a connection that is kept takes less."""


class Disturbed(Retryable):
    """Something was observed in the conversation since the reply was judged."""


class LastLook:
    """The looks of one attempt; `settle` is how many seconds after `attempting` its call may begin."""

    def __init__(self, work: Work, first_seen: FirstSeen, row: Row, *, settle: float) -> None:
        self._work = work
        self._first_seen = first_seen
        self._row = row
        self._index = part_to_send(row)
        self._settle = settle
        self._looked_at = 0.0

    @property
    def _age(self) -> float:
        return self._first_seen.seconds(self._row, self._index)

    async def look(self) -> None:
        """Return where the call may begin.

        Raises Disturbed, ConversationErased, OwnershipLost, and Retryable where it is too late.
        """
        self._looked_at = self._age
        await refuse_if_erased()
        if not await self._work.lookout.undisturbed():
            raise Disturbed("something was observed in its conversation")
        self._refuse_if_late()

    async def look_again(self) -> None:
        """Look once more where time has passed since the last look. Raises like `look`; it is no failure of the API."""
        try:
            if self._age - self._looked_at > LOOK_AGAIN_AFTER:
                await self.look()
            else:
                self._refuse_if_late()
        except BaseException:
            if self._work.permit is not None:
                self._work.permit.withdrawn()
            raise

    def _refuse_if_late(self) -> None:
        if self._age > self._settle:
            raise Retryable("the call was not begun in time")
        refuse_if_lost()
