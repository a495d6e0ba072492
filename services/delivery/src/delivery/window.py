"""When a customer may be written to: the platform's messaging windows, as pure arithmetic.

A direct message may be sent within 24 hours of the person's last message, story reply, story mention, tapped quick
reply or postback. Nothing the account itself does opens the window, and neither does a reaction, a read receipt or a
comment (Instagram Platform, "Messaging"). A private reply may be sent within 7 days of its comment, once.
"""

from datetime import datetime, timedelta

from common.events.interactions import InteractionEvent, MessageReceived, PostbackReceived

MESSAGING_WINDOW = timedelta(hours=24)
PRIVATE_REPLY_WINDOW = timedelta(days=7)


def opens(event: InteractionEvent) -> bool:
    """Tell whether an interaction opens the 24-hour window.

    Story replies, story mentions and quick replies arrive as messages.
    """
    return isinstance(event, MessageReceived | PostbackReceived)


def is_open(last: datetime | None, now: datetime, margin: timedelta) -> bool:
    """Tell whether a direct message may still be sent, `margin` before the platform would begin to refuse it."""
    return last is not None and now - last < MESSAGING_WINDOW - margin


def private_reply_is_open(commented_at: datetime | None, now: datetime, margin: timedelta) -> bool:
    """Tell whether a comment may still be answered privately; unknown age is left to the platform to judge."""
    return commented_at is None or now - commented_at < PRIVATE_REPLY_WINDOW - margin


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of the moments that are known, or None."""
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None
