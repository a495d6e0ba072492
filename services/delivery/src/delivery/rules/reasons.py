"""What a merchant reads when a reply was not sent: since when, what is still allowed, and what to do. Pure.

The stable codes beside these sentences are for programs; `docs/rules.md` lists both.
"""

from datetime import datetime, timedelta

from delivery.rules import window

OWN_ACCOUNT = "This is the account itself, not a customer. Nothing is sent to it: it would answer itself without end."
HUMAN_AGENT_TAG = (
    "The tag HUMAN_AGENT is only for what a person writes; Meta blocks accounts whose bot or program uses it. Leave "
    "the tag out, or let a person answer: POST /api/conversations/{merchant}/{contact}/reply."
)
COMMENT_LIVE = (
    "Comments under a live broadcast cannot be answered publicly. "
    "While it is live, each can be answered privately, once."
)
COMMENT_HIDDEN = (
    "The comment was hidden or deleted here, and Instagram takes no answers to such comments. Show it again first."
)
WRITE_IN_APP = "You can write to them in the Instagram app at any time; from here only once they write again."


def human_owns(until: datetime | None) -> str:
    """Return the sentence about a bot that keeps silent because a person answers."""
    end = f" until {told(until)}" if until is not None else ""
    return f"A person answers this conversation{end}; release it, and Jawab answers again."


def comment_too_old(within: timedelta) -> str:
    """Return the sentence about a comment that can be answered privately only for so long."""
    if within < timedelta(days=1):
        return "A comment under a live broadcast can be answered privately only while it is live, and that has ended."
    return f"A comment can be answered privately for {within.days} days, and this one is older. Answer it publicly."


def comment_too_old_for_the_public(within: timedelta) -> str:
    """Return the sentence about a comment that is too old for an automatic public answer."""
    return f"The comment is older than {within.days} days; Jawab answers none so late. Answer it in the Instagram app."


def window_closed(
    last: datetime | None, now: datetime, margin: timedelta, *, by_person: bool, human_agent: bool
) -> str:
    """Return the sentences about a messaging window that is closed, for a reply that may use no way around it."""
    if last is None:
        return (
            "Instagram allows messages for 24 hours after a customer wrote, and it is not known that this one ever "
            f"did. {WRITE_IN_APP}"
        )
    until = told(window.closes_at(last, margin))
    closed = f"The customer last wrote at {told(last)}; Instagram's 24 hours allowed messages until {until}."
    people_until = window.closes_for_people_at(last, margin)
    if now >= people_until:
        week = f" The 7 days in which a person may answer ended at {told(people_until)}." if human_agent else ""
        return f"{closed}{week} {WRITE_IN_APP}"
    if not human_agent:
        return (
            f"{closed} A person could answer here until {told(people_until)} if Meta had given the app the Human Agent "
            f"feature (the merchant's `human_agent`). {WRITE_IN_APP}"
        )
    if by_person:
        return f"{closed} Until {told(people_until)} a person may send texts, media and cards, not this. {WRITE_IN_APP}"
    return (
        f"{closed} Until {told(people_until)} a person may still answer, in the Instagram app or by "
        "POST /api/conversations/{merchant}/{contact}/reply."
    )


def window_refused_early(last: datetime) -> str:
    """Return the sentences about a platform that calls the window closed although the customer wrote lately."""
    return (
        f"Instagram says that its 24 hours are over, although the customer wrote at {told(last)}. It may count another "
        f"conversation, or an account that was connected after that message. {WRITE_IN_APP}"
    )


def no_route_for(*, human_agent: bool, tagged: bool) -> str:
    """Return the sentence about a way around the closed window that none of the merchant's routes can go."""
    if tagged:
        return "The window is closed. ManyChat could send this with its message tag: no subscriber is known, or no key."
    means = "as a person's answer" if human_agent else "on the customer's opt-in"
    return f"The window is closed. The Graph API could send this {means}: give the account an access token."


def told(moment: datetime) -> str:
    """Return a moment as people read it, to the minute, in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
