"""Dead letters are shown without what is in them, unless that is asked for."""

import json
from datetime import UTC, datetime

import pytest

from cli.dead_letters import attributes, dead_letter, indented, parse_place
from cli.failures import Failure
from cli.records import Range, Record
from common.kafka import dead_letters

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def record(value: bytes = b"{}", **headers: str) -> Record:
    return Record("replies.generated.v1.dlq", 1, 7, int(AT.timestamp() * 1000), b"1:5", value, headers)


def test_the_headers_tell_where_and_why_it_died() -> None:
    told = {
        dead_letters.CAUSE: "not a valid event: data.text: missing",
        dead_letters.ATTEMPTS: "5",
        dead_letters.GROUP: "delivery",
        dead_letters.TOPIC: "replies.generated.v1",
        dead_letters.PARTITION: "3",
        dead_letters.OFFSET: "42",
        dead_letters.FAILED_AT: "2026-11-21T11:00:00+00:00",
    }
    letter = dead_letter(record(**told))
    assert letter.place == "replies.generated.v1.dlq:1:7"
    assert letter.origin == "replies.generated.v1:3:42"
    assert (letter.attempts, letter.group, letter.key) == ("5", "delivery", "1:5")
    assert letter.died_at == datetime(2026, 11, 21, 11, tzinfo=UTC)


def test_a_letter_without_headers_is_still_listed() -> None:
    letter = dead_letter(record(**{dead_letters.FAILED_AT: "when?"}))
    assert (letter.cause, letter.origin, letter.died_at) == ("-", "-:-:-", AT)


def test_only_ids_and_moments_of_an_event_are_shown() -> None:
    event = {"id": "1:msg:m", "type": "com.jawab.message.received.v1", "data": {"text": "private"}, "secret": "x"}
    assert attributes(json.dumps(event).encode()) == {"id": "1:msg:m", "type": "com.jawab.message.received.v1"}


@pytest.mark.parametrize("value", [b"", b"\xff", b"[1]", b'"text"', b"[" * 100_000])
def test_what_is_no_event_has_no_attributes(value: bytes) -> None:
    assert attributes(value) == {}


def test_a_shown_value_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in indented(b"\x1b[2J not json")
    shown = indented(json.dumps({"data": {"text": "a\x1b[2Jb\u202e"}}).encode())
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert shown.startswith('{\n  "data": {')


def test_places_are_read_with_or_without_the_ending() -> None:
    assert parse_place("replies.generated.v1.dlq:1:7") == parse_place("replies.generated.v1:1:7")
    for wrong in ("", "replies.generated.v1.dlq", "replies.generated.v1.dlq:1", "replies.generated.v1.dlq:a:1"):
        with pytest.raises(Failure, match="not a place"):
            parse_place(wrong)
    with pytest.raises(Failure, match="no dead-letter topic"):
        parse_place("elsewhere:0:1")


def test_a_range_holds_its_beginning_and_not_its_end() -> None:
    at = int(AT.timestamp() * 1000)
    assert Range(at, at + 1).holds(record())
    assert not Range(at + 1).holds(record())
    assert not Range(0, at).holds(record())
    assert Range(0, key="1:5").holds(record())
    assert not Range(0, key="1:55").holds(record())
