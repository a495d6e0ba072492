"""What a record's key says. It is a conversation: `account:contact`."""

MAX_ACCOUNT = 64
"""Bytes of an account that are told apart: an id has 32 digits at most, and a foreign key may be megabytes long."""


def account_of(key: bytes | None) -> bytes:
    """Return the account whose conversation a record belongs to; empty where there is no key."""
    return (key or b"").partition(b":")[0][:MAX_ACCOUNT]
