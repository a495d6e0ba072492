"""The page behind the code that a person gets who asks to be forgotten: small, plain, and honest about what is left.

Pure: a record in, a page out. Meta demands that a person can read it; whoever asks for JSON gets the same facts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from cleanup.records import Erasure
from common.events.privacy import PRIVACY
from common.kafka.topics import DAY_MS, SOURCES, TOPICS, Topic
from common.mongo import CONTACTS, CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES

NAMES = {
    MESSAGES: ("message", "messages"),
    DECISIONS: ("answer that was decided", "answers that were decided"),
    CONVERSATIONS: ("conversation", "conversations"),
    CONTACTS: ("contact entry", "contact entries"),
    DELIVERIES: (
        "record of a sent answer, of which only a number stays",
        "records of sent answers, of which only numbers stay",
    ),
}

STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;margin:0;color:#1b1f24;background:#fff}"
    "main{max-width:38rem;margin:12vh auto;padding:0 1.5rem}h1{font-size:1.4rem;line-height:1.3}"
    "code{background:#eef0f2;padding:.1em .35em;border-radius:.25em;overflow-wrap:anywhere}"
    ".left{color:#4a5159;font-size:.95rem}"
    "@media(prefers-color-scheme:dark){body{color:#e6e8ea;background:#15181b}code{background:#2a2f35}.left{color:#a9b1b9}}"
)


@dataclass(frozen=True)
class Status:
    """What is said about a request."""

    http: int
    title: str
    paragraphs: tuple[str, ...]


def longest_days(topics: Sequence[Topic]) -> int:
    """Return for how many days the longest-kept of these topics keeps its records."""
    return max(topic.retention_ms for topic in topics) // DAY_MS


CONVERSATION_TOPICS = [topic for topic in SOURCES if topic.keyed_by == "conversation"]
LOG_DAYS = longest_days(CONVERSATION_TOPICS)
DEAD_LETTERS = {topic.dead_letters for topic in CONVERSATION_TOPICS}
DEAD_LETTER_DAYS = longest_days([topic for topic in TOPICS if topic.name in DEAD_LETTERS])
REQUEST_DAYS = longest_days([topic for topic in SOURCES if topic.name == PRIVACY])

LEFT = (
    f"What passed between our services stays in their transport log until its age removes it: up to {LOG_DAYS} days, "
    f"up to {DEAD_LETTER_DAYS} days for what could not be handled, and {REQUEST_DAYS} days for the request itself. "
    "Nobody can delete single entries of that log. Until then we keep a mark that does not name you, by which we know "
    "such entries and leave them alone. What you write after your data was erased is stored again, as from anybody who "
    "writes."
)

UNKNOWN_CODE = (
    "This code belongs to no request that we know. A request that was made a moment ago takes a minute to appear; "
    "otherwise see whether the whole code was copied."
)
NOTHING = "There was none under the id that came with your request, so nothing was erased."
OTHER_ID = (
    "Instagram gives one person different ids in different places, so something about you may be stored under another "
    "id. Write to the shop you talked to, in that conversation, and ask to be erased: the conversation shows the shop "
    "which id is yours."
)


def status_of(erasure: Erasure | None) -> Status:
    """Say what is known about a request; None stands for a code that nobody here knows."""
    if erasure is None:
        return Status(404, "We know no such request", (UNKNOWN_CODE,))
    asked = f"Your request reached us on {said(erasure.requested_at)}."
    match erasure.state:
        case "erasing":
            return Status(
                200, "Your data is being erased", (asked, "It is being worked on; look again in a minute.", LEFT)
            )
        case "erased":
            what = listed([counted(name, count) for name, count in erasure.found.items() if count])
            done = f"It was done on {said(erasure.done_at)}. Erased: {what}."
            return Status(200, "Your data has been erased", (asked, done, LEFT))
        case "nobody":
            looked = f"On {said(erasure.done_at)} we looked for your data. {NOTHING}"
            return Status(200, "We found nothing about you", (asked, looked, OTHER_ID))


def said(at: datetime | None) -> str:
    """Return a moment as people write it, in UTC."""
    return f"{at.day} {at:%B %Y, %H:%M} UTC" if at else "a day that was not recorded"


def counted(name: str, count: int) -> str:
    """Return `3 messages`."""
    one, many = NAMES.get(name, (name, name))
    return f"{count} {one if count == 1 else many}"


def listed(parts: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]])) if parts else "nothing"


def html_page(code: str, status: Status) -> str:
    """Return the page; everything in it that came from outside is escaped."""
    paragraphs = "".join(
        f'<p class="left">{escape(text)}</p>' if text is LEFT else f"<p>{escape(text)}</p>"
        for text in status.paragraphs
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex,nofollow">'
        f"<title>{escape(status.title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(status.title)}</h1>{paragraphs}"
        f"<p>Code: <code>{escape(code)}</code></p></main></body></html>"
    )


def json_body(code: str, erasure: Erasure | None, status: Status) -> dict[str, Any]:
    """Return the same facts for a program."""
    return {
        "code": code,
        "status": erasure.state if erasure else "unknown",
        "requested_at": erasure.requested_at.isoformat() if erasure else None,
        "done_at": erasure.done_at.isoformat() if erasure and erasure.done_at else None,
        "found": dict(erasure.found) if erasure else {},
        "message": " ".join((f"{status.title}.", *status.paragraphs)),
    }
