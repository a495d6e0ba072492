"""Ids that are derived, never drawn: the same thing seen twice has the same id, in any process, on any day.

An interaction's id comes from what the platform sent, so a redelivered webhook is recognised for as long as anybody
remembers the id. A decision's id comes from the interactions it answers, a reply's id from its decision.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

NOBODY = "-"
"""Stands for the contact where an event belongs to an account as a whole."""


def conversation_id(account_id: str, contact_id: str | None) -> str:
    """Return the id of the conversation of one contact with one account: also the Kafka key of all its records."""
    return f"{account_id}:{contact_id or NOBODY}"


def interaction_id(account_id: str, *parts: str | int | None) -> str:
    """Return the id of an interaction from what identifies it at the platform, e.g. `("msg", mid)`.

    Prefixed with the account because the platform does not promise that a `mid` is unique across accounts.
    """
    return ":".join([account_id, *("" if part is None else str(part) for part in parts)])


def fingerprint(item: Mapping[str, Any] | list[Any] | str | float | None) -> str:
    """Return 32 hex digits that are the same for the same JSON value, whatever the order of its keys."""
    canonical = json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


USERNAME_CONTACT = "un_"
"""How the contact begins who is known by a username alone. Instagram's ids are digits, so no id looks like one."""


def contact_of_username(account_id: str, username: str) -> str:
    """Return the contact of a comment that names its author by username alone, the same whenever they comment.

    A hash, because conversation ids are keys of records and stand in logs. To find what is stored about a username, to
    export or to erase it, compute this id.
    """
    return USERNAME_CONTACT + fingerprint(["username", account_id, same_username(username)])


def same_username(username: str) -> str:
    """Return a username as usernames are compared: without @ and blanks, in lower case."""
    return username.strip().removeprefix("@").casefold()


def decision_id(conversation: str, trigger_id: str) -> str:
    """Return the id of the decision that the interaction `trigger_id` starts in `conversation`."""
    return "dec_" + fingerprint([conversation, trigger_id])


def reply_id(decision: str, index: int) -> str:
    """Return the id of the reply number `index` (from 0) of a decision."""
    return "rep_" + fingerprint([decision, index])


def outcome_id(reply: str, outcome: str) -> str:
    """Return the id of the event that says that `outcome` became of a reply."""
    return f"out_{reply}:{outcome}"
