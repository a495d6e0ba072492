"""A person's leave to be written to outside the window: opt-in tokens, each good for one message here.

Source: Meta's Messenger and Instagram Platform documentation, webhook `messaging_optins` of type
`notification_messages`: the token stands in for the recipient of a message until it expires, or until the person stops
the notifications. How often one may be used depends on what the person agreed to, and on rules of Meta's that have
changed twice; one message on each token, until the person gives it anew, is inside all of them.

Which reply uses a token is written before that reply is sent: a second try of it may use the token again, no other
reply may. One that ends, and certainly never was sent, gives it back, unless the platform may have refused the token.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from common.events.interactions import OptInReceived

KIND = "notification_messages"
"""The one kind of opt-in whose token addresses a message over the Instagram API."""

MOST_KEPT = 10
"""Tokens kept of one person, one for each topic they agreed to; the latest stay."""

DOUBTED = frozenset({"bad_request", "no_such_recipient", "person_unavailable", "refused", "window_closed"})
"""Reasons of a refusal for which the token may be to blame. It stays used: a bad one would be chosen again and again,
before the good ones."""


@dataclass(frozen=True)
class OptInToken:
    """A token, when it was given and ends (None: not known), and the reply that uses it."""

    token: str = field(repr=False)
    given_at: datetime
    expires_at: datetime | None = None
    used_by: str | None = None

    def serves(self, reply_id: str, now: datetime, margin: timedelta) -> bool:
        """Tell whether the reply may be sent on this token."""
        lasts = self.expires_at is None or now < self.expires_at - margin
        return lasts and self.used_by in {None, reply_id}


def given(event: OptInReceived) -> OptInToken | None:
    """Return the token an opt-in gave, or None where it gave none that can be used."""
    optin = event.data
    if optin.kind != KIND or optin.stopped or not optin.token:
        return None
    return OptInToken(optin.token, event.time, _moment(optin.expires_at_ms))


def serving(tokens: tuple[OptInToken, ...], reply_id: str, now: datetime, margin: timedelta) -> OptInToken | None:
    """Return the token to send a reply on: the one it uses already, else the one that ends first, or None."""
    fit = [token for token in tokens if token.serves(reply_id, now, margin)]
    return min(fit, key=lambda token: (token.used_by is None, token.expires_at or _NEVER, token.given_at), default=None)


_NEVER = datetime.max.replace(tzinfo=UTC)


def _moment(milliseconds: int | None) -> datetime | None:
    """Return the moment, or None where the platform's number is no moment: then the platform judges."""
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None
