"""The words every room shares: a request as it came, the call it is understood as, the answer it gets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import HTTP
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl

from devkit.updates import Update

if TYPE_CHECKING:
    from devkit.sandbox.faults import FaultRule


@dataclass(frozen=True, slots=True)
class Upload:
    """A file in a form."""

    filename: str
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; `body` is its JSON or form, None when there is none, `invalid` says why it has none."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None
    invalid: str = ""

    @property
    def bearer(self) -> str:
        """The bearer token, empty when there is none."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def fields(self) -> dict[str, Any]:
        """The body when it is an object, else nothing."""
        return self.body if isinstance(self.body, dict) else {}

    @property
    def written_down(self) -> Any:
        """The body as the journal keeps it: of files only what they are."""
        if not any(isinstance(value, Upload) for value in self.fields.values()):
            return self.body
        return {
            name: {"filename": value.filename, "media_type": value.media_type, "bytes": len(value.content)}
            if isinstance(value, Upload)
            else value
            for name, value in self.fields.items()
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """Query and body together, as the Graph API takes them; the body wins."""
        return {**self.query, **self.fields}


@dataclass(frozen=True, slots=True)
class Call:
    """A request, understood: what kind of act it is and whom it concerns (empty where nobody)."""

    api: str
    kind: str
    request: Request
    account: str = ""
    contact: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is told, and what happened in the world because of the call."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    effect: bool = False
    error: str = ""
    """The provider's own code of the refusal, e.g. ``10/2534022``; empty on success."""
    message_id: str = ""
    contact: str = ""
    """Whom it reached, where only the room could know."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    updates: tuple[Update, ...] = ()
    """What the platform tells its webhooks because of it."""


class Room(Protocol):
    """One outside party. Nothing here waits: a call is understood, then done in one step."""

    api: str

    def describe(self, request: Request) -> Call:
        """Say what kind of act the request is and whom it concerns, changing nothing."""
        ...

    def perform(self, call: Call) -> Answer:
        """Do it, or refuse it, as the real party would."""
        ...

    def fail(self, call: Call, fault: "FaultRule") -> Answer:
        """Give the ordered failure in the party's own shape, changing nothing."""
        ...


def parse_request(method: str, path: str, query: bytes, headers: Mapping[str, str], raw: bytes) -> Request:
    """Read a request's JSON or form body; a body that is neither is kept as the reason in `invalid`."""
    body: Any = None
    invalid = ""
    if raw:
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            body = {key: _loosely(value) for key, value in parse_qsl(raw.decode("utf-8", "replace"))}
        elif headers.get("content-type", "").startswith("multipart/form-data"):
            body = _form(headers["content-type"], raw)
        else:
            try:
                body = json.loads(raw)
            except (ValueError, RecursionError) as error:
                invalid = f"the body is not JSON: {error}"
    pairs = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    return Request(method, path, pairs, headers, body, invalid)


def _form(content_type: str, raw: bytes) -> dict[str, Any]:
    """Read a form with files; what is no part of one is left out."""
    message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + raw, policy=HTTP)
    found: dict[str, Any] = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if not isinstance(name, str) or not isinstance(content, bytes):
            continue
        filename = part.get_filename()
        found[name] = (
            Upload(filename, part.get_content_type(), content) if filename else content.decode("utf-8", "replace")
        )
    return found


def _loosely(value: str) -> Any:
    """Graph takes objects inside form fields as JSON text."""
    if value[:1] in {"{", "["}:
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
