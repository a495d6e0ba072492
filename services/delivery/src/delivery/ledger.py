"""The ledger: one row per reply, so that it is known at every moment what may already have left.

    claimed ──► attempting ──► delivered
       ▲  │         │  │  └──► failed
       │  └─► suppressed  └──► unknown ──► delivered | failed | attempting (proven absent) | handed_to_human
       └────────────┘ (nothing was sent, or more parts to send)

`attempting` is written before a call is made: whoever finds a row in it, and did not write it, knows that a send may
have happened. Every change raises the row's `fence` by one and is written only over the fence that was read (a
compare-and-set on state and fence), so an owner that was overtaken cannot write.

Pure: rows are values, each function returns the row that would be next. Texts are not kept, only their fingerprints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Literal, Protocol

from common.events.outcomes import Route
from common.events.replies import (
    IN_THREAD_ACTIONS,
    Action,
    CommentReply,
    DirectMessage,
    Flow,
    MentionReply,
    PrivateReply,
    Reply,
)
from delivery.platforms.sending import ALREADY_ANSWERED

State = Literal["claimed", "attempting", "delivered", "failed", "suppressed", "unknown", "handed_to_human"]
PartState = Literal["waiting", "attempting", "delivered", "unknown"]

TRANSITIONS: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        "claimed": frozenset({"attempting", "suppressed", "failed"}),
        "attempting": frozenset({"claimed", "attempting", "delivered", "failed", "unknown"}),
        "unknown": frozenset({"claimed", "attempting", "delivered", "failed", "handed_to_human"}),
        "delivered": frozenset(),
        "failed": frozenset(),
        "suppressed": frozenset(),
        "handed_to_human": frozenset(),
    }
)
"""Which state may follow which."""

TERMINAL: frozenset[State] = frozenset(state for state, following in TRANSITIONS.items() if not following)
OPEN: frozenset[State] = frozenset(TRANSITIONS) - TERMINAL

MOST_UNKNOWN = 2
"""A part whose outcome was unknown this often is never sent again."""

IN_PUBLIC = frozenset(action.model_fields["kind"].default for action in (CommentReply, MentionReply))
"""Kinds of replies that a comment or a post shows, and that come back as comments of the account's."""

IN_THE_THREAD = frozenset(action.model_fields["kind"].default for action in (*IN_THREAD_ACTIONS, PrivateReply))
"""Kinds of replies that a person's thread shows and that come back as echoes; a public comment does neither."""

FLOW: str = Flow.model_fields["kind"].default
"""The kind of reply that becomes nobody here knows how many messages."""

MOST_ROWS = 200
"""How many rows are read at once. Whoever is given this many has not seen all there are."""

LONGEST_LIFE = timedelta(hours=26)
"""How long before a message a row may have been opened that sent it: the messaging window, and some. A lane's patience
begins anew with every restart, so the window alone ends a reply."""

AHEAD = timedelta(minutes=5)
"""How long after it, by a clock of the platform's that is behind."""


class IllegalTransition(Exception):
    """A change that the table does not allow; a bug of the caller, never of the outside world."""


