"""When a customer may be written to: the platform's messaging windows, as pure arithmetic.

Sources, all of them Meta's "Instagram Platform" documentation:

- *Messaging API*: a message may be sent within 24 hours of the person's last message. A tapped quick reply, a tapped
  button (also of an ad), an ice breaker, a story reply and a story mention are messages of the person. What the account
  does (its echoes), a reaction, a read receipt, an edit, a referral without a message, a comment, a mention and an
  opt-in are none.
- *Human Agent*: a person of the business may answer for 7 days from the same moment, with the tag HUMAN_AGENT, where
  Meta has given the app that feature. Every other tag has been refused (error 100) since 27 April 2026.
- *Self messaging*: what an account writes to itself knows no window at all.

All moments are aware and taken in UTC, so daylight saving has no part in it. `margin` is how long before the
platform would begin to refuse we stop: clocks differ, and a call takes time. A moment that lies in the future (a clock
was set back) counts as now: there is no way to know better, and the platform looks, too.
"""

from datetime import UTC, datetime, timedelta

from common.events.interactions import InteractionEvent, MessageReceived, PostbackReceived

MESSAGING_WINDOW = timedelta(hours=24)
HUMAN_AGENT_WINDOW = timedelta(days=7)


def opens(event: InteractionEvent) -> bool:
    """Tell whether an interaction opens the 24-hour window.

    Story replies, story mentions and quick replies arrive as messages, the quick replies of ads and ice breakers as
    postbacks. In standby another app answers, but the person has written all the same.
    """
    if not isinstance(event, MessageReceived | PostbackReceived) or event.data.is_self:
        return False
    return event.data.contact_id not in {None, event.data.account_id}


def is_open(last: datetime | None, now: datetime, margin: timedelta) -> bool:
    """Tell whether anything may be sent into the person's thread; `last` is when they last opened the window."""
    return last is not None and age(last, now) < MESSAGING_WINDOW - margin


def is_open_for_people(last: datetime | None, now: datetime, margin: timedelta) -> bool:
    """Tell whether a person may still answer, with the tag HUMAN_AGENT."""
    return last is not None and age(last, now) < HUMAN_AGENT_WINDOW - margin


def age(moment: datetime, now: datetime) -> timedelta:
    """Return how long ago a moment was. Two moments of one zone would be subtracted as its clocks on the wall show."""
    return now.astimezone(UTC) - moment.astimezone(UTC)


def closes_at(last: datetime, margin: timedelta) -> datetime:
    """Return the first moment at which nothing may be sent without a tag or a token any more."""
    return last.astimezone(UTC) + MESSAGING_WINDOW - margin


def closes_for_people_at(last: datetime, margin: timedelta) -> datetime:
    """Return the first moment at which not even a person may answer any more."""
    return last.astimezone(UTC) + HUMAN_AGENT_WINDOW - margin


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of the moments that are known, or None."""
    known = [moment for moment in moments if moment is not None]
    return max(known) if known else None
