"""The `signed_request` of Meta's data-deletion and deauthorize callbacks.

Another signature than the webhooks': `<signature>.<payload>`, both base64url without padding, HMAC-SHA256 over the
*encoded* payload. The confirmation code is derived from the request, so a repeat answers with the same code, and it
cannot be guessed without the app secret.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from urllib.parse import parse_qs

from common.events.privacy import DeauthorizationReceived, ErasureRequested, PrivacyRequest
from ingest.body import BadBody, json_object
from ingest.notifications.reading import identifier
from ingest.notifications.times import happened, moment

SOURCE = "/ingest/instagram"
MAX_FIELDS = 20
BASE64URL = re.compile(r"[A-Za-z0-9_-]+=*")

Purpose = Literal["data-deletion", "deauthorize"]


class Malformed(Exception):
    """What was sent is no signed request: what is wrong with it."""


class WrongSignature(Exception):
    """No app secret of ours signed it."""


@dataclass(frozen=True)
class SignedRequest:
    """A request whose signature fits. `issued_at` is None when it does not say."""

    user_id: str
    issued_at: datetime | None
    encoded_payload: str
    secret: str

    def code(self, purpose: Purpose) -> str:
        """Return the confirmation code: 32 hex digits."""
        message = f"jawab {purpose} {self.encoded_payload}".encode()
        return hmac.digest(self.secret.encode(), message, hashlib.sha256).hex()[:32]

    def event(
        self, purpose: Purpose, *, received_at: datetime, traceparent: str | None
    ) -> ErasureRequested | DeauthorizationReceived:
        """Return the event that asks for it."""
        code = self.code(purpose)
        event = ErasureRequested if purpose == "data-deletion" else DeauthorizationReceived
        return event(
            id=f"{purpose}:{code}",
            source=SOURCE,
            subject=code,
            partitionkey=code,
            time=happened(self.issued_at, received_at=received_at),
            traceparent=traceparent,
            data=PrivacyRequest(code=code, user_id=self.user_id),
        )


def value_in(raw: bytes, content_type: str) -> str:
    """Return the field `signed_request` of a form or a JSON object. Raises Malformed when there is none."""
    if "json" in content_type:
        try:
            value = json_object(raw).get("signed_request")
        except BadBody as error:
            raise Malformed(error.detail) from None
    else:
        try:
            value = parse_qs(raw.decode(), max_num_fields=MAX_FIELDS).get("signed_request", [None])[0]
        except ValueError:
            raise Malformed("the body is neither a form nor JSON") from None
    if not isinstance(value, str) or not value:
        raise Malformed("signed_request is missing: send it as a form field")
    return value


def opened(value: str, secrets: Sequence[str]) -> SignedRequest:
    """Return what `value` says. Raises Malformed or WrongSignature; every secret is tried, in constant time each."""
    signature_text, dot, payload_text = value.partition(".")
    if not dot:
        raise Malformed("signed_request must be <signature>.<payload>")
    signature, payload = _decoded("signature", signature_text), _decoded("payload", payload_text)
    fitting = None
    for secret in secrets:
        expected = hmac.digest(secret.encode(), payload_text.encode(), hashlib.sha256)
        if hmac.compare_digest(expected, signature):
            fitting = secret
    if fitting is None:
        raise WrongSignature("signed_request is not signed with an app secret configured here")
    try:
        told = json_object(payload)
    except BadBody as error:
        raise Malformed(f"signed_request's payload is no JSON object ({error.reason})") from None
    algorithm = told.get("algorithm")
    if not isinstance(algorithm, str) or algorithm.upper() != "HMAC-SHA256":
        raise Malformed("signed_request's algorithm must be HMAC-SHA256")
    user_id = identifier(told.get("user_id"))
    if user_id is None:
        raise Malformed("signed_request's payload has no user_id")
    return SignedRequest(user_id, moment(told.get("issued_at")), payload_text, fitting)


def _decoded(name: str, part: str) -> bytes:
    if not BASE64URL.fullmatch(part):
        raise Malformed(f"signed_request's {name} is not base64url")
    try:
        return base64.urlsafe_b64decode(part.rstrip("=") + "=" * (-len(part.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        raise Malformed(f"signed_request's {name} is not base64url") from None
