"""What happens to Kafka's logs and commits in a chaos run, and when, drawn from a seed. Pure; see `plan`."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from board import Board
from log_steps import (
    FORGED_WITHIN,
    ForeignRecords,
    ForgeCommits,
    Forgery,
    Group,
    Log,
    LogFault,
    Shape,
    Transaction,
    Truncate,
)

FOREIGN_EVERY, TRANSACTION_EVERY, FORGE_EVERY, TRUNCATE_EVERY = 9.0, 18.0, 30.0, 20.0
TRIES, LATER = 12, 4.0
"""How often another moment is tried, and how many seconds later."""
WARM = 5.0
"""Seconds that the members of a group have to themselves after their commits were forged."""


def _foreign(draw: random.Random, board: Board, at: float) -> Iterator[LogFault]:
    log: Log = draw.choice(get_args(Log))
    shape: Shape = draw.choice(get_args(Shape))
    if board.free("store", at, at + 1.0):
        yield ForeignRecords(at, log, shape, draw.randint(1, 4))


def _transaction(draw: random.Random, board: Board, at: float) -> Iterator[LogFault]:
    log: Log = draw.choice(get_args(Log))
    if board.free("store", at, at + 3.0):
        yield Transaction(at, log, draw.random() < 0.5)


def _forge(draw: random.Random, board: Board, at: float) -> Iterator[LogFault]:
    """Forge the commits of a group once it has no replica, and nothing is frozen or restarted, for long enough."""
    group: Group = draw.choice(get_args(Group))
    forgery: Forgery = draw.choice(get_args(Forgery))
    for begin in (at + LATER * tries for tries in range(TRIES)):
        end = begin + FORGED_WITHIN
        free = board.free("freeze", begin, end) and board.free("restart", begin, end)
        if free and board.take(f"replica {group}", begin, end + WARM):
            board.take("restart", begin, end)
            board.take("freeze", begin, end)
            yield ForgeCommits(begin, group, forgery)
            return


def _truncate(draw: random.Random, board: Board, at: float) -> Iterator[LogFault]:
    log: Log = draw.choice(get_args(Log))
    if board.free("store", at, at + 5.0):
        yield Truncate(at, log)


LOG_FAULTS: Sequence[tuple[float, Callable[[random.Random, Board, float], Iterable[LogFault]]]] = (
    (FOREIGN_EVERY, _foreign),
    (TRANSACTION_EVERY, _transaction),
    (FORGE_EVERY, _forge),
    (TRUNCATE_EVERY, _truncate),
)
"""Each with the seconds between two of them."""
