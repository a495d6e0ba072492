"""The accounts in a merchant's stored document, which need not be valid: what must go must not wait for its mending."""

from typing import Any


def accounts_in(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the accounts of a stored merchant, the main one first; it need not be valid otherwise."""
    others = document.get("other_accounts")
    listed = [document, *(others if isinstance(others, list) else [])]
    return [one for one in listed if isinstance(one, dict) and isinstance(one.get("account_id"), str)]
