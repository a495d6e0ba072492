"""How long one merchant's customers wait for a first answer while another merchant misbehaves, and when it is too long.

Pure. The promise: one merchant's trouble never delays the first answer to another merchant's customer beyond twice the
undisturbed 99th percentile. Both percentiles come from one run on one machine, because only their ratio means anything.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_RATIO = 2.0
NOISE_SECONDS = 1.5
"""What a busy machine may add to the slowest of a few dozen answers, whoever misbehaves. Shared fate costs far more:
the wait for a stopped partition, for a lease or for a call's time-out."""
UNDISTURBED = "undisturbed"


@dataclass(frozen=True)
class FirstAnswer:
    """One customer's first message, and when a platform took the first answer to it; None: not while it was awaited."""

    contact: str
    sent_at: float
    answered_at: float | None = None

    @property
    def seconds(self) -> float:
        """How long the customer waited; infinite without an answer."""
        return math.inf if self.answered_at is None else self.answered_at - self.sent_at


@dataclass(frozen=True)
class Phase:
    """What the undisturbed merchant's customers lived through while `trouble` went on elsewhere."""

    trouble: str
    answers: tuple[FirstAnswer, ...]

    def percentile(self, share: float) -> float:
        """Return the waiting time within which `share` (0 to 1) of the answers came: nearest rank, in seconds.

        Raises ValueError for a phase without answers: nothing was measured.
        """
        if not self.answers:
            raise ValueError(f"{self.trouble}: no customer wrote, so nothing was measured")
        waited = sorted(answer.seconds for answer in self.answers)
        return waited[max(0, math.ceil(share * len(waited)) - 1)]

    @property
    def unanswered(self) -> int:
        """How many customers got no answer."""
        return sum(answer.answered_at is None for answer in self.answers)


@dataclass(frozen=True)
class Delay:
    """A merchant's trouble that delayed another merchant's customers beyond the promise."""

    trouble: str
    p99: float
    max_p99: float
    unanswered: int

    def __str__(self) -> str:
        """Say what was broken, in a line."""
        unanswered = f", {self.unanswered} customers were not answered" if self.unanswered else ""
        return f"{self.trouble}: p99 of the first answer is {self.p99:.2f} s, at most {self.max_p99:.2f} s{unanswered}"


def max_p99(undisturbed: Phase, noise: float = NOISE_SECONDS) -> float:
    """Return the longest 99th percentile that is no breach, in seconds."""
    return max(MAX_RATIO * undisturbed.percentile(0.99), undisturbed.percentile(0.99) + noise)


def delays(undisturbed: Phase, disturbed: Iterable[Phase], noise: float = NOISE_SECONDS) -> Sequence[Delay]:
    """Return each trouble that delayed the other merchant's customers too long. Raises ValueError without answers."""
    longest = max_p99(undisturbed, noise)
    if math.isinf(longest):
        return [Delay(UNDISTURBED, longest, longest, undisturbed.unanswered)]
    return [
        Delay(phase.trouble, phase.percentile(0.99), longest, phase.unanswered)
        for phase in disturbed
        if phase.percentile(0.99) > longest or phase.unanswered
    ]
