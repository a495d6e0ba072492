"""Sign bodies the way Meta does, so that what we send is refused or accepted for the platform's own reasons.

This is a second, independent implementation on purpose: it shares no code with the service that verifies, so
a mistake made in one is caught by the other. Two signatures exist and they differ:

* webhooks carry ``X-Hub-Signature-256``, an HMAC-SHA256 of the raw request body;
* the data-deletion and deauthorize callbacks carry a form field ``signed_request``, an HMAC-SHA256 of the
  *encoded* payload, both halves base64url without padding.

The platform escapes every non-ASCII character as ``\\uXXXX`` in lower-case hex before it signs, astral
characters as a surrogate pair. Slashes and spacing are not uniform between its products, so both are
options here.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Literal

Style = Literal["compact", "spaced"]

SIGNATURE_HEADER = "X-Hub-Signature-256"
LEGACY_SIGNATURE_HEADER = "X-Hub-Signature"


def serialise(body: Any, *, style: Style = "compact", escape_slashes: bool = False) -> bytes:
    """Return `body` as JSON bytes in pure ASCII, escaped as the platform escapes it.

    `style` is ``compact`` (no blanks) or ``spaced`` (one blank after each comma and colon).
    `escape_slashes` writes ``/`` as ``\\/``, as PHP's encoder does.
    """
    separators = (",", ":") if style == "compact" else (", ", ": ")
    text = json.dumps(body, ensure_ascii=True, allow_nan=False, separators=separators)
    if escape_slashes:
        text = text.replace("/", "\\/")
    return text.encode("ascii")


def sign(body: bytes, secret: str) -> str:
    """Return the value of ``X-Hub-Signature-256`` for these exact bytes."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def sign_legacy(body: bytes, secret: str) -> str:
    """Return the value of the withdrawn ``X-Hub-Signature`` (SHA-1), for showing that it is not enough."""
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def signed_headers(body: bytes, secret: str) -> dict[str, str]:
    """Return the headers of a webhook delivery of `body`."""
    return {"Content-Type": "application/json", SIGNATURE_HEADER: sign(body, secret)}


def signed_request(payload: Mapping[str, Any], secret: str) -> str:
    """Return the ``signed_request`` form value: ``<signature>.<payload>``, each base64url without padding.

    The platform's payloads are ``{"user_id", "algorithm": "HMAC-SHA256", "issued_at"}``; what is passed is
    encoded as it is, so that a wrong algorithm or a missing user can be tried too.
    """
    encoded = _base64url(serialise(payload, escape_slashes=True))
    signature = hmac.new(secret.encode(), encoded.encode("ascii"), hashlib.sha256).digest()
    return f"{_base64url(signature)}.{encoded}"


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
