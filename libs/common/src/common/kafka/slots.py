"""How many may work at once. Like a semaphore, but taking a free slot costs no coroutine, and free ones go round.

A merchant's broadcast puts a thousand records in front of everybody else's next answer. Were slots given in the order
of asking, that answer would wait until each of the thousand had its first step. And were one account allowed all of
them, it would wait until one of its calls came back: an account may use `WORKING_SHARE` times what is left.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable

from common.kafka.account_budget import WORKING_SHARE, AccountBudget

Waiter = asyncio.Future[None]


def account_of_line(line: Hashable) -> Hashable:
    """Return the account of a line: the last part of a line with several, such as a topic and an account."""
    return line[-1] if isinstance(line, tuple) else line


class Slots:
    """A bound on what is worked on at once. Lines that wait are served in turn, each in the order of asking."""

    def __init__(self, slots: int) -> None:
        self._budget: AccountBudget[Hashable] = AccountBudget(slots, share=WORKING_SHARE)
        self._waiting: OrderedDict[Hashable, deque[Waiter]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many slots are in use."""
        return self._budget.taken

    def take(self, line: Hashable = None) -> bool:
        """Take a slot if one is free for the line's account."""
        account = account_of_line(line)
        if line in self._waiting or not self._budget.admits(account):
            return False
        self._budget.take(account)
        return True

    async def acquire(self, line: Hashable = None) -> None:
        """Wait for a slot in a line."""
        if self.take(line):
            return
        turn: Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(line, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(line)
            raise

    def release(self, line: Hashable = None) -> None:
        """Give back a slot that was taken in this line, and serve the lines that wait."""
        self._budget.release(account_of_line(line))
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Give a slot to the first of the line whose turn it is and whose account may use one more."""
        for line, waiting in self._waiting.items():
            while waiting and waiting[0].done():
                waiting.popleft()  # cancelled meanwhile
            if waiting and not self._budget.admits(account_of_line(line)):
                continue
            del self._waiting[line]
            if waiting:
                turn = waiting.popleft()
                if waiting:
                    self._waiting[line] = waiting
                self._budget.take(account_of_line(line))
                turn.set_result(None)
            return True
        return False
