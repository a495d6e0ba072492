"""ManyChat's public API: sending into a subscriber's Instagram thread, and finding and marking the subscriber.

What each action is as a request stands in `manychat_requests`. ManyChat has no idempotency key and tells no message id:
the echo's `mid` is matched by content and time instead.
"""

from common.bounds import digits_of, int64_of
from common.events.replies import Action
from delivery.platforms.calls import Answer, NoAnswer, OutsideApi
from delivery.platforms.manychat_errors import meaning
from delivery.platforms.manychat_requests import ManyChatRequest, request_of, set_field_request
from delivery.platforms.sending import Sent


class ManyChat:
    """Calls ManyChat with a page's key. Methods raise `Retryable`, `Refused` or, for sends, `UnknownOutcome`."""

    def __init__(self, api: OutsideApi) -> None:
        self._api = api

    async def send_to_subscriber(self, key: str, subscriber: int, action: Action, tag: str | None = None) -> Sent:
        """Do what an action says, for a subscriber; `tag` allows content outside the 24-hour window."""
        await self._post(key, request_of(action, subscriber, tag))
        return Sent()

    async def set_field(self, key: str, subscriber: int, field_id: int, value: str) -> None:
        """Write a custom field of a subscriber; doing it again changes nothing."""
        await self._post(key, set_field_request(subscriber, field_id, value))

    async def find_subscriber(self, key: str, field_id: int, contact: str) -> int | None:
        """Return the subscriber whose custom field `field_id` holds the person's Instagram-scoped id, or None."""
        answer = await self._api.call(
            "GET",
            "/fb/subscriber/findByCustomField",
            name="find_subscriber",
            token=key,
            params={"field_id": str(field_id), "field_value": contact},
        )
        if not _is_success(answer):
            raise meaning(answer, repeatable=True)
        found = answer.fields.get("data") if isinstance(answer, Answer) else None
        for one in found if isinstance(found, list) else []:
            number = int64_of(digits_of(one.get("id"))) if isinstance(one, dict) else None
            if number is not None:
                return number
        return None

    async def _post(self, key: str, request: ManyChatRequest) -> None:
        answer = await self._api.call("POST", request.path, name=request.name, token=key, body=request.body)
        if not _is_success(answer):
            raise meaning(answer, repeatable=request.repeatable)


def _is_success(answer: Answer | NoAnswer) -> bool:
    return isinstance(answer, Answer) and answer.succeeded and answer.fields.get("status") == "success"
