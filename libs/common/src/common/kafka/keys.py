"""What a record's key says. It is a conversation: `account:contact`."""


def account_of(key: bytes | None) -> bytes:
    """Return the account whose conversation a record belongs to; empty where there is no key."""
    return (key or b"").partition(b":")[0]
