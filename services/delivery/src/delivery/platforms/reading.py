"""What a platform shows of a conversation, read back to find out whether something arrived."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from delivery.fingerprints import message_keys


@dataclass(frozen=True)
class Shown:
    """One message or comment as the platform shows it. `at` is None where it does not say.

    `kinds` are the types of its attachments, as far as the platform tells them.
    """

    id: str
    text: str | None
    from_account: bool
    at: datetime | None
    kinds: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints by which it may be recognised."""
        return message_keys(self.text, self.kinds)


@dataclass(frozen=True)
class Reading:
    """What the platform shows of a place, and whether that is all there is."""

    shown: tuple[Shown, ...]
    complete: bool


def oldest(shown: Sequence[Shown]) -> datetime | None:
    """Return when the oldest of what is shown was written, or None where that is not known of all of it."""
    moments = [one.at for one in shown if one.at is not None]
    return min(moments) if moments and len(moments) == len(shown) else None
