"""What is known after a run: what was sent and acknowledged, what the world outside took, what Kafka holds.

Plain values, so that the oracle can be tried on histories nobody lived through. Times are seconds since 1970 by the one
clock of the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Channel = Literal["thread", "comment"]
Position = tuple[str, int, int]
"""A topic, a partition, an offset."""
Cursor = tuple[str, int]
"""A topic and a partition."""


@dataclass(frozen=True)
class Said:
    """One thing a customer said, under its tag. `event_id` is the id that Jawab derives for it."""

    tag: str
    contact: str
    event_id: str
    channel: Channel = "thread"
    comment: str = ""
    """The comment's id, where it is one."""
    sent_at: float = 0.0
    """When the first attempt to deliver its webhook began."""
    acknowledged_at: float | None = None
    """When the first 200 came; None: never."""
    unsent_at: float | None = None
    """When its being taken back was acknowledged; None: never."""
    forged: bool = False
    statuses: tuple[int, ...] = ()
    """What its webhooks were answered, where that matters (forged ones)."""


@dataclass(frozen=True)
class PersonWrote:
    """Somebody of the shop wrote to a customer from the app."""

    tag: str
    contact: str
    sent_at: float
    acknowledged_at: float | None = None


@dataclass(frozen=True)
class Erased:
    """A customer's data was to be erased: when that was asked for first, and when it was acknowledged (None: never)."""

    contact: str
    sent_at: float
    acknowledged_at: float | None = None


@dataclass(frozen=True)
class Taken:
    """One call of a platform or of the operator's inbox that had its effect. `number` is the order of effects."""

    number: int
    time: float
    kind: str
    """``message``, ``private_reply``, ``comment_reply`` or ``notification``."""
    contact: str
    text: str
    comment: str = ""
    reply_id: str = ""
    """Which reply a notification was about; only notifications tell."""


@dataclass(frozen=True)
class Generated:
    """One reply that was decided, as `replies.generated.v1` has it."""

    reply_id: str
    contact: str
    origin: str
    kind: str
    text: str
    answers: frozenset[str]
    """The ids of the interactions that its decision covers."""
    position: Position = ("", 0, 0)
    decision: str = ""
    """What it was decided in; replies of one decision are one answer."""
    comment: str = ""
    """The comment that it is to stand below, where it is no direct message."""


@dataclass(frozen=True)
class Became:
    """One outcome event of a reply. `state` is delivered, failed, suppressed or unknown."""

    reply_id: str
    state: str
    reason: str
    time: float


@dataclass(frozen=True)
class DeadLetter:
    """One record that ended in a dead-letter topic; `id` is its event's, empty where it could not be read."""

    topic: str
    id: str
    cause: str
    contact: str = ""
    origin: Position = ("", 0, 0)
    """Where the record lay that died."""


@dataclass(frozen=True)
class History:
    """Everything the oracle may look at."""

    said: tuple[Said, ...] = ()
    people: tuple[PersonWrote, ...] = ()
    taken: tuple[Taken, ...] = ()
    generated: tuple[Generated, ...] = ()
    became: tuple[Became, ...] = ()
    dead: tuple[DeadLetter, ...] = ()
    appended: Mapping[str, Position] = field(default_factory=dict)
    """Where each interaction was first appended, by its event's id."""
    committed: Mapping[str, Mapping[Cursor, int]] = field(default_factory=dict)
    """The next offset each group reads, by group."""
    ends: Mapping[Cursor, int] = field(default_factory=dict)
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which topics each group has to read to their ends."""
    found_by: Mapping[str, str] = field(default_factory=dict)
    """How the service's log says that an unknown outcome was settled: echo, read or sent_again, by reply."""
    model_calls: int = 0
    assignments: int = 0
    """How often a consumer was given partitions: once a start, and once a rebalance."""
    announced: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """When the ledger says that the last attempt at each part of a reply was announced, by reply."""
    taken_in: Mapping[str, float] = field(default_factory=dict)
    """When the ai service first stored each message, by its event's id."""
    erased: tuple[Erased, ...] = ()
    stored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The collections that hold a text with a tag in the end, by tag."""
    foreign: tuple[Position, ...] = ()
    """Where records lie that no service of ours wrote."""
    skew: float = 0.0
    """Seconds by which a service's own clock may have differed from the machine's: what they stored is that uncertain.
    """
    grace: float = 0.0
    """Seconds from a person's acknowledged echo within which a call that was begun before may still arrive."""
    pause: float = 12 * 3600.0
    """Seconds for which a person who wrote has the conversation."""

    def about(self, contacts: frozenset[str]) -> "History":
        """Return what concerns some customers; commits and ends are everybody's."""
        replies = frozenset(one.reply_id for one in self.generated if one.contact in contacts)
        return replace(
            self,
            said=tuple(one for one in self.said if one.contact in contacts),
            people=tuple(one for one in self.people if one.contact in contacts),
            erased=tuple(one for one in self.erased if one.contact in contacts),
            taken=tuple(one for one in self.taken if one.contact in contacts),
            generated=tuple(one for one in self.generated if one.contact in contacts),
            became=tuple(one for one in self.became if one.reply_id in replies),
            dead=tuple(one for one in self.dead if one.contact in contacts),
        )
