"""Whether a body was signed by Meta: HMAC-SHA256 of the raw bytes, against every secret that is live.

The bytes are hashed as they arrived. Meta escapes non-ASCII characters before it signs and is not uniform about slashes
and spacing, so a body that was parsed and written again has another signature. Two apps may sign (Instagram Login signs
with the Instagram app's secret, Facebook Login with the Meta app's), and a secret is rotated by naming both.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from enum import Enum

HEADER = "x-hub-signature-256"
PREFIX = "sha256="
DIGEST = re.compile(r"[0-9a-fA-F]{64}")


class Refusal(Enum):
    """Why a signature is not accepted; each value is a metric label, each detail the line the caller reads."""

    MISSING = "missing"
    NOT_ASCII = "not_ascii"
    NOT_SHA256 = "not_sha256"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"

    @property
    def detail(self) -> str:
        """One line for whoever sent it."""
        return DETAILS[self]


DETAILS = {
    Refusal.MISSING: "X-Hub-Signature-256 is missing: sign the raw body with the app secret (HMAC-SHA256)",
    Refusal.NOT_ASCII: "X-Hub-Signature-256 holds characters outside ASCII: it must be sha256= and 64 hex digits",
    Refusal.NOT_SHA256: "X-Hub-Signature-256 does not begin with sha256=: other algorithms are not accepted",
    Refusal.MALFORMED: "X-Hub-Signature-256 must have exactly 64 hex digits after sha256=",
    Refusal.MISMATCH: "X-Hub-Signature-256 does not fit this body: another app secret, or the body was altered",
}


def claimed(header: str | None) -> bytes | Refusal:
    """Return the digest that a header claims, or why it claims none: known before any of the body is read."""
    if not header:
        return Refusal.MISSING
    if not header.isascii():
        return Refusal.NOT_ASCII
    if not header.startswith(PREFIX):
        return Refusal.NOT_SHA256
    given = header.removeprefix(PREFIX)
    return bytes.fromhex(given) if DIGEST.fullmatch(given) else Refusal.MALFORMED


def refusal(header: str | None, body: bytes, secrets: Sequence[str]) -> Refusal | None:
    """Return why `body` is not proven to come from Meta, or None where it is.

    Every secret is tried, also after one has matched, and each comparison takes constant time. No secrets: refused.
    """
    digest = claimed(header)
    if isinstance(digest, Refusal):
        return digest
    matched = False
    for secret in secrets:
        matched |= hmac.compare_digest(hmac.digest(secret.encode(), body, hashlib.sha256), digest)
    return None if matched else Refusal.MISMATCH


def is_one_of(given: str | None, secrets: Sequence[str]) -> bool:
    """Tell in constant time whether `given` is one of `secrets`; all of them are tried. Any text may be given."""
    matched = False
    for secret in secrets:
        matched |= hmac.compare_digest((given or "").encode(errors="backslashreplace"), secret.encode())
    return matched and bool(given)
