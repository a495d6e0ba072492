"""What may be answered under a comment, and privately to it: the platform's rules, pure.

Sources, all of them Meta's "Instagram Platform" documentation:

- *Private replies*: one message per comment, within 7 days of the comment; under a live broadcast only while it is
  live. More only after the person has answered, inside the 24-hour window. That there is one and not two is kept by the
  ledger's unique key, across replicas.
- *Comment moderation* (`POST /{comment}/replies`): an answer stands under a top-level comment; an answer to an answer
  is put under their common parent. Hidden comments and comments under a live broadcast cannot be answered publicly.
- *Instagram Help Center*: a broadcast lasts four hours at most. Whether it still goes on no webhook says, so that is
  the only bound that is certain; before it the platform judges.

The platform dates a comment by when it sent the webhook, which may be later than when it was written. So the last
hours of the seven days are the platform's to judge, too.
"""

from datetime import datetime, timedelta

from common.events.replies import CommentReply, PrivateReply
from delivery.rules.window import age

PRIVATE_REPLY_WINDOW = timedelta(days=7)
LONGEST_BROADCAST = timedelta(hours=4)
PUBLIC_REPLY_WINDOW = timedelta(days=7)
"""How long after its comment Jawab answers in public. The platform has no such bound. It is ours: an answer to an old
comment looks foolish, and once retention has removed the ledger's row, a copy of the webhook would be answered again.
"""


def private_reply_window(action: PrivateReply) -> timedelta:
    """Return how long after its comment a private reply may be sent."""
    return LONGEST_BROADCAST if action.live else PRIVATE_REPLY_WINDOW


def private_reply_is_open(
    action: PrivateReply, commented_at: datetime | None, now: datetime, margin: timedelta
) -> bool:
    """Tell whether a comment may still be answered privately; unknown age is left to the platform to judge."""
    return commented_at is None or age(commented_at, now) < private_reply_window(action) - margin


def public_reply_is_open(commented_at: datetime | None, now: datetime, margin: timedelta) -> bool:
    """Tell whether a comment or mention may still be answered publicly without an agent; unknown age is tried."""
    return commented_at is None or age(commented_at, now) < PUBLIC_REPLY_WINDOW - margin


def is_under_hidden(action: CommentReply, hidden: frozenset[str]) -> bool:
    """Tell whether an answer would stand under a comment that was hidden or deleted here."""
    return not hidden.isdisjoint({action.comment_id, action.under})
