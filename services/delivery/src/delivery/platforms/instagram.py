"""The Instagram Graph API: every send of the catalogue, and reading back what was sent.

What each action is as a request stands in `graph_requests`. The API has no idempotency key, and Meta documents an error
that is answered although the message was sent: so a send without a clear answer is an unknown outcome and never
repeated here. Reading follows Meta's "Conversations API" and "Comment moderation".
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from common.errors import Retryable
from common.events.interactions import Attachment
from common.events.replies import Action
from common.graph_accounts import proof_of
from delivery.platforms.calls import Answer, NoAnswer, OutsideApi
from delivery.platforms.graph_errors import meaning
from delivery.platforms.graph_requests import NORMAL, GraphRequest, Manner, request_of, segment
from delivery.platforms.reading import Reading, ReadMessage, Shown
from delivery.platforms.sending import Sent

MESSAGES_READ = 20
"""The platform shows the details of the 20 most recent messages of a thread, no more."""

MESSAGE_FIELDS = "id,created_time,from,message,attachments,shares"

SHOWN_AS: Mapping[str, str] = {
    "image_data": "image",
    "video_data": "video",
    "audio_data": "audio",
    "generic_template": "template",
    "file_url": "file",
}
"""By which field of an attachment a thread that is read tells what it is."""


MEDIA_DATA = ("image_data", "video_data", "audio_data")

MAX_ATTACHMENTS = 100
"""The platform allows ten."""


class Graph:
    """Calls the Graph API in a merchant's name; `app_secret`, where it is given, signs every call.

    The `appsecret_proof` shows that a call comes from who holds the app, and not from a thief of tokens (Meta,
    "Securing Graph API Requests").

    Methods raise `Retryable`, `Refused` or, for sends, `UnknownOutcome` (`graph_errors.meaning`).
    """

    def __init__(self, api: OutsideApi, *, app_secret: str | None = None) -> None:
        self._api = api
        self._app_secret = app_secret

    async def send(self, token: str, account: str, contact: str, action: Action, manner: Manner = NORMAL) -> Sent:
        """Do what an action says, in one call; `contact` is "" where it goes to nobody."""
        request = request_of(action, account, contact, manner)
        answer = await self._call(token, request)
        if request.names is not None:
            return _sent(answer, request.names)
        _succeeded(answer)
        return Sent()

    async def conversation(self, token: str, account: str, contact: str) -> Reading:
        """Read the latest messages of a person's thread. The platform allows two such reads a second per account."""
        asked = {
            "platform": "instagram",
            "user_id": contact,
            "fields": f"messages.limit({MESSAGES_READ}){{{MESSAGE_FIELDS}}}",
        }
        path = f"/{segment(account)}/conversations"
        fields = _succeeded(await self._call(token, GraphRequest("read_conversation", "GET", path, params=asked)))
        threads = fields.get("data")
        if not isinstance(threads, list):
            raise Retryable("Graph API: a list of conversations was expected")
        if not threads:
            return Reading((), complete=True)
        messages = threads[0].get("messages") if isinstance(threads[0], dict) else None
        # Two write into a thread: whatever the customer did not write is ours, under whichever id it is listed.
        return _reading(messages, lambda author: author != contact, text="message", time="created_time")

    async def message(self, token: str, mid: str) -> ReadMessage:
        """Read one message by its id (Meta, "Conversations API": information about a message)."""
        request = GraphRequest("read_message", "GET", f"/{segment(mid)}", params={"fields": MESSAGE_FIELDS})
        return read_message(_succeeded(await self._call(token, request)))

    async def comment_replies(self, token: str, account: str, comment: str) -> Reading:
        """Read the answers under a comment. The account's own may be listed under another id (`reading.Author`)."""
        asked = {"fields": "id,text,timestamp,from,username"}
        request = GraphRequest("read_comment_replies", "GET", f"/{segment(comment)}/replies", params=asked)
        answer = _succeeded(await self._call(token, request))
        return _reading(answer, lambda author: author == account, text="text", time="timestamp")

    async def _call(self, token: str, request: GraphRequest) -> Answer | NoAnswer:
        params = dict(request.params or {})
        if self._app_secret:
            params["appsecret_proof"] = proof_of(self._app_secret, token)
        return await self._api.call(
            request.method, request.path, name=request.name, token=token, params=params or None, body=request.body
        )


