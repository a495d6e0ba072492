"""Merchants' keys and tokens at rest: sealed with `ENCRYPTION_KEY`, opened only where a call is made.

Fernet (AES-128-CBC with HMAC-SHA256) through `MultiFernet`: the first key seals, every key opens, so a key is rotated
by putting the new one in front.
"""

import base64
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

KEY_CHARACTERS = 32


class NotOpenable(Exception):
    """What was stored was sealed with a key that is not configured here, or was altered."""


class Sealer:
    """Seals and opens short secrets."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take 32-character ASCII keys, the newest first. Raises ValueError when one is not that."""
        self._fernet = MultiFernet([Fernet(base64.urlsafe_b64encode(checked_key(key).encode())) for key in keys])

    def seal(self, secret: str) -> str:
        """Return `secret` sealed, as ASCII text that may be stored."""
        return self._fernet.encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return what was sealed. Raises NotOpenable when no configured key fits."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise NotOpenable(
                "a stored key cannot be opened: put the ENCRYPTION_KEY that sealed it behind the new one, "
                "separated by a comma, or enter the merchant's keys again"
            ) from None


def checked_key(key: str) -> str:
    """Return `key` if it is 32 ASCII characters. Raises ValueError with the fix otherwise."""
    if len(key) != KEY_CHARACTERS or not key.isascii():
        raise ValueError(
            f"must be exactly {KEY_CHARACTERS} ASCII characters (several keys separated by commas, the newest first); "
            f"one has {len(key)} characters. Make one: openssl rand -hex 16"
        )
    return key
