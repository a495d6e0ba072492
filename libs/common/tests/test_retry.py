"""How patient a lane is, and what it says when it gives up."""

import bson
import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError, RecordListTooLargeError
from bson.errors import BSONError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pymongo.errors import AutoReconnect, DocumentTooLarge, OperationFailure, WriteError

from common.errors import Paced, Permanent, Retryable
from common.events import ANY_EVENT
from common.kafka.retry import GiveUp, RetryPolicy, Tries, TryAgain, backoff, cause, verdict

POLICY = RetryPolicy(first_delay=0.2, longest_delay=30, longest_age=60, bug_attempts=5)


def not_an_event() -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ANY_EVENT.validate_json(b'{"type": "com.jawab.message.received.v1", "data": {"text": "my secret"}}')
    return caught.value


@pytest.mark.parametrize("error", [Retryable("busy"), AutoReconnect(), KafkaConnectionError(), TimeoutError()])
def test_a_failure_that_passes_is_tried_again_however_often_until_it_is_too_old(error):
    assert isinstance(verdict(error, attempts=500, age=59, policy=POLICY), TryAgain)
    assert isinstance(verdict(error, attempts=1, age=60, policy=POLICY), GiveUp)


def test_waiting_for_ones_own_pace_makes_nothing_too_old():
    assert verdict(Paced("750 an hour", after=900), attempts=9, age=86_400, policy=POLICY) == TryAgain(900)


def test_what_the_database_refuses_is_a_bug_unless_it_says_that_it_passes():
    refused = OperationFailure("unknown operator, said the server about Ahmed", code=9)
    assert verdict(refused, attempts=5, age=0, policy=POLICY) == GiveUp("failed 5 times: OperationFailure 9")
    stepped_down = OperationFailure("x", code=91, details={"errorLabels": ["RetryableWriteError"]})
    assert isinstance(verdict(stepped_down, attempts=5, age=0, policy=POLICY), TryAgain)


@pytest.mark.parametrize(
    "document",
    [{"id": 10**30}, {"id": -(2**63) - 1}, {"text": "\ud800"}, {"value": object()}, {1: "x"}, {"a\0b": 1}],
    ids=["30 digits", "below 8 bytes", "lone surrogate", "no BSON type", "key that is no text", "null byte in a key"],
)
def test_a_value_that_bson_cannot_express_is_not_tried_again(document):
    with pytest.raises((BSONError, OverflowError, UnicodeError)) as caught:
        bson.encode(document)
    decision = verdict(caught.value, attempts=1, age=0, policy=POLICY)
    assert decision == GiveUp(type(caught.value).__name__)


@pytest.mark.parametrize("error", [DocumentTooLarge("17 MiB"), WriteError("too large", code=10334)])
def test_a_document_that_mongodb_refuses_for_its_size_is_not_tried_again(error):
    assert isinstance(verdict(error, attempts=1, age=0, policy=POLICY), GiveUp)


@pytest.mark.parametrize("error", [MessageSizeTooLargeError(), RecordListTooLargeError()])
def test_a_record_that_kafka_refuses_for_its_size_is_not_tried_again(error):
    assert isinstance(verdict(error, attempts=1, age=0, policy=POLICY), GiveUp)


def test_the_other_side_says_how_long_to_wait():
    assert verdict(Retryable("429", after=7.5), attempts=1, age=0, policy=POLICY) == TryAgain(7.5)


def test_a_permanent_failure_is_not_tried_again():
    assert verdict(Permanent("no such user"), attempts=1, age=0, policy=POLICY) == GiveUp("no such user")


def test_a_value_that_is_no_event_is_not_tried_again_and_its_cause_quotes_none_of_it():
    given_up = verdict(not_an_event(), attempts=1, age=0, policy=POLICY)
    assert isinstance(given_up, GiveUp)
    assert given_up.cause.startswith("not a valid event: ")
    assert "my secret" not in given_up.cause


def test_a_bug_gets_five_attempts():
    assert isinstance(verdict(KeyError("x"), attempts=4, age=0, policy=POLICY), TryAgain)
    assert verdict(KeyError("x"), attempts=5, age=0, policy=POLICY) == GiveUp("failed 5 times: KeyError")


@given(st.integers(1, 10_000))
def test_delays_grow_and_never_pass_the_bound(attempts):
    assert 0 < backoff(attempts, POLICY) <= POLICY.longest_delay


def test_an_exceptions_message_is_not_its_cause():
    assert cause(RuntimeError("Ahmed wrote: hello")) == "RuntimeError"


def test_what_goes_wrong_after_an_hour_of_waiting_for_its_pace_has_all_its_patience_yet():
    """A private reply behind 750 others meets its first outage when it is an hour old."""
    tries, now = Tries(0.0), 0.0
    for _ in range(100):
        tries.begins(now)
        tries.failed(Paced("750 an hour", after=60), now + 2)
        now += 62
    assert (tries.failures, tries.age) == (0, 0.0)
    tries.begins(now)
    tries.failed(Retryable("away"), now + 1)
    assert (tries.failures, tries.age) == (1, 1.0)
    tries.begins(now + 40)
    tries.failed(Retryable("away"), now + 41)
    assert (tries.failures, tries.age) == (2, 41.0)
