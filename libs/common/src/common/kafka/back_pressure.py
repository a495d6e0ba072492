"""Which partitions are not read for a while, because enough of their records are in hand already.

Pure. Each assigned partition has the same share of the records a replica may hold, so one that fills up (an outage, a
conversation that hangs while its customer goes on writing) takes no room of another; above all the observations that
a waiting send depends on are always read.
"""

from collections.abc import Mapping
from typing import TypeVar

P = TypeVar("P")


def share_of(bound: int, partitions: int) -> int:
    """Return how many records of each of `partitions` may be in hand where `bound` may be in all."""
    return max(1, bound // max(1, partitions))


def to_pause(outstanding: Mapping[P, int], paused: frozenset[P], *, share: int) -> tuple[set[P], set[P]]:
    """Return the partitions to pause and those to resume: full ones, and paused ones that are half empty again.

    The distance between the two keeps aiokafka from throwing away what it has fetched ahead at every record.
    """
    full = {partition for partition, held in outstanding.items() if held >= share} - paused
    roomy = {partition for partition in paused if outstanding.get(partition, 0) <= share // 2}
    return full, roomy
