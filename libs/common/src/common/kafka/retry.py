"""What to do with a record whose handling failed: wait and try again, or give it to its dead-letter topic.

Pure: the caller waits and publishes. Three ways to end: it works, it is `Permanent`, or its patience is over. A failure
whose meaning is known to pass (`Retryable`, a lost connection) has patience measured in time, because an outage is not
the record's fault; an unexpected exception has patience measured in attempts, because it is probably a bug.
"""

import random
from dataclasses import dataclass

from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError
from bson.errors import BSONError
from pydantic import ValidationError
from pymongo.errors import OperationFailure, PyMongoError, WriteError

from common.errors import Paced, Permanent, Retryable
from common.kafka.hold import OwnershipLost

REFUSED_VALUES = frozenset({2, 15, 10334, 17280, 17420})
"""MongoDB's codes for a value it can never store: BadValue, Overflow, BSONObjectTooLarge, key or document too large."""


@dataclass(frozen=True)
class RetryPolicy:
    """How patient a lane is. Times in seconds."""

    first_delay: float = 0.2
    longest_delay: float = 30.0
    longest_age: float = 3600.0
    bug_attempts: int = 5


@dataclass(frozen=True)
class TryAgain:
    """Try the same record again after `delay` seconds."""

    delay: float


@dataclass(frozen=True)
class GiveUp:
    """Send the record to its dead-letter topic; `cause` is safe to store and to log."""

    cause: str


class Tries:
    """How often one record failed, and for how long. Waiting for our own pace is no failure and makes nothing too old:
    the first thing that really goes wrong after an hour of it has the whole of the patience before it.
    """

    def __init__(self, now: float) -> None:
        self.failures = 0
        self.age = 0.0
        self._since = now
        self._paced = False

    def failed(self, error: BaseException, now: float) -> None:
        """Note that a try, and what was waited before it, came to an error at `now`, a time that never falls."""
        self._paced = isinstance(error, Paced)
        if not self._paced:
            self.failures += 1
            self.age += now - self._since
        self._since = now

    def begins(self, now: float) -> None:
        """Note that the next try begins."""
        if self._paced:
            self._since = now


def concerns_value(error: BaseException) -> bool:
    """Return whether MongoDB's driver or server, or Kafka, refused the value itself: no repetition makes it storable.

    The driver raises OverflowError for an integer beyond 8 bytes, UnicodeError for a lone surrogate, and BSONError for
    anything else that BSON cannot express, a document above 16 MiB included.
    """
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return True
    if isinstance(error, WriteError):
        return error.code in REFUSED_VALUES
    return isinstance(error, BSONError | OverflowError | UnicodeError)


def passes(error: BaseException) -> bool:
    """Tell whether an error is known to pass: the outside world was away, the record is not to blame."""
    if isinstance(error, OperationFailure):  # the server answered, and refused: trying for an hour would not help
        return error.timeout or error.has_error_label("RetryableWriteError")
    return isinstance(error, Retryable | PyMongoError | KafkaError | ConnectionError | TimeoutError)


def verdict(error: Exception, *, attempts: int, age: float, policy: RetryPolicy) -> TryAgain | GiveUp:
    """Decide about a record that failed `attempts` times in `age` seconds, as `Tries` counts both."""
    if isinstance(error, Permanent | ValidationError) or concerns_value(error):
        return GiveUp(cause(error))
    if passes(error):
        if age >= policy.longest_age and not isinstance(error, OwnershipLost | Paced):
            return GiveUp(f"over-age after {attempts} attempts: {cause(error)}")
        asked = error.after if isinstance(error, Retryable) else None
        return TryAgain(asked if asked is not None else backoff(attempts, policy))
    if attempts >= policy.bug_attempts:
        return GiveUp(f"failed {attempts} times: {cause(error)}")
    return TryAgain(backoff(attempts, policy))


def backoff(attempts: int, policy: RetryPolicy) -> float:
    """Return an exponentially growing delay in seconds, up to a quarter shorter at random so retries spread out."""
    full = min(policy.longest_delay, policy.first_delay * 2.0 ** min(attempts - 1, 30))
    return full * random.uniform(0.75, 1.0)  # noqa: S311 jitter is no secret


def cause(error: BaseException) -> str:
    """Describe an error without what a customer wrote: a validation error quotes its input, so only places remain."""
    if isinstance(error, ValidationError):
        places = [
            f"{'.'.join(str(part) for part in e['loc']) or 'value'}: {e['type']}"
            for e in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        return "not a valid event: " + ", ".join(places[:5])
    if isinstance(error, Retryable | Permanent):
        return error.reason
    if isinstance(error, OperationFailure):
        return f"{type(error).__name__} {error.code}"
    return type(error).__name__