def _succeeded(answer: Answer | NoAnswer) -> Mapping[str, Any]:
    if (
        isinstance(answer, Answer)
        and answer.succeeded
        and isinstance(answer.body, dict)
        and "error" not in answer.fields
        and answer.fields.get("success") is not False
    ):
        return answer.fields
    raise meaning(answer, repeatable=True)


def _sent(answer: Answer | NoAnswer, id_field: str) -> Sent:
    if isinstance(answer, Answer) and answer.succeeded and "error" not in answer.fields:
        message_id = answer.fields.get(id_field)
        if message_id:
            return Sent(str(message_id))
    raise meaning(answer, repeatable=False)


def read_message(fields: Mapping[str, Any]) -> ReadMessage:
    """Return the words and the media of a message that was read. Raises Retryable where it is none."""
    if not fields.get("id"):
        raise Retryable("Graph API: a message was expected")
    text = fields.get("message")
    media = tuple(
        Attachment(type=_kind(one), url=_link(one))
        for one in _listed(fields.get("attachments"))
        if isinstance(one, dict)
    )
    shares = tuple(
        Attachment(type="share", url=_link(one)) for one in _listed(fields.get("shares")) if isinstance(one, dict)
    )
    return ReadMessage(text if isinstance(text, str) and text.strip() else None, (media + shares)[:MAX_ATTACHMENTS])


def _link(attachment: Mapping[str, Any]) -> str | None:
    """Return where an attachment can be fetched, if the platform says so."""
    parts = (attachment.get(name) for name in MEDIA_DATA)
    data: Mapping[str, Any] = next((part for part in parts if isinstance(part, dict)), {})
    links = (data.get("url"), attachment.get("file_url"), attachment.get("link"))
    return next((link for link in links if isinstance(link, str) and link), None)


def _reading(listing: object, is_ours: Callable[[str], bool], *, text: str, time: str) -> Reading:
    """Read a page of messages or comments. Raises Retryable where it is none: then nothing is proven."""
    data = listing.get("data") if isinstance(listing, dict) else None
    if not isinstance(data, list) or not isinstance(listing, dict):
        raise Retryable("Graph API: a page of messages was expected")
    paging = listing.get("paging")
    more = isinstance(paging, dict) and "next" in paging
    shown = tuple(_shown(item, is_ours, text, time) for item in data if isinstance(item, dict))
    return Reading(shown, complete=not more and len(shown) == len(data) < MESSAGES_READ)


def _shown(item: Mapping[str, Any], is_ours: Callable[[str], bool], text: str, time: str) -> Shown:
    sender = item.get("from")
    sender = sender if isinstance(sender, dict) else {}
    author = str(sender.get("id") or "")
    username = sender.get("username") or item.get("username")
    written = item.get(text)
    return Shown(
        id=str(item.get("id", "")),
        text=written if isinstance(written, str) else None,
        # A sender that is left out may be the account: taking it for a stranger could prove an absence that is none.
        from_account=not author or is_ours(author),
        at=_moment(item.get(time)),
        kinds=(*map(_kind, _listed(item.get("attachments"))), *("share" for _ in _listed(item.get("shares")))),
        author_id=author,
        username=username if isinstance(username, str) else "",
    )


def _listed(edge: object) -> list[Any]:
    data = edge.get("data") if isinstance(edge, dict) else None
    return data if isinstance(data, list) else []


def _kind(attachment: object) -> str:
    if not isinstance(attachment, dict):
        return "unknown"
    mime = str(attachment.get("mime_type", "")).partition("/")[0]
    if mime in {"image", "video", "audio"}:
        return mime
    return next((kind for field, kind in SHOWN_AS.items() if field in attachment), "unknown")


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)
