"""What became of a send that nobody saw the end of.

Decision: a send of unknown outcome is repeated at most once, and only after it was proven absent.
    Context. The platforms have no idempotency key, so a repeated send is a second message to the customer; a send
    that is given up is a customer without an answer. The echo usually settles it within a second. Where it does not
    come, the conversation can be read back.
    Why the second attempt is not blind. It is made only when (1) the first request can no longer be under way from
    anywhere: this process has known the attempt, by its own monotonic clock, for longer than the time within which a
    call must begin plus the whole of its timeout, and the platform had time to show what it took; (2) the platform
    itself answered a read of that very place, made after that; (3) the read reaches back beyond the attempt, and shows
    the thread at all: the one the customer wrote into is there, so where the platform lists none it does not show it;
    and (4) nothing is in it since then that might be ours: nothing with this text, whoever is listed as its author,
    and nothing of the account's that the ledger cannot name. A message whose text the platform changed might be ours,
    so it counts as "cannot be told", and so does one that another reply was given for its text alone, where the time
    fits this one as well. Times of the platform's are compared only with an attempt that is dated by the platform's
    own clock (docs/decisions/0015); where that was not known, only a listing proves anything that is complete and
    holds nothing of the account's without a name.
    Found asks for proof too: replies with the same text of which no id is known (ManyChat tells none) own a message
    each, and only one more than those can be this one.
    Only then is the row moved to `attempting` again, under a new fence that shuts the first owner out.
    Consequences. Whatever stays open until the deadline, and whatever is unknown for the second time and not found,
    goes to a person. What remains is a platform that takes a request, shows nothing of it for seconds, and delivers
    it later; nobody can know that from outside, and docs/guarantees.md says so.
    Alternatives. Never repeat: loses an answer at every crash between the ledger and the call. Always repeat: doubles
    one at every lost answer.
"""

from collections.abc import Awaitable, Callable, Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from common.errors import ProcessingError
from common.events.replies import CommentReply, PrivateReply, Reply
from delivery.fingerprints import is_weak
from delivery.ledger import FLOW, IN_THE_THREAD, MOST_UNKNOWN, Part, Row
from delivery.patience import Patience
from delivery.platforms.reading import Author, Reading, Shown, attributed, oldest
from delivery.unnamed import earliest, may_be_dated

PRIVATE_REPLY: str = PrivateReply.model_fields["kind"].default
"""The kind of reply that may begin a thread."""


@dataclass(frozen=True)
class Wait:
    """Look again in `seconds`; an echo may settle it meanwhile."""

    seconds: float


@dataclass(frozen=True)
class Look:
    """Read the place where the message would be."""


@dataclass(frozen=True)
class HandOver:
    """Nobody will find out: a person has to look."""

    detail: str


@dataclass(frozen=True)
class Found:
    """It is there, under this id."""

    message_id: str


@dataclass(frozen=True)
class Absent:
    """It is not there, and would be if it had arrived."""


@dataclass(frozen=True)
class CannotTell:
    """The place could not be read far enough, or holds something that might be it."""


@dataclass(frozen=True)
class SendAgain:
    """It never arrived and cannot any more."""


Sight = Found | Absent | CannotTell


def before_looking(known_for: float, patience: Patience) -> Wait | Look:
    """Decide whether looking can prove anything yet; `known_for` is how long this process has known the attempt."""
    remaining = patience.first_look - known_for
    return Wait(min(patience.poll, remaining)) if remaining > 0 else Look()


def after_looking(
    part: Part, sight: Sight, known_for: float, patience: Patience
) -> Found | SendAgain | Wait | HandOver:
    """Decide what to do with what was seen; `known_for` is how long this process has known the attempt."""
    match sight:
        case Found():
            return sight
        case Absent():
            if part.unknowns < MOST_UNKNOWN:
                return SendAgain()
            return HandOver("its outcome was unknown twice, and it was not found; see the conversation and answer")
        case CannotTell():
            remaining = patience.deadline - known_for
            if remaining <= 0:
                return HandOver("nobody can tell whether it arrived; see the conversation and answer if it did not")
            return Wait(min(patience.read_again, remaining))


def judge(reading: Reading, part: Part, *, others: Sequence[Part]) -> Sight:
    """Decide whether a message is among what the platform shows. `others` are the other messages of ours there."""
    since = earliest(part)
    if since is None:
        return CannotTell()
    known = {other.message_id: other for other in others if other.message_id}
    of_anybody = [one for one in reading.shown if _is_since(one, since)]
    recent = [one for one in of_anybody if one.from_account]
    ours = [one for one in recent if one.id not in known]
    fitting = [one for one in ours if _says(one, part)]
    if fitting:
        rivals = [other for other in others if any(_may_have_sent(other, one, part) for one in fitting)]
        if len(fitting) <= len(rivals):
            return CannotTell()
        return Found(min(fitting, key=lambda one: _distance(one, part.attempted_at)).id)
    if any(_may_be_mistaken(one, known[one.id], part) for one in recent if one.id in known and _says(one, part)):
        return CannotTell()
    if any(_says(one, part) for one in of_anybody if one.id not in known):
        return CannotTell()  # ours under another id, or another author's words: neither proves anything
    if not part.at_platform_time:
        return Absent() if reading.complete and not _may_be_the_part(reading.shown, known, part) else CannotTell()
    first = oldest(reading.shown)
    reaches_back = first is not None and first < since and _begins_with_the_latest(reading.shown)
    return Absent() if (reading.complete or reaches_back) and not ours else CannotTell()


