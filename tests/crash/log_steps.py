"""What can happen to Kafka's logs and commits in a chaos run, beyond the broker's death: each a value of the plan."""

from dataclasses import dataclass
from typing import Literal

Log = Literal["interactions", "generated", "requested", "outcomes", "control"]
Shape = Literal["empty", "tombstone", "no_key", "other_key", "no_json", "unknown_type", "header_bytes", "large_header"]
Forgery = Literal["ahead", "copied", "rewound"]
Group = Literal["ai", "delivery"]


@dataclass(frozen=True, slots=True)
class ForeignRecords:
    """Somebody else's producer appends records that no service of ours would write."""

    at: float
    log: Log
    shape: Shape
    count: int

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"{self.count} foreign records ({self.shape}) in {self.log}"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction on every partition of a topic: its end markers are offsets that no consumer ever reads."""

    at: float
    log: Log
    committed: bool

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"a transaction in {self.log}, {'committed' if self.committed else 'aborted'}"


@dataclass(frozen=True, slots=True)
class ForgeCommits:
    """All processes of a group are stopped and its commits are replaced: by notes that say that what lies ahead is done
    (`ahead`), by another partition's (`copied`, as MirrorMaker 2 does), or by earlier offsets (`rewound`).
    """

    at: float
    group: Group
    forgery: Forgery

    @property
    def until(self) -> float:
        """When it is over, at the latest."""
        return self.at + FORGED_WITHIN

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"commits of {self.group} are forged: {self.forgery}"


@dataclass(frozen=True, slots=True)
class Truncate:
    """The beginning of every partition of a topic is deleted, up to what every group has committed."""

    at: float
    log: Log

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"{self.log} is truncated up to its commits"


FORGED_WITHIN = 14.0
"""Seconds: a member that is known by name leaves its group when its session ends."""

LogFault = ForeignRecords | Transaction | ForgeCommits | Truncate
