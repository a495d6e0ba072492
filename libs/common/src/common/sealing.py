"""Merchants' keys and tokens at rest: sealed with `ENCRYPTION_KEY`, opened only where a call is made.

AES-256-GCM (NIST SP 800-38D) under a key that HKDF-SHA256 (RFC 5869) derives from the configured characters, so that
all of their randomness counts whatever their alphabet. The account and the field are authenticated with the value:
copied to another account or field it does not open. The first key seals, every key opens, so a key is rotated by naming
the new one in front; `jawab secrets rotate` then seals everything again.

Values that were sealed before this format (Fernet, bound to nothing) are read as they are (docs/decisions/0021).
"""

import base64
import binascii
import secrets
from collections.abc import Sequence
from typing import Literal, get_args

from cryptography.exceptions import InvalidTag
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SecretField = Literal["access_token", "manychat_api_key"]

SECRET_FIELDS: tuple[SecretField, ...] = get_args(SecretField)
"""The fields of an account that are sealed."""

KEY_CHARACTERS = 32
PREFIX = "v2."
NONCE_BYTES = 12


class NotOpenable(Exception):
    """What was stored was sealed with a key that is not configured here, for another account, or was altered."""


class Sealer:
    """Seals and opens the secrets of accounts."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Take 32-character ASCII keys, the newest first. Raises ValueError when one is not that."""
        self._ciphers = [_cipher(checked_key(key)) for key in keys]
        self._legacy = MultiFernet([Fernet(base64.urlsafe_b64encode(key.encode())) for key in keys])

    def seal(self, secret: str, account_id: str, field: SecretField) -> str:
        """Return the secret of an account sealed for it, as ASCII text that may be stored."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._ciphers[0].encrypt(nonce, secret.encode(), _bound_to(account_id, field))
        return PREFIX + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, account_id: str, field: SecretField) -> str:
        """Return what was sealed for this account and field. Raises NotOpenable when no configured key fits."""
        opened = self._open(sealed, account_id, field)
        if opened is None:
            raise NotOpenable(
                "a stored key cannot be opened: put the ENCRYPTION_KEY that sealed it behind the new one, "
                "separated by a comma, or enter the merchant's keys again"
            )
        return opened[0]

    def is_current(self, sealed: str, account_id: str, field: SecretField) -> bool:
        """Tell whether the newest key sealed a value, in the present format."""
        opened = self._open(sealed, account_id, field)
        return opened is not None and opened[1] is self._ciphers[0]

    def _open(self, sealed: str, account_id: str, field: SecretField) -> tuple[str, AESGCM | None] | None:
        """Return a secret and the cipher that opened it, None for the former format; None where nothing opens it."""
        if not sealed.startswith(PREFIX):
            try:
                return self._legacy.decrypt(sealed.encode()).decode(), None
            except InvalidToken:
                return None
        try:
            raw = base64.b64decode(sealed.removeprefix(PREFIX), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(
                    raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound_to(account_id, field)
                ).decode(), cipher
            except (InvalidTag, ValueError):
                continue
        return None


def _cipher(key: str) -> AESGCM:
    derived = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"jawab sealed secret v2").derive(key.encode())
    return AESGCM(derived)


def _bound_to(account_id: str, field: SecretField) -> bytes:
    return f"{field}:{account_id}".encode()


def checked_key(key: str) -> str:
    """Return `key` if it is 32 ASCII characters. Raises ValueError with the fix otherwise."""
    if len(key) != KEY_CHARACTERS or not key.isascii():
        raise ValueError(
            f"must be exactly {KEY_CHARACTERS} ASCII characters (several keys separated by commas, the newest first); "
            f"one has {len(key)} characters. Make one: openssl rand -hex 16"
        )
    return key
