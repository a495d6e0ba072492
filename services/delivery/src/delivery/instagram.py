"""The Instagram Graph API: direct messages, private replies, comments, and reading back what was sent.

Endpoints, bodies and error codes are those of Meta's "Instagram Platform" documentation (Messaging API; Private
replies; Comment moderation; Conversations API). The API has no idempotency key, and Meta documents an error that is
answered although the message was sent: so a send without a clear answer is an unknown outcome and never repeated here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from common.errors import Retryable
from delivery.calls import Answer, NoAnswer, OutsideApi
from delivery.graph_errors import meaning
from delivery.reading import Reading, Shown
from delivery.sending import Sent

MESSAGES_READ = 20
"""The platform shows the details of the 20 most recent messages of a thread, no more."""


class Graph:
    """Calls the Graph API in a merchant's name. Every method but the sends may be repeated freely.

    Methods raise `Retryable`, `Refused` or, for sends, `UnknownOutcome` (`meaning`).
    """

    def __init__(self, api: OutsideApi) -> None:
        self._api = api

    async def direct_message(self, token: str, account: str, contact: str, text: str) -> Sent:
        """Send a text into the person's thread."""
        return await self._message(token, account, {"id": contact}, text, "direct_message")

    async def private_reply(self, token: str, account: str, comment: str, text: str) -> Sent:
        """Answer a comment by a direct message: once per comment, within 7 days of it."""
        return await self._message(token, account, {"comment_id": comment}, text, "private_reply")

    async def _message(self, token: str, account: str, recipient: dict[str, str], text: str, name: str) -> Sent:
        answer = await self._api.call(
            "POST",
            f"/{_segment(account)}/messages",
            name=name,
            token=token,
            body={"recipient": recipient, "messaging_type": "RESPONSE", "message": {"text": text}},
        )
        return _sent(answer, "message_id")

    async def comment_reply(self, token: str, comment: str, text: str) -> Sent:
        """Answer publicly under a top-level comment."""
        answer = await self._api.call(
            "POST", f"/{_segment(comment)}/replies", name="comment_reply", token=token, body={"message": text}
        )
        return _sent(answer, "id")

    async def hide_comment(self, token: str, comment: str, *, hidden: bool) -> Sent:
        """Hide a comment, or show it again."""
        answer = await self._api.call(
            "POST",
            f"/{_segment(comment)}",
            name="hide_comment",
            token=token,
            params={"hide": "true" if hidden else "false"},
        )
        _succeeded(answer)
        return Sent()

    async def typing(self, token: str, account: str, contact: str, *, on: bool) -> Sent:
        """Show or end the typing indicator; the platform ends it by itself after about 20 seconds."""
        answer = await self._api.call(
            "POST",
            f"/{_segment(account)}/messages",
            name="typing",
            token=token,
            body={"recipient": {"id": contact}, "sender_action": "typing_on" if on else "typing_off"},
        )
        _succeeded(answer)
        return Sent()

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read the latest messages of a person's thread. The platform allows two such reads a second per account."""
        answer = await self._api.call(
            "GET",
            f"/{_segment(account)}/conversations",
            name="read_conversation",
            token=token,
            params={
                "platform": "instagram",
                "user_id": contact,
                "fields": f"messages.limit({MESSAGES_READ}){{id,created_time,from,message}}",
            },
        )
        fields = _succeeded(answer)
        threads = fields.get("data")
        if not isinstance(threads, list):
            raise Retryable("Graph API: a list of conversations was expected")
        if not threads:
            return Reading((), complete=True)
        messages = threads[0].get("messages") if isinstance(threads[0], dict) else None
        return _reading(messages, account, text="message", time="created_time")

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment."""
        answer = await self._api.call(
            "GET",
            f"/{_segment(comment)}/replies",
            name="read_comment_replies",
            token=token,
            params={"fields": "id,text,timestamp,from"},
        )
        return _reading(_succeeded(answer), account, text="text", time="timestamp")


def _segment(identifier: str) -> str:
    """Return an id as one segment of a path, whatever characters a webhook put into it."""
    return quote(identifier, safe="")


def _succeeded(answer: Answer | NoAnswer) -> Mapping[str, Any]:
    if (
        isinstance(answer, Answer)
        and answer.succeeded
        and isinstance(answer.body, dict)
        and "error" not in answer.fields
    ):
        return answer.fields
    raise meaning(answer, repeatable=True)


def _sent(answer: Answer | NoAnswer, id_field: str) -> Sent:
    if isinstance(answer, Answer) and answer.succeeded and "error" not in answer.fields:
        message_id = answer.fields.get(id_field)
        if message_id:
            return Sent(str(message_id))
    raise meaning(answer, repeatable=False)


def _reading(listing: object, account: str, *, text: str, time: str) -> Reading:
    """Read a page of messages or comments. Raises Retryable where it is none: then nothing is proven."""
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, list) or not isinstance(listing, dict):
        raise Retryable("Graph API: a page of messages was expected")
    paging = listing.get("paging")
    more = isinstance(paging, dict) and "next" in paging
    shown = tuple(_shown(item, account, text, time) for item in data if isinstance(item, dict))
    return Reading(shown, complete=not more and len(shown) == len(data) < MESSAGES_READ)


def _shown(item: Mapping[str, Any], account: str, text: str, time: str) -> Shown:
    sender = item.get("from")
    written = item.get(text)
    return Shown(
        id=str(item.get("id", "")),
        text=written if isinstance(written, str) else None,
        # A sender that is left out may be the account: taking it for a stranger could prove an absence that is none.
        from_account=not isinstance(sender, dict) or str(sender.get("id", account)) == account,
        at=_moment(item.get(time)),
    )


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)
