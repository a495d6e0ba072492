"""What happens to a record that is buried, and who is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from common.clock import SystemClock
from common.errors import Retryable
from common.kafka.burial import Burial
from common.kafka.metrics import KafkaMetrics
from common.kafka.retry import RetryPolicy

RECORD: Any = SimpleNamespace(topic="replies", partition=0, offset=7, key=b"1:2", value=b"{}", headers=())
IMPATIENT = RetryPolicy(first_delay=0.01, longest_delay=0.01, longest_age=0.05, bug_attempts=3)


class Broker:
    """Takes what is published, or fails `failures` times first."""

    def __init__(self, failures: int = 0) -> None:
        self.taken: list[str] = []
        self._failures = failures

    async def publish(self, value: bytes, topic: str, **_: Any) -> None:
        if self._failures:
            self._failures -= 1
            raise OSError
        self.taken.append(topic)


async def buried(error: Exception | None = None, *, failures: int = 0) -> tuple[bool, list[str], int]:
    """Bury a record; tell whether it was, what was appended, and how often it was told."""
    told: list[str] = []

    async def tell(_: Any, cause: str) -> None:
        told.append(cause)
        if error is not None:
            raise error

    broker: Any = Broker(failures)
    burial = Burial(
        broker,
        group="delivery",
        retry=IMPATIENT,
        metrics=KafkaMetrics(CollectorRegistry()),
        clock=SystemClock(),
        buried=tell,
    )
    done = await asyncio.wait_for(burial.bury(RECORD, "a bug", 3, until=asyncio.Event()), 10)
    return done, broker.taken, len(told)


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
