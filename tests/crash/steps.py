"""What can happen in a chaos run: customers' webhooks and faults, each as a value that names itself in the plan.

Times are seconds from the first webhook; `until` is when a step is over.
"""

from dataclasses import dataclass
from typing import Literal

from log_steps import LogFault

How = Literal["text", "long", "story", "postback", "comment", "live"]
Service = Literal["ingest", "ai", "delivery", "cleanup"]
Victim = Literal["ingest", "ai", "delivery", "cleanup", "kafka", "mongo"]
Wire = Literal["kafka", "mongo", "graph", "manychat", "openai"]
Break = Literal["cut", "drop", "delay", "half_open"]
Provider = Literal["graph", "manychat", "openai"]
EchoWay = Literal["late", "early", "lost"]

THREAD: frozenset[How] = frozenset({"text", "long", "story", "postback"})
"""What is said in the person's thread and not under a post."""


@dataclass(frozen=True, slots=True)
class Say:
    """A customer says something, under a tag that names it everywhere."""

    conversation: int
    number: int
    how: How = "text"

    @property
    def tag(self) -> str:
        """What the text carries, and the answer to it."""
        return f"#c{self.conversation}m{self.number}"

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"{self.tag} {self.how}"


@dataclass(frozen=True, slots=True)
class Edit:
    """A customer changes what they said; the tag stays."""

    say: Say

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"edit {self.say.tag}"


@dataclass(frozen=True, slots=True)
class Unsend:
    """A customer takes back what they said."""

    say: Say

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"unsend {self.say.tag}"


@dataclass(frozen=True, slots=True)
class PersonAnswers:
    """Somebody of the shop answers from the Instagram app: an echo that Jawab did not cause."""

    conversation: int
    number: int

    @property
    def tag(self) -> str:
        """What a person's text carries."""
        return f"#c{self.conversation}p{self.number}"

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"{self.tag} by a person"


@dataclass(frozen=True, slots=True)
class Erase:
    """A customer has Meta ask for the erasure of everything that is stored about them; they may write again."""

    conversation: int

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"erase customer {self.conversation}"


Item = Say | Edit | Unsend | PersonAnswers | Erase


@dataclass(frozen=True, slots=True)
class Webhook:
    """One POST. `copies` are sent at once; a loose one does not wait for the answer to its conversation's last."""

    at: float
    items: tuple[Item, ...]
    copies: int = 1
    loose: bool = False
    forged: bool = False
    again: bool = False

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        words = [f"webhook {', '.join(map(str, self.items))}"]
        words += [f"{self.copies} copies"] * (self.copies > 1)
        words += [name for name in ("loose", "forged", "again") if getattr(self, name)]
        return "; ".join(words)


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL; the process is started again at once. `newest` kills a replica if there is one.

    The victim is at work when it is killed, unless it is killed whatever it does (`starting`).
    One that comes back under its name (`named`) is the same member of its Kafka group and goes on at once; else what it
    held is somebody's again when its session has ended.
    """

    at: float
    victim: Victim
    newest: bool = False
    named: bool = False
    starting: bool = False

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        words = [f"kill {self.victim}"]
        words += ["(newest replica)"] * self.newest + ["whatever it does"] * self.starting
        return " ".join(words) + ", back under its name" * self.named


@dataclass(frozen=True, slots=True)
class KillAt:
    """SIGKILL, and started again so that it dies by itself where it comes by `place` for the `nth` time."""

    at: float
    victim: Service
    place: str
    nth: int
    named: bool = False

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"kill {self.victim}{', back under its name' * self.named}, then at {self.place}={self.nth}"


@dataclass(frozen=True, slots=True)
class Restart:
    """SIGTERM, and started again when it has ended: what a roll-out does."""

    at: float
    service: Service

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"restart {self.service}"


@dataclass(frozen=True, slots=True)
class Freeze:
    """SIGSTOP past every lease, then SIGCONT."""

    at: float
    service: Service
    seconds: float

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"freeze {self.service} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Replica:
    """One more of a service, for a while."""

    at: float
    service: Service
    seconds: float

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"a second {self.service} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class BreakWire:
    """The connections to one server break in one way."""

    at: float
    wire: Wire
    how: Break
    seconds: float
    delay: float = 0.0

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        by = f" by {self.delay:.2f} s" if self.delay else ""
        return f"{self.how} {self.wire}{by} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Misbehave:
    """A provider gives some of its calls a bad answer, or none. The fields are those of the sandbox's `FaultRule`;
    an answer of 0 is the behaviour's own.
    """

    at: float
    api: Provider
    behaviour: str
    seconds: float
    probability: float
    wait: float = 0.0
    effect: bool | None = None
    retry_after: float | None = None
    status: int = 0
    body: str = ""

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        did = {True: " (done all the same)", False: " (not done)", None: ""}[self.effect]
        answer = f" {self.status} {self.body[:40]}" if self.status else ""
        return f"{self.api}: {self.behaviour}{answer}{did} for {self.seconds:.1f} s, {self.probability:.0%} of calls"


@dataclass(frozen=True, slots=True)
class BendEchoes:
    """Echoes come late, before the send's own answer, or not at all."""

    at: float
    way: EchoWay
    seconds: float
    delay: float = 0.0

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"echoes {self.way}{f' by {self.delay:.1f} s' if self.delay else ''} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class EchoesAgain:
    """The echoes of the last few messages that were delivered come once more."""

    at: float
    count: int

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"the last {self.count} echoes again"


@dataclass(frozen=True, slots=True)
class ClockSkew:
    """A service's first process is restarted on a machine whose clock is `ahead` seconds ahead of the others', or
    behind; it keeps that clock.
    """

    at: float
    service: Service
    ahead: float

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"clock of {self.service} is {self.ahead:+.0f} s"


@dataclass(frozen=True, slots=True)
class MerchantTrouble:
    """Another merchant is in one of `tenant_troubles.TROUBLES` for a while."""

    at: float
    trouble: str
    seconds: float

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.seconds

    def __str__(self) -> str:
        """Name it in the plan."""
        return f"another merchant is in trouble: {self.trouble} for {self.seconds:.1f} s"


Fault = (
    Kill
    | KillAt
    | Restart
    | Freeze
    | Replica
    | BreakWire
    | Misbehave
    | BendEchoes
    | EchoesAgain
    | ClockSkew
    | MerchantTrouble
    | LogFault
)
Step = Webhook | Fault


def conversation_of(item: Item) -> int:
    """Return the number of the conversation that an item belongs to."""
    return item.say.conversation if isinstance(item, Edit | Unsend) else item.conversation
