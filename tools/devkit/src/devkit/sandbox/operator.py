"""The operator's inbox: where delivery posts what a person has to see."""

from typing import Any

from devkit.sandbox.calls import Answer, Call, Request
from devkit.sandbox.faults import FaultRule

NOTIFICATIONS = "/notifications"
CREATED = 201


class OperatorRoom:
    """Accept any JSON notification; the journal is where it is read."""

    api = "operator"

    def describe(self, request: Request) -> Call:
        """Find account, contact and words among the usual names of such a body."""
        fields = request.fields
        return Call(
            self.api,
            "notification" if request.path == NOTIFICATIONS else "unknown",
            request,
            account=_first(fields, "account", "account_id", "merchant_id"),
            contact=_first(fields, "contact", "contact_id"),
            text=_first(fields, "text", "message", "reason", "title"),
        )

    def perform(self, call: Call) -> Answer:
        """Take a notification."""
        if call.kind != "notification" or call.request.method != "POST":
            return Answer(404, {"error": "POST /operator/notifications is all there is"}, error="404")
        if not call.request.fields:
            return Answer(400, {"error": call.request.invalid or "the body must be an object"}, error="400")
        return Answer(CREATED, {"status": "received"}, effect=True)

    def fail(self, call: Call, fault: FaultRule) -> Answer:  # noqa: ARG002 - every room has this signature
        """Give the ordered status in a plain shape."""
        status = fault.status or (429 if fault.behaviour == "rate_limited" else 500)
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        return Answer(status, {"error": fault.message or "out of order"}, headers, error=str(status))


def _first(fields: dict[str, Any], *names: str) -> str:
    return next((str(fields[name]) for name in names if fields.get(name)), "")