@dataclass(frozen=True)
class Part:
    """One message of a reply. `key` is its text's fingerprint; `unknowns` counts how often its outcome was unknown.

    `by_text` says that `message_id` was concluded from text and time, and not told by the answer of the call.
    `at_platform_time` says that `attempted_at` is right by the platform's clock, to within seconds. `start` and `end`
    are where its words stand in the reply's text: what was planned is sent, also by a version that would cut otherwise.
    """

    key: str
    state: PartState = "waiting"
    message_id: str | None = None
    attempts: int = 0
    unknowns: int = 0
    attempted_at: datetime | None = None
    by_text: bool = False
    at_platform_time: bool = False
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class Row:
    """One reply. Moments are whole milliseconds in UTC, as the database keeps them.

    `untold` marks an end that was written for a dead owner and that nobody was told of yet; `seen_at` is when the
    customer is first known to have read all of it; `asked` is the fingerprint of what was asked for over HTTP, by which
    a key that is used for something else is noticed. While `private_reply_to` or `public_reply_to` names a comment, no
    other row can: no program or person asks for public answers to comments, so the latter is about decisions alone.
    `public_reply_under` is the comment below which the platform shows a public answer.
    """

    reply_id: str
    state: State
    fence: int
    at: datetime
    merchant_id: str
    account_id: str
    contact_id: str | None
    conversation_id: str
    decision_id: str | None
    kind: str
    origin: str
    received_at_ms: int
    parts: tuple[Part, ...]
    route: Route = "none"
    private_reply_to: str | None = None
    public_reply_to: str | None = None
    public_reply_under: str | None = None
    message_tag: str | None = None
    unknown_since: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    detail: str = ""
    evidence: str = ""
    erased: bool = False
    untold: bool = False
    seen_at: datetime | None = None
    asked: str | None = None

    @property
    def current(self) -> int | None:
        """The part that is being sent, or is to be sent next; None when all are delivered."""
        return next((index for index, part in enumerate(self.parts) if part.state != "delivered"), None)

    @property
    def message_ids(self) -> tuple[str, ...]:
        """The platform's ids of the parts, in order, as far as they are known."""
        return tuple(part.message_id for part in self.parts if part.message_id)

    @property
    def finished(self) -> bool:
        """Whether nothing follows any more."""
        return self.erased or self.state in TERMINAL


Cut = tuple[int | None, int | None]
"""Where a part's words begin and end in the reply's text."""
UNCUT: Cut = (None, None)


def opened(reply: Reply, keys: Sequence[str], now: datetime, cuts: Sequence[Cut] = ()) -> Row:
    """Return the row of a reply that nobody has begun to send; `keys` are its parts' fingerprints, "" for no text, and
    `cuts` where their words stand in its text.
    """
    action = reply.action
    return Row(
        reply_id=reply.reply_id,
        state="claimed",
        fence=0,
        at=to_milliseconds(now),
        merchant_id=reply.merchant_id,
        account_id=reply.account_id,
        contact_id=reply.contact_id,
        conversation_id=reply.conversation_id,
        decision_id=reply.decision_id,
        kind=action.kind,
        origin=reply.origin,
        received_at_ms=reply.received_at_ms,
        parts=tuple(
            Part(key, start=start, end=end) for key, (start, end) in zip(keys, cuts or [UNCUT] * len(keys), strict=True)
        ),
        private_reply_to=_comment(reply) if isinstance(action, PrivateReply) else None,
        public_reply_to=_comment(reply) if reply.decision_id is not None and is_public(action) else None,
        public_reply_under=getattr(action, "under", getattr(action, "comment_id", None)) if is_public(action) else None,
        message_tag=action.message_tag if isinstance(action, DirectMessage) else None,
    )


def is_public(action: Action) -> bool:
    """Tell whether an action is a public answer, whichever webhook told of what it answers."""
    return isinstance(action, CommentReply | MentionReply)


def _comment(reply: Reply) -> str | None:
    """Return the comment that a reply answers, under a name that every webhook about it leads to; None: a caption."""
    comment = getattr(reply.action, "comment_id", None)
    return f"{reply.account_id}:{comment}" if comment else None


