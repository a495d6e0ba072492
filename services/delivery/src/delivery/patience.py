"""How long delivery waits for what: every duration that a decision about an unclear send depends on."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Patience:
    """Durations in seconds, but for `human_pause`: how long a person's answer silences Jawab where the merchant has no
    wish of their own.

    A call may begin up to `settle` after the ledger said `attempting` and lasts at most `call_timeout`; after that
    nothing of it is under way from here. The platform gets `settle` more to show what it took.
    """

    call_timeout: float = 10.0
    settle: float = 2.0
    deadline: float = 60.0
    poll: float = 1.0
    read_again: float = 5.0
    human_pause: timedelta = timedelta(hours=12)

    @property
    def in_flight(self) -> float:
        """How long after `attempting` a request may still be under way."""
        return self.settle + self.call_timeout

    @property
    def first_look(self) -> float:
        """How long after `attempting` it makes sense to look whether the message arrived."""
        return self.in_flight + self.settle
