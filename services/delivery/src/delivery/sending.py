"""What sending means to the rest of the service, whichever outside API does it."""

from dataclasses import dataclass

from common.errors import Permanent


@dataclass(frozen=True)
class Sent:
    """The platform took it. `message_id` is its id where the API tells one (ManyChat does not)."""

    message_id: str | None = None


class Refused(Permanent):
    """The platform will not send this; nothing was sent.

    `reason` is a stable code, `detail` says what to do about it in our own words (a provider's sentence may quote a
    token or a customer), and `elsewhere` tells that another route may well send it.
    """

    def __init__(self, reason: str, detail: str = "", *, elsewhere: bool = False) -> None:
        super().__init__(reason)
        self.detail = detail
        self.elsewhere = elsewhere


ALREADY_ANSWERED = "comment_already_answered"
"""The reason of a refused private reply whose comment has had its one private reply, or is too old for it. Only where
an earlier attempt's outcome is unknown does it say that this reply arrived."""
