"""ManyChat's public API: sending into a subscriber's Instagram thread, and finding the subscriber.

Endpoints and answers are those of ManyChat's published Swagger file (https://api.manychat.com/swagger). It has no
idempotency key, tells no message id (the echo's `mid` is matched by text and time instead), and may say "error" in the
body of a 200: the body's `status` decides, not only HTTP.
"""

from typing import Any

from delivery.calls import Answer, OutsideApi
from delivery.manychat_errors import meaning
from delivery.sending import Sent


class ManyChat:
    """Calls ManyChat with a page's key. Methods raise `Retryable`, `Refused` or, for sends, `UnknownOutcome`."""

    def __init__(self, api: OutsideApi) -> None:
        self._api = api

    async def send_text(self, key: str, subscriber: int, text: str, tag: str | None = None) -> Sent:
        """Send a text into the subscriber's Instagram thread; `tag` allows it outside the 24-hour window."""
        body: dict[str, Any] = {
            "subscriber_id": subscriber,
            "data": {
                "version": "v2",
                # Without its type the content would go to Messenger.
                "content": {"type": "instagram", "messages": [{"type": "text", "text": text}]},
            },
        }
        if tag:
            body["message_tag"] = tag
        answer = await self._api.call("POST", "/fb/sending/sendContent", name="send_content", token=key, body=body)
        if isinstance(answer, Answer) and answer.succeeded and answer.fields.get("status") == "success":
            return Sent()
        raise meaning(answer, repeatable=False)

    async def find_subscriber(self, key: str, field_id: int, contact: str) -> int | None:
        """Return the subscriber whose custom field `field_id` holds the person's Instagram-scoped id, or None."""
        answer = await self._api.call(
            "GET",
            "/fb/subscriber/findByCustomField",
            name="find_subscriber",
            token=key,
            params={"field_id": str(field_id), "field_value": contact},
        )
        if not (isinstance(answer, Answer) and answer.succeeded and answer.fields.get("status") == "success"):
            raise meaning(answer, repeatable=True)
        found = answer.fields.get("data")
        for one in found if isinstance(found, list) else []:
            number = str(one.get("id", "")) if isinstance(one, dict) else ""
            if number.isascii() and number.isdigit():
                return int(number)
        return None
