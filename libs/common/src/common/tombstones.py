"""What stays of a customer who was erased: enough to know their old records again, nothing that says who they are.

An erasure cannot remove what lies in Kafka, what the platform delivers again, or what a service is just working on. So
before anything is deleted it writes a tombstone, and every service that stores or sends asks it first:

- `cut`: where each partition of the conversation topics ended. A record before it was received before the erasure, by
  the log's own order. `cut_ms` guards against another log under the same name: a topic that was created again begins at
  offset 0, but its records are younger than the erasure.
- `seen`: digests of the ids of what the customer had written. The platform delivers again for up to 36 hours, behind
  the cut; ids are derived, so a copy has the id of the first.
- `seen_until`: the latest moment, by the platform's clock, at which the customer had done something. It separates old
  from new where nothing is stored under an id: reactions, receipts, referrals. No clock of ours is compared with it.
- `own`: digests of the messages that the account had sent or was sending. Their echoes are nobody's answer.

What the customer does afterwards is none of these: it is a new conversation.

Whom a tombstone is about is kept as a slow salted digest (scrypt, the request's code is the salt) beside 20 bits of a
fast one: the slow one is computed for one conversation in a million, and a copy of the database names nobody. Pure.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from common.events import AnyEvent
from common.events.ids import interaction_id
from common.events.interactions import (
    INTERACTIONS,
    CommentReceived,
    EchoReceived,
    LiveCommentReceived,
    MentionReceived,
    MessageReceived,
    PostbackReceived,
)

KNOWN_BY_ID = (
    MessageReceived,
    PostbackReceived,
    CommentReceived,
    LiveCommentReceived,
    MentionReceived,
    EchoReceived,
)
"""What is remembered by its id. Two of these may well have the same time."""

BUCKETS = 1 << 20
FUTURE = timedelta(minutes=15)
"""How far the platform's clock may be ahead of ours before a time of its is taken for a wrong one."""

ANOTHER_LOG_MS = 60 * 60 * 1000
"""A record written so long after the erasure cannot lie before its cut, however much two machines' clocks differ."""

Verdict = Literal["erased", "wait", "new"]
"""`erased`: received before the erasure, to be ignored; `wait`: the erasure is at work; `new`: not concerned."""


@dataclass(frozen=True)
class Position:
    """Where a record lies, and when it was written (its producer's clock, ms)."""

    topic: str
    partition: int
    offset: int
    written_ms: int = 0


@dataclass(frozen=True)
class Tombstone:
    """What stays of one erasure. Without `account_id` it is about the customer with every account."""

    code: str
    customer: str = field(repr=False)
    bucket: int
    account_id: str | None
    done: bool
    cut: Mapping[str, Sequence[int]]
    cut_ms: int
    seen_until: datetime | None = None
    seen: frozenset[str] = field(default=frozenset(), repr=False)
    own: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Tombstone":
        """Read what was stored."""
        return cls(
            code=document["_id"],
            customer=document["customer"],
            bucket=document["bucket"],
            account_id=document.get("account_id"),
            done=document["state"] == "done",
            cut={each["topic"]: tuple(each["ends"]) for each in document["cut"]},
            cut_ms=document["cut_ms"],
            seen_until=document.get("seen_until"),
            seen=frozenset(document.get("seen", ())),
            own=frozenset(document.get("own", ())),
        )

    def is_before_cut(self, position: Position) -> bool:
        """Return whether a record had been received before the erasure, by its place in the log."""
        ends = self.cut.get(position.topic, ())
        if position.partition >= len(ends) or position.offset >= ends[position.partition]:
            return False
        return position.written_ms <= self.cut_ms + ANOTHER_LOG_MS

    def verdict(self, event: AnyEvent, positions: Sequence[Position]) -> Verdict:
        """Decide about an event of this customer. `positions`: where its record lies, and where it lay first."""
        if any(self.is_before_cut(position) for position in positions):
            return "erased"
        if event.topic == INTERACTIONS and self._is_seen(event):
            return "erased"
        return "new" if self.done else "wait"

    def _is_seen(self, event: AnyEvent) -> bool:
        """Return whether an interaction is a copy of one from before, or about a message from before."""
        if any(digest_of(self.code, one) in self.seen for one in ids_of(event)):
            return True
        if isinstance(event, KNOWN_BY_ID) or self.seen_until is None:
            return False
        return event.time <= self.seen_until


def ids_of(event: AnyEvent) -> tuple[str, ...]:
    """Return the id of an event, and that of the message or comment which it is about."""
    account_id = event.data.account_id or ""
    mid, comment_id = getattr(event.data, "mid", None), getattr(event.data, "comment_id", None)
    about = [interaction_id(account_id, "msg", mid)] if mid else []
    about += [interaction_id(account_id, "cm", comment_id)] if comment_id else []
    return tuple(dict.fromkeys((event.id, *about)))


def bucket_of(contact_id: str) -> int:
    """Return which of `BUCKETS` a customer is in: far too few to know who."""
    return int.from_bytes(hashlib.sha256(contact_id.encode()).digest()[:8]) % BUCKETS


def customer_digest(contact_id: str, code: str) -> str:
    """Return scrypt of a customer's id with the request's code as salt: about 50 ms of a processor, for each guess."""
    return hashlib.scrypt(contact_id.encode(), salt=code.encode(), n=2**14, r=8, p=1, dklen=32).hex()


def digest_of(code: str, mark: str) -> str:
    """Return a digest of a message's id or fingerprint."""
    return hashlib.sha256(f"{code}:{mark}".encode()).hexdigest()[:32]


def seen_at(time: datetime, received: datetime) -> datetime:
    """Return by when something happened: `time` as the platform dates it, unless that is absurd beside `received`."""
    return min(time, received + FUTURE)


def received_at(event: AnyEvent) -> datetime | None:
    """Return when ingest received an event, by ingest's clock; None where it does not say."""
    milliseconds = getattr(event.data, "received_at_ms", 0)
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None
