"""Which partitions are not read for a while, because enough of their records are in hand already.

Pure. A partition may hold as many records as there is room left in the replica: the dynamic threshold that switches
divide their buffers by (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches",
IEEE/ACM Transactions on Networking 6(2), 1998). One that fills up alone (an outage, a post that everybody comments on)
may take half of the room, n of them take n parts of n + 1, and a partition that holds nothing is always read: above
all the observations that a waiting send depends on.
"""

from collections.abc import Mapping
from typing import TypeVar

P = TypeVar("P")


def to_pause(outstanding: Mapping[P, int], paused: frozenset[P], *, bound: int) -> tuple[set[P], set[P]]:
    """Return the partitions to pause and those to resume: full ones, and paused ones that are half empty again.

    `bound` is how many records may be in hand in all. The distance between the two answers keeps aiokafka from throwing
    away what it has fetched ahead at every record.
    """
    room = max(1, bound - sum(outstanding.values()))
    full = {partition for partition, held in outstanding.items() if held >= room} - paused
    roomy = {partition for partition in paused if outstanding.get(partition, 0) <= room // 2}
    return full, roomy
