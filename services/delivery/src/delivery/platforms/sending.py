"""What sending means to the rest of the service, whichever outside API does it."""

from dataclasses import dataclass
from typing import Literal

from common.errors import Permanent

Action = Literal[
    "retry",
    "unknown",
    "sent_or_unknown",
    "pause_app",
    "pause_account",
    "pause_call",
    "reconnect",
    "suspend",
    "restrict",
    "hold",
    "refuse_key",
    "refuse_and_alert",
    "once_more",
    "done",
    "other_app",
    "ignore",
    "elsewhere",
    "refuse",
]
"""What is done about an error of an outside API, a closed set.

    retry             nothing is at stake: a call that changes nothing, or one that never left, is made again
    unknown           nobody knows whether it was sent: looked for, and never repeated blindly
    sent_or_unknown   the same, and it probably was sent
    pause_app         nothing was sent; all calls of the app wait, then it is sent
    pause_account     nothing was sent; all calls of the account wait, then it is sent
    pause_call        nothing was sent; the account's calls of this kind wait, then it is sent
    reconnect         this message fails; the account is stopped until it is connected again
    suspend           this message fails; its error is not quite known, so the account is stopped for an hour only when
                      a third contact meets it
    restrict          this message fails; the account is stopped until somebody lifts the restriction
    hold              this message fails; the account is stopped for hours
    refuse_key        this message takes the other route, as do all until the key was changed
    refuse_and_alert  this message fails; an operator is told
    once_more         this message is sent once more, then it fails
    done              the comment has its private reply: ours, where an earlier attempt's outcome was unknown
    other_app         this message fails: another app has the conversation
    ignore            a lookup that is done without
    elsewhere         this message takes the other route where there is one
    refuse            this message fails, and nothing else follows
"""


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


DAY_OLD = "The customer's last message is more than 24 hours old"
"""How a refusal begins that claims a closed window: a claim which the contact's own record may contradict."""

ONE_MORE_AFTER = 2.0
"""Seconds until what asks for one more try gets it: long enough for a file to appear where its link leads."""


def asks_for_one_more(refusal: Refused) -> bool:
    """Tell whether a message that was refused for the first time is worth one more try."""
    return refusal.finding is not None and refusal.finding.action == "once_more"
