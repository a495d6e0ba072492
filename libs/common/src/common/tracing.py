"""W3C Trace Context: one trace from a webhook to the delivered reply, carried in each event's `traceparent`."""

import re
import secrets

TRACEPARENT = re.compile(r"^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$")


def new_traceparent() -> str:
    """Return a traceparent that begins a sampled trace."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def continued(traceparent: str | None) -> str:
    """Return a traceparent for the next step of the same trace; a new trace where there is none, or not a valid one."""
    if traceparent is None or not TRACEPARENT.match(traceparent):
        return new_traceparent()
    return f"{traceparent[:36]}{secrets.token_hex(8)}-{traceparent[-2:]}"
