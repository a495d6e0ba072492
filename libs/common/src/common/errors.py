"""What a failure means for the one who has to act on it.

    ProcessingError
    ├── Retryable       nothing happened; the same record may be tried again, after `after` seconds if known
    │   └── Throttled   the other side is well and asks for a pause (429): no reason to think that it is down
    ├── Permanent       it will never work; the record goes to its dead-letter topic, with `reason`
    └── UnknownOutcome  a send may or may not have happened; it must not be repeated blindly, `evidence` says why

Every adapter of an outside API maps that API's errors to these three in one pure function.
"""


class ProcessingError(Exception):
    """A failure whose meaning is known."""


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
