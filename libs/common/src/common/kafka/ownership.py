"""The fence: may what was read still be acted on?

Every rebalance takes all partitions away and gives some back, so between two of them lies an *epoch*, and a record
remembers the one in which it was read. Three things can end the right to act on it:

- its epoch is over: another replica may have the partition, or we have it anew and read the record again;
- the lease ran out: Kafka has not heard from us for so long that another replica may own the partitions;
- its lane is being drained, before a revocation or a shutdown: what is at work may finish, nothing new begins.
"""

import asyncio

from common.kafka.lease import Lease


class Ownership:
    """Which epoch it is, and whether its partitions are still ours."""

    def __init__(self, lease: Lease) -> None:
        self.epoch = 0
        self.lease = lease
        self.draining = asyncio.Event()
        """Set while lanes are drained; each drain has an event of its own, so what began under one stays ended."""
        self._assigned_in = -1

    @property
    def assigned(self) -> bool:
        """Whether the coordinator gave us partitions in this epoch: after a revocation it has yet to."""
        return self._assigned_in == self.epoch

    def owns(self, epoch: int) -> bool:
        """Tell whether what was read in `epoch` is still ours."""
        return epoch == self.epoch

    def may_act(self, epoch: int) -> bool:
        """Tell whether nobody else can own what was read in `epoch` yet."""
        return epoch == self.epoch and self.lease.valid

    def may_begin(self, epoch: int) -> bool:
        """Tell whether something that was read in `epoch` may be begun."""
        return epoch == self.epoch and not self.draining.is_set()

    def begin(self) -> None:
        """Begin an epoch: the coordinator has just given us partitions."""
        self.epoch += 1
        self._assigned_in = self.epoch
        self.lease.renew()

    def begin_again(self) -> None:
        """Go on with the partitions that we have, in an epoch that has ended without a rebalance."""
        self._assigned_in = self.epoch

    def end(self) -> None:
        """End the epoch. Whatever is still at work finds that it owns nothing any more."""
        self.epoch += 1

    def end_drain(self) -> None:
        """Let things begin again."""
        self.draining = asyncio.Event()
