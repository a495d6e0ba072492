"""How many may work at once. Like a semaphore, but taking a free slot costs no coroutine, and free ones go round.

A merchant's broadcast puts a thousand records in front of everybody else's next answer. Were slots given in the order
of asking, that answer would wait until each of the thousand had its first step. And were one account allowed all of
them, it would wait until one of its calls came back: an account may use `WORKING_SHARE` times what is left.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass

from common.kafka.account_budget import WORKING_SHARE, AccountBudget


def account_of_queue(queue: Hashable) -> Hashable:
    """Return the account of a queue: the last part of a key with several, such as a topic and an account."""
    return queue[-1] if isinstance(queue, tuple) else queue


@dataclass(frozen=True, slots=True)
class _Waiter:
    amount: int
    turn: asyncio.Future[None]


class Slots:
    """A bound on what is worked on at once, or on what that takes: an `amount` may be bytes.

    Lines that wait are served in turn, each in the order of asking.
    """

    def __init__(self, slots: int) -> None:
        self._budget: AccountBudget[Hashable] = AccountBudget(slots, share=WORKING_SHARE)
        self._waiting: OrderedDict[Hashable, deque[_Waiter]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many slots are in use."""
        return self._budget.taken

    def take(self, line: Hashable = None, amount: int = 1) -> bool:
        """Take a slot if one is free for the line's account."""
        account = account_of_queue(line)
        if line in self._waiting or not self._budget.admits(account, amount):
            return False
        self._budget.take(account, amount)
        return True

    async def acquire(self, line: Hashable = None, amount: int = 1) -> None:
        """Wait for a slot in a line."""
        if self.take(line, amount):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(line, deque()).append(_Waiter(amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(line, amount)
            raise

    def release(self, line: Hashable = None, amount: int = 1) -> None:
        """Give back a slot that was taken in this line, and serve the lines that wait."""
        self._budget.release(account_of_queue(line), amount)
        while self._serve_one():
            pass

    def _serve_one(self) -> bool:
        """Give a slot to the first of the line whose turn it is and whose account may use one more."""
        for line, waiting in self._waiting.items():
            account = account_of_queue(line)
            while waiting and waiting[0].turn.done():
                waiting.popleft()  # cancelled meanwhile
            if waiting and not self._budget.admits(account, waiting[0].amount):
                continue
            del self._waiting[line]
            if waiting:
                first = waiting.popleft()
                if waiting:
                    self._waiting[line] = waiting
                self._budget.take(account, first.amount)
                first.turn.set_result(None)
            return True
        return False