def to_milliseconds(moment: datetime) -> datetime:
    """Return the moment as the database keeps it, so that a row read back equals the row written."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _next(row: Row, state: State, **changes: object) -> Row:
    if state not in TRANSITIONS[row.state]:
        raise IllegalTransition(f"{row.state} may not become {state}")
    return replace(row, state=state, fence=row.fence + 1, **changes)  # type: ignore[arg-type]


def _with_part(row: Row, index: int, **changes: object) -> tuple[Part, ...]:
    changed = replace(row.parts[index], **changes)  # type: ignore[arg-type]
    return (*row.parts[:index], changed, *row.parts[index + 1 :])


def part_to_send(row: Row) -> int:
    """Return the part that is being sent, or is next. Raises IllegalTransition when all are delivered."""
    if row.current is None:
        raise IllegalTransition(f"{row.reply_id} has no part left to send")
    return row.current


def begin(row: Row, route: Route, now: datetime, *, at_platform_time: bool = False) -> Row:
    """Return the row that must be stored before its next part is sent by `route`; `now` as `Part` describes it."""
    index = part_to_send(row)
    part = row.parts[index]
    if part.unknowns >= MOST_UNKNOWN:
        raise IllegalTransition(f"part {index} was unknown {part.unknowns} times and must not be sent again")
    at = to_milliseconds(now)
    parts = _with_part(
        row,
        index,
        state="attempting",
        attempts=part.attempts + 1,
        attempted_at=at,
        at_platform_time=at_platform_time,
    )
    return _next(row, "attempting", route=route, parts=parts, unknown_since=None)


def nothing_sent(row: Row) -> Row:
    """Return the row after a call that certainly sent nothing and may be made again."""
    return _next(row, "claimed", parts=_with_part(row, part_to_send(row), state="waiting"))


def arrived(row: Row, index: int, message_id: str | None, now: datetime, *, by_text: bool = False) -> Row:
    """Return the row after part `index` turned out to be with the platform."""
    if row.parts[index].state not in {"attempting", "unknown"}:
        raise IllegalTransition(f"part {index} is {row.parts[index].state}")
    parts = _with_part(row, index, state="delivered", message_id=message_id, by_text=by_text)
    if all(part.state == "delivered" for part in parts):
        return _next(row, "delivered", parts=parts, finished_at=to_milliseconds(now), unknown_since=None)
    return _next(row, "claimed", parts=parts, unknown_since=None)


def named(row: Row, index: int, message_id: str, *, by_text: bool = False) -> Row:
    """Return the row with the id under which the platform shows a part; its state stays."""
    return replace(row, fence=row.fence + 1, parts=_with_part(row, index, message_id=message_id, by_text=by_text))


def lost_sight(row: Row, evidence: str, now: datetime) -> Row:
    """Return the row after a call of which nobody knows whether it sent anything; `evidence` says why."""
    index = part_to_send(row)
    parts = _with_part(row, index, state="unknown", unknowns=row.parts[index].unknowns + 1)
    return _next(row, "unknown", parts=parts, evidence=evidence, unknown_since=to_milliseconds(now))


def refused(row: Row, reason: str, detail: str, now: datetime) -> Row:
    """Return the row of a reply that will not be sent, because it cannot be.

    Its comment is left to another one, unless something was or may have been sent, or the platform says that the
    comment has its answer.
    """
    parts = row.parts if row.current is None else _with_part(row, row.current, state="waiting")
    comment = {} if reason == ALREADY_ANSWERED else _comment_left(row)
    finished = to_milliseconds(now)
    return _next(row, "failed", parts=parts, reason=reason, detail=detail, finished_at=finished, **comment)


def withheld(row: Row, reason: str, detail: str, now: datetime) -> Row:
    """Return the row of a reply that is not sent on purpose; it leaves its comment to another one."""
    finished = to_milliseconds(now)
    return _next(row, "suppressed", reason=reason, detail=detail, finished_at=finished, **_comment_left(row))


def nothing_left(row: Row) -> bool:
    """Tell of a reply that ended unsent whether certainly nothing of it ever was sent."""
    return not any(part.state == "delivered" or part.unknowns for part in row.parts)


def _comment_left(row: Row) -> dict[str, None]:
    """Return the changes that leave the row's comment to another reply, where this one certainly was not sent."""
    return {"private_reply_to": None, "public_reply_to": None} if nothing_left(row) else {}


def handed_over(row: Row, detail: str, now: datetime) -> Row:
    """Return the row of a reply whose outcome nobody could find out: a person has to look."""
    return _next(row, "handed_to_human", reason="outcome_unknown", detail=detail, finished_at=to_milliseconds(now))


def ended_for_its_owner(row: Row) -> Row:
    """Return a finished row as one whose end has still to be told: whoever dies in between leaves a trace."""
    return replace(row, untold=True)