def _may_be_the_part(shown: Sequence[Shown], known: Container[str], part: Part) -> bool:
    """Tell whether any message, whenever it is dated, may be the part: by its author or by its text."""
    return any(one.from_account or _says(one, part) for one in shown if one.id not in known)


def _begins_with_the_latest(shown: Sequence[Shown]) -> bool:
    """Tell whether a page that is not all there is lacks only what is older: comments may be listed oldest first."""
    moments = [one.at for one in shown if one.at is not None]
    return moments[0] == max(moments)


def _is_since(one: Shown, since: datetime) -> bool:
    return one.at is None or one.at >= since


def _says(one: Shown, part: Part) -> bool:
    return bool(part.key) and part.key in one.keys


def _distance(one: Shown, attempted_at: datetime | None) -> tuple[bool, timedelta]:
    if one.at is None or attempted_at is None:
        return True, timedelta.max
    return one.at < attempted_at, abs(one.at - attempted_at)


def _may_have_sent(other: Part, one: Shown, part: Part) -> bool:
    """Tell whether a message that fits `part` may as well be `other`, of which no id is known."""
    if other.message_id or other.key != part.key or other.state == "waiting" or other.attempted_at is None:
        return False
    return one.at is None or may_be_dated(other, one.at)


def _may_be_mistaken(one: Shown, owner: Part, part: Part) -> bool:
    """Tell whether a message that `owner` was given for its content is as likely to be `part`.

    What has no words is never told from its twin by the time alone.
    """
    if not owner.by_text:
        return False
    if is_weak(part.key):
        return True
    if one.at is None or owner.attempted_at is None or part.attempted_at is None:
        return True
    return abs(one.at - part.attempted_at) <= abs(one.at - owner.attempted_at)


def others_of(rows: Sequence[Row], row: Row, index: int) -> tuple[Part, ...]:
    """Return all attempted parts of `rows` and of `row` but the one that is looked for."""
    others = [part for one in rows if one.reply_id != row.reply_id for part in one.parts]
    own = [part for at, part in enumerate(row.parts) if at != index]
    return tuple(part for part in (*others, *own) if part.attempted_at is not None or part.message_id)


class Reader(Protocol):
    """Reads what the platform shows. Raises ProcessingError where it does not."""

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read a person's thread."""
        ...

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a reply is if it arrived: under a comment, in a person's thread, or nowhere one could look.

    `begun` tells that the thread is there without the reply, because the customer wrote into it.
    """

    account_id: str
    contact_id: str | None = None
    comment_id: str | None = None
    begun: bool = False


def place_of(reply: Reply) -> Place:
    """Return where a reply would be."""
    if isinstance(reply.action, CommentReply):
        return Place(reply.account_id, comment_id=reply.action.under)
    return _place_in_thread(reply.account_id, reply.contact_id, reply.action.kind)


def place_of_row(row: Row) -> Place:
    """Return where a reply would be of which only its row is known.

    Rows of earlier versions do not name the comment above the one they answer, where the platform may have put the
    reply instead: what is not found there must not be sent again.
    """
    if row.public_reply_under is not None:
        return Place(row.account_id, comment_id=row.public_reply_under)
    if row.public_reply_to is not None:
        return Place(row.account_id, comment_id=row.public_reply_to.removeprefix(f"{row.account_id}:"))
    return _place_in_thread(row.account_id, row.contact_id, row.kind)


def _place_in_thread(account_id: str, contact_id: str | None, kind: str) -> Place:
    if not _is_shown_in_thread(kind):
        return Place(account_id)
    return Place(account_id, contact_id, begun=kind != PRIVATE_REPLY)


def _is_shown_in_thread(kind: str) -> bool:
    """Tell whether a thread shows an action as messages that can be known again; of a flow nobody knows them."""
    return kind in IN_THE_THREAD and kind != FLOW


OthersBelow = Callable[[Reading], Awaitable[Sequence[Part]]]
"""Returns the parts of the account's other answers that may be what was read below a comment."""


async def look(
    reader: Reader,
    token: str | None,
    place: Place,
    part: Part,
    others: Sequence[Part],
    *,
    author: Author | None = None,
    others_below: OthersBelow | None = None,
) -> Sight:
    """Look for a part of a reply where it would be; whatever cannot be read cannot be told.

    `others` are the account's other messages to this customer. Below a comment stand its answers to other customers,
    too: `others_below` finds them. `author` is the account as the platform may list it, where more of it is known than
    its id.
    """
    if token is None:
        return CannotTell()
    try:
        if place.comment_id is not None:
            reading = await reader.comment_replies(token, place.account_id, place.comment_id)
            reading = attributed(reading, author or Author(frozenset({place.account_id})))
            if others_below is not None:
                others = (*others, *await others_below(reading))
        elif place.contact_id is not None:
            reading = await reader.conversation(token, place.account_id, place.contact_id)
            if place.begun and not reading.shown:
                return CannotTell()
        else:
            return CannotTell()
    except ProcessingError:
        return CannotTell()
    return judge(reading, part, others=others)
