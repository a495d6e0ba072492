"""`jawab dlq`: what could not be handled, where it came from and why. It only reads."""

import json as json_format
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cyclopts import App
from rich.text import Text

from cli import records, screen
from cli.environment import settings
from cli.failures import Failure
from cli.moments import in_words, of_ms, parse_moment, to_ms, written
from cli.records import Range, Record
from common.kafka import dead_letters
from common.kafka.broker import client_connection
from common.kafka.topics import SOURCES
from common.settings import KafkaSettings

app = App(name="dlq", help="List and show dead letters.")

DEAD_TOPICS = tuple(source.dead_letters for source in SOURCES)
OPEN_ATTRIBUTES = ("id", "type", "source", "subject", "time", "traceparent", "causationid")
"""What of an event may be shown unasked: ids and moments, nothing anybody wrote."""


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter, without what is in it."""

    place: str
    died_at: datetime
    cause: str
    attempts: str
    group: str
    origin: str
    key: str
    bytes: int


def dead_letter(record: Record) -> DeadLetter:
    """Read a dead letter's headers; one that was put there by other hands has dashes."""
    told = record.headers
    origin = ":".join(told.get(name, "-") for name in (dead_letters.TOPIC, dead_letters.PARTITION, dead_letters.OFFSET))
    try:
        died_at = datetime.fromisoformat(told.get(dead_letters.FAILED_AT, ""))
    except ValueError:
        died_at = of_ms(record.timestamp_ms)
    return DeadLetter(
        place=f"{record.topic}:{record.partition}:{record.offset}",
        died_at=died_at if died_at.tzinfo else died_at.replace(tzinfo=UTC),
        cause=told.get(dead_letters.CAUSE, "-"),
        attempts=told.get(dead_letters.ATTEMPTS, "-"),
        group=told.get(dead_letters.GROUP, "-"),
        origin=origin,
        key=(record.key or b"-").decode(errors="replace"),
        bytes=len(record.value),
    )


@app.command(name="list")
async def list_dead_letters(
    *, topic: str | None = None, since: str = "30d ago", limit: int = 50, json: bool = False
) -> None:
    """List dead letters, the newest first.

    Parameters
    ----------
    topic
        Only those of one topic, with or without .dlq at its end.
    since
        Only those from then on, such as 2h ago or 2026-03-01T14:00.
    limit
        How many are listed at most.
    json
        Print JSON.
    """
    now = datetime.now(UTC)
    try:
        begin = parse_moment(since, now)
    except ValueError as error:
        raise Failure(f"--since: {error}") from None
    topics = DEAD_TOPICS if topic is None else (_dead_topic(topic),)
    with screen.working("Reading dead letters"):
        found = await records.read(client_connection(settings(KafkaSettings)), topics, Range(to_ms(begin)))
    letters = [dead_letter(record) for record in reversed(found)]
    if json:
        screen.as_json([vars(letter) for letter in letters[:limit]])
        return
    if not letters:
        screen.say(f"{screen.OK} no dead letters since {written(begin)}")
        return
    shown = screen.table("place", "age", "tries", "by", "origin", "cause")
    for letter in letters[:limit]:
        age = in_words(now - letter.died_at)
        screen.row(
            shown, [letter.place, age, letter.attempts, letter.group, letter.origin, Text(screen.plain(letter.cause))]
        )
    screen.console().print(shown)
    counts = Counter(letter.place.rsplit(":", 2)[0] for letter in letters)
    screen.say(", ".join(f"{name}: {count}" for name, count in counts.most_common()))
    if len(letters) > limit:
        screen.say(f"{len(letters) - limit} more; --limit shows them")
    screen.following(f"jawab dlq show {letters[0].place}")


@app.command
async def show(place: str, *, show_text: bool = False, json: bool = False) -> None:
    """Show one dead letter: where it comes from, why it is there, and which event it is.

    Parameters
    ----------
    place
        TOPIC:PARTITION:OFFSET, as `dlq list` prints it.
    show_text
        Show everything in it, what customers wrote too.
    json
        Print JSON.
    """
    topic, partition, offset = parse_place(place)
    with screen.working(f"Reading {place}"):
        record = await records.at(client_connection(settings(KafkaSettings)), topic, partition, offset)
    if record is None:
        raise Failure(f"there is no record at {place}", "`jawab dlq list` prints the places there are")
    letter = dead_letter(record)
    event = attributes(record.value)
    if json:
        data = {**vars(letter), "event": event}
        screen.as_json(data | ({"value": record.value.decode(errors="replace")} if show_text else {}))
        return
    shown = screen.table("", "")
    shown.show_header = False
    age = in_words(timedelta(seconds=max(0.0, (datetime.now(UTC) - letter.died_at).total_seconds())))
    told: dict[str, str] = {
        "cause": letter.cause,
        "tries": letter.attempts,
        "given up by": letter.group,
        "at": f"{written(letter.died_at)} ({age} ago)",
        "origin": letter.origin,
        "key": letter.key,
        "size": f"{letter.bytes} bytes",
        **{f"event {name}": value for name, value in event.items()},
    }
    for name, value in told.items():
        screen.row(shown, [name, Text(screen.plain(value))])
    screen.console().print(shown)
    if show_text:
        screen.say(indented(record.value))
    else:
        screen.note("what is in it is hidden; --show-text shows it")


def parse_place(place: str) -> tuple[str, int, int]:
    """Read TOPIC:PARTITION:OFFSET. Raises Failure."""
    topic, _, rest = place.partition(":")
    partition, _, offset = rest.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise Failure(f"{place!r} is not a place", f"write it like {DEAD_TOPICS[0]}:0:12")
    return _dead_topic(topic), int(partition), int(offset)


def attributes(value: bytes) -> dict[str, str]:
    """Return an event's ids and moments; nothing for a value that is not an event."""
    try:
        event = json_format.loads(value)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(event, dict):
        return {}
    return {name: str(event[name])[:300] for name in OPEN_ATTRIBUTES if event.get(name) is not None}


def indented(value: bytes) -> str:
    """Return a value as readable JSON, or as the text it is, without control characters."""
    try:
        loaded: Any = json_format.loads(value)
    except (ValueError, RecursionError):
        return screen.plain(value.decode(errors="replace"))
    lines = json_format.dumps(loaded, ensure_ascii=False, indent=2).splitlines()
    return "\n".join(line[: len(line) - len(line.lstrip())] + screen.plain(line) for line in lines)


def _dead_topic(topic: str) -> str:
    wanted = topic if topic.endswith(".dlq") else f"{topic}.dlq"
    if wanted not in DEAD_TOPICS:
        raise Failure(f"there is no dead-letter topic {wanted}", f"there are {', '.join(DEAD_TOPICS)}")
    return wanted
