"""What a record's key says. It is a conversation: `account:contact`."""

import re

MAX_ACCOUNT = 64
"""Bytes of an account that are told apart: an id has 32 digits at most, and a foreign key may be megabytes long."""


def account_of(key: bytes | None) -> bytes:
    """Return the account whose conversation a record belongs to; empty where there is no key."""
    return (key or b"").partition(b":")[0][:MAX_ACCOUNT]


_CONVERSATION = re.compile(rb"[0-9]{1,32}:[!-~]{1,128}")
"""An account's id and a contact's, as ingest bounds them; a foreign key may be anything, and megabytes long."""


def conversation_of(key: bytes | None) -> str | None:
    """Return the conversation that a key names; None where it names none, and must be neither stored nor logged."""
    return key.decode("ascii") if key is not None and _CONVERSATION.fullmatch(key) else None
