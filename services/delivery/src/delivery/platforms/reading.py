"""What a platform shows of a conversation: read back to find out whether something arrived, and what a message says."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from common.events.interactions import Attachment
from delivery.fingerprints import message_keys


@dataclass(frozen=True)
class Shown:
    """One message or comment as the platform shows it. `at` is None where it does not say.

    `kinds` are the types of its attachments, as far as the platform tells them; `author_id` and `username` are the
    author as it is listed, "" where they are left out. `from_account` is true where the author may be the account.
    """

    id: str
    text: str | None
    from_account: bool
    at: datetime | None
    kinds: tuple[str, ...] = ()
    author_id: str = ""
    username: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints by which it may be recognised."""
        return message_keys(self.text, self.kinds)


@dataclass(frozen=True)
class Reading:
    """What the platform shows of a place, and whether that is all there is."""

    shown: tuple[Shown, ...]
    complete: bool


@dataclass(frozen=True)
class ReadMessage:
    """One message, looked up by its id. Without text and attachments its content is of a kind that no API shows."""

    text: str | None = field(repr=False)
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Author:
    """By what the account is known as an author: its ids, and its username, "" where that is not known.

    Meta lists the account's own comments under an id that is not the account's: an Instagram-scoped one (Graph API,
    "IG Comment", field `from`). `customer` is the id of the one author who certainly is another.
    """

    ids: frozenset[str]
    username: str = ""
    customer: str | None = None

    def may_have_written(self, one: Shown) -> bool:
        """Tell whether the account may be the author: yes, unless the listing shows that somebody else is."""
        if one.from_account or one.author_id in self.ids:
            return True
        if one.author_id and one.author_id == self.customer:
            return False
        if not self.username or not one.username:
            return True
        return one.username.casefold() == self.username.casefold()


def attributed(reading: Reading, author: Author) -> Reading:
    """Return the reading with every message that the account may have written marked as its own."""
    shown = tuple(replace(one, from_account=author.may_have_written(one)) for one in reading.shown)
    return replace(reading, shown=shown)


def oldest(shown: Sequence[Shown]) -> datetime | None:
    """Return when the oldest of what is shown was written, or None where that is not known of all of it."""
    moments = [one.at for one in shown if one.at is not None]
    return min(moments) if moments and len(moments) == len(shown) else None
