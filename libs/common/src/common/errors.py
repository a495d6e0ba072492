"""What a failure means for the one who has to act on it.

    ProcessingError
    ├── Retryable       nothing happened; the same record may be tried again, after `after` seconds if known
    │   ├── Throttled   the other side is well and asks for a pause (429): no reason to think that it is down
    │   ├── Paced       our own pace asks for it: nothing is wrong, however long it takes
    │   └── Paused      both: a pause that the other side asked for is waited out, and nothing was asked of it
    ├── Permanent       it will never work; the record goes to its dead-letter topic, with `reason`
    └── UnknownOutcome  a send may or may not have happened; it must not be repeated blindly, `evidence` says why

Every adapter of an outside API maps that API's errors to these three in one pure function. Where that function reads a
table, the error says which row it is (`finding`): a row may ask for more than the one record is concerned with, such as
a pause of the whole account.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Finding:
    """Which row of an outside API's error table a failure is. All come from closed sets: they label metrics."""

    api: str
    code: str
    action: str


class ProcessingError(Exception):
    """A failure whose meaning is known."""

    finding: Finding | None = None

    def found(self, finding: Finding) -> Self:
        """Return this error with the row it is."""
        self.finding = finding
        return self


class Retryable(ProcessingError):
    """Nothing happened yet: trying the same thing again is safe.

    `after` is the number of seconds the other side asked us to wait, or None when it did not say.
    """

    def __init__(self, reason: str, *, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = after


class Throttled(Retryable):
    """The other side answered that this is too much for it now. It works, so no circuit breaker counts this."""


class Paced(Retryable):
    """So many were sent that this one's turn is later. Waiting for it makes no record too old."""


class Paused(Throttled, Paced):
    """The other side has asked for a pause, which is waited out before anything is asked of it again."""


class Permanent(ProcessingError):
    """It will fail in the same way however often it is tried."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownOutcome(ProcessingError):
    """A request left and no answer came back that says what became of it."""

    def __init__(self, evidence: str) -> None:
        super().__init__(evidence)
        self.evidence = evidence
