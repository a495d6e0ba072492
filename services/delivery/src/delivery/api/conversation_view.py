"""A conversation as its merchant's people see it: who answers, until when the window is open, what may be sent now.

Pure: the answers are those that the same rules would give to a reply of this moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from common.events.replies import DirectMessage, Origin, Reply
from common.merchants import Merchant
from delivery.contacts import Contact
from delivery.rules import policy, window
from delivery.rules.policy import Allow, Withhold

SPEAKERS: Mapping[str, Origin] = {"bot": "model", "program": "api", "person": "human"}
"""Who may want to write, and the origin by which the rules know them."""


@dataclass(frozen=True)
class View:
    """What is known of a conversation at `now`. `margin` is the window's."""

    merchant: Merchant
    contact: Contact
    now: datetime
    margin: timedelta

    def verdict(self, origin: Origin) -> Allow | Withhold:
        """Return what the rules say of a text from this origin now."""
        account, _, contact = self.contact.conversation_id.partition(":")
        text = Reply(
            reply_id="",
            merchant_id=self.merchant.id,
            account_id=account,
            contact_id=contact,
            origin=origin,
            action=DirectMessage(text="a text"),
        )
        return self.verdict_on(text)

    def verdict_on(self, reply: Reply) -> Allow | Withhold:
        """Return what the rules say of a reply in this conversation now."""
        return policy.judge(
            reply,
            decided_at=self.now,
            contact=self.contact,
            now=self.now,
            margin=self.margin,
            human_agent=self.merchant.human_agent,
        )


def described(view: View) -> dict[str, Any]:
    """Return a conversation as the API shows it."""
    contact, last = view.contact, view.contact.last_customer_at
    account_id, _, contact_id = contact.conversation_id.partition(":")
    with_person = contact.is_with_somebody(view.now)
    people_until = window.closes_for_people_at(last, view.margin) if last and view.merchant.human_agent else None
    return {
        "conversationId": contact.conversation_id,
        "accountId": account_id,
        "contactId": contact_id,
        "answeredBy": "person" if with_person else "bot",
        "takenOverBy": contact.owner_by if with_person else None,
        "since": _written(contact.owner_since) if with_person else None,
        "until": _written(contact.owner_until) if with_person else None,
        "window": {
            "open": window.is_open(last, view.now, view.margin),
            "lastCustomerAt": _written(last),
            "openUntil": _written(window.closes_at(last, view.margin) if last else None),
            "openForPeopleUntil": _written(people_until),
        },
        "maySend": {who: _told(view.verdict(origin)) for who, origin in SPEAKERS.items()},
    }


def _told(verdict: Allow | Withhold) -> dict[str, Any]:
    if isinstance(verdict, Withhold):
        return {"allowed": False, "how": None, "reason": verdict.reason, "detail": verdict.detail}
    how = "human_agent" if verdict.human_agent else "opt_in" if verdict.opt_in_token is not None else "response"
    return {"allowed": True, "how": how, "reason": None, "detail": None}


def _written(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
