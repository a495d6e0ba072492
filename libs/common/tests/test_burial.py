"""What happens to a record that is buried, and who is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    TopicAuthorizationFailedError,
)
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.errors import Retryable
from common.kafka import dead_letters
from common.kafka.burial import Burial
from common.kafka.metrics import KafkaMetrics
from common.kafka.retry import RetryPolicy

RECORD: Any = SimpleNamespace(topic="replies", partition=0, offset=7, key=b"1:2", value=b"{}", headers=())
IMPATIENT = RetryPolicy(first_delay=0.01, longest_delay=0.01, longest_age=0.05, bug_attempts=3)


class Records:
    """Takes what is appended, or fails with `failures` first."""

    def __init__(self, *failures: Exception) -> None:
        self.taken: list[str] = []
        self.letters: list[dict[str, Any]] = []
        self.tried = 0
        self._failures = list(failures)

    async def append(self, topic: str, **letter: Any) -> None:
        self.tried += 1
        if self._failures:
            raise self._failures.pop(0)
        self.taken.append(topic)
        self.letters.append(letter)


async def buried(error: Exception | None = None, *, failures: int = 0) -> tuple[bool, list[str], int]:
    """Bury a record; tell whether it was, what was appended, and how often it was told."""
    told: list[str] = []

    async def tell(_: Any, cause: str) -> None:
        told.append(cause)
        if error is not None:
            raise error

    records: Any = Records(*[OSError()] * failures)
    burial = Burial(
        records,
        group="delivery",
        retry=IMPATIENT,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        buried=tell,
    )
    done = await asyncio.wait_for(burial.bury(RECORD, "a bug", 3, until=asyncio.Event()), 10)
    return done, records.taken, len(told)


async def test_a_record_is_appended_to_its_dead_letters_and_told_of():
    assert await buried() == (True, ["replies.dlq"], 1)


async def test_an_append_that_fails_is_tried_until_it_is_acknowledged():
    assert await buried(failures=5) == (True, ["replies.dlq"], 1)


async def test_telling_that_fails_for_a_reason_of_its_own_is_given_up():
    assert await buried(ValueError()) == (True, ["replies.dlq"], 3)


@pytest.mark.parametrize("error", [Retryable("merchant shop cannot be read"), OSError()])
async def test_telling_has_an_end_also_where_it_might_work_later(error):
    """It would hold the partition's commits for as long as nobody mends a merchant's document."""
    done, appended, told = await buried(error)
    assert (done, appended) == (True, ["replies.dlq"])
    assert told >= 2


async def written(*failures: Exception, record: Any = RECORD, until: asyncio.Event | None = None) -> Records:
    """Bury a record into a topic that fails so; return what came of it."""
    records: Any = Records(*failures)
    burial = Burial(
        records,
        group="delivery",
        retry=IMPATIENT,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        buried=None,
    )
    await asyncio.wait_for(burial.bury(record, "a bug", 3, until=until or asyncio.Event()), 10)
    return records


LARGE: Any = SimpleNamespace(
    topic="replies", partition=0, offset=7, key=b"k" * 5000, value=b"x" * 70, headers=(("h", b"\xff"),)
)


@pytest.mark.parametrize("refusal", [MessageSizeTooLargeError(), ValueError(), TypeError(), AssertionError()])
async def test_a_letter_that_is_refused_is_written_smaller_and_at_last_says_only_where_the_record_lies(refusal):
    [whole] = (await written(record=LARGE)).letters
    assert (whole["key"], whole["value"], whole["headers"][0]) == (LARGE.key, LARGE.value, ("h", b"\xff"))
    [smaller] = (await written(refusal, record=LARGE)).letters
    assert (smaller["key"], smaller["value"]) == (None, b"")
    assert dict(smaller["headers"])[dead_letters.DROPPED] == b"70"
    [smallest] = (await written(refusal, refusal, refusal, record=LARGE)).letters
    assert (smallest["key"], smallest["value"]) == (None, b"")
    assert sum(len(name) + len(value) for name, value in smallest["headers"]) < 1000
    assert dict(smallest["headers"])[dead_letters.OFFSET] == b"7"


async def test_a_letter_that_kafka_is_too_ill_to_take_is_not_written_smaller():
    ill = (KafkaTimeoutError(), NotEnoughReplicasError(), TopicAuthorizationFailedError(), OSError())
    [letter] = (await written(*ill)).letters
    assert letter["value"] == b"{}"


async def test_whatever_a_letter_fails_of_there_is_a_wait_before_the_next_try():
    until = asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, until.set)
    records = await written(*[MessageSizeTooLargeError()] * 10_000, until=until)
    assert records.taken == []
    assert records.tried < 40