def given_up(row: Row, reason: str, detail: str, now: datetime) -> Row:
    """Return the row of a reply whose record is gone before it was sent, or before all of it was."""
    sent = sum(part.state == "delivered" for part in row.parts)
    said = f"{detail}; {sent} of {len(row.parts)} parts had been sent" if sent else detail
    return refused(row, reason, said, now)


def told(row: Row) -> Row:
    """Return the row after its end was told; its state stays."""
    return replace(row, fence=row.fence + 1, untold=False)


def only_waits(row: Row) -> bool:
    """Tell whether nothing of a reply was sent and nothing is on its way."""
    return row.state == "claimed" and not any(part.state == "delivered" for part in row.parts)


def is_same_attempt(row: Row, index: int, attempt: int) -> bool:
    """Tell whether part `index` is still at the attempt whose answer came: nobody sent it again meanwhile."""
    part = row.parts[index] if index < len(row.parts) else None
    return not row.erased and part is not None and part.attempts == attempt and row.state in {"attempting", "unknown"}


def after_arrival(row: Row, index: int, message_id: str | None, now: datetime, *, by_text: bool = False) -> Row | None:
    """Return the row with the fact that a part arrived, or None when it says so already.

    `by_text` tells that the id was concluded from text and time. A fact may be written by whoever learns it, whoever
    owns the row by then: it does not become untrue.
    """
    if row.erased or index >= len(row.parts):
        return None
    part = row.parts[index]
    if row.state in {"attempting", "unknown"} and part.state in {"attempting", "unknown"}:
        return arrived(row, index, message_id, now, by_text=by_text)
    if message_id and part.message_id is None and part.state != "waiting":
        return named(row, index, message_id, by_text=by_text)
    return None


@dataclass(frozen=True)
class CommentTaken:
    """Another reply answers, or answered, this comment in the same way: privately, or in public."""


class Ledger(Protocol):
    """Keeps rows. All methods raise PyMongoError where the store is away."""

    async def insert(self, row: Row) -> Row | CommentTaken | None:
        """Store a new row and return None; the row that is there under its id, or CommentTaken, if it cannot be."""
        ...

    async def find(self, reply_id: str) -> Row | None:
        """Return the row of a reply, or None."""
        ...

    async def put(self, row: Row, *, over: Row) -> bool:
        """Store `row` if the stored state and fence are still those of `over`; tell whether it was."""
        ...

    async def around(self, conversation_id: str, at: datetime) -> list[Row]:
        """Return the conversation's rows from about `at`: the latest of them, at most MOST_ROWS."""
        ...

    async def left_behind(self, before: datetime, most: int, *, waiting_before: datetime) -> list[Row]:
        """Return up to `most` rows that were opened before `before` and are not finished, and rows whose end is
        untold: the oldest first. Those that only wait count from `waiting_before`.
        """
        ...

    async def possible_senders(
        self, conversation_id: str, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        """Return whichever row has `message_id`, and the conversation's rows that may have sent a message shown at
        `at` with one of the fingerprints `keys`: those with such a part, those with a call under way, and flows. Of
        more than MOST_ROWS the latest.
        """
        ...

    async def public_replies_under_way(self, account_id: str, key: str) -> list[Row]:
        """Return the account's public answers with this text's fingerprint that are under way: at most MOST_ROWS."""
        ...

    async def public_replies_below(
        self, account_id: str, comment_id: str, at: datetime, key: str, message_ids: Sequence[str]
    ) -> list[Row]:
        """Return the rows, whichever customer they answer, that may be what stands below a comment: those with one of
        `message_ids`, and public answers from about `at` with this text's fingerprint that may have arrived.
        """
        ...

    async def mark_seen(self, conversation_id: str, *, upto: datetime, at: datetime) -> None:
        """Note that the customer has read, at `at`, all that was sent by `upto`: on delivered rows of the thread, and
        only where no earlier moment is noted.
        """
        ...
