"""The HTTP API for the merchant's people: look at a conversation, take it over, give it back, answer in it."""

import re
from collections.abc import Sequence
from functools import partial

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from common.clock import Clock
from common.events.control import ConversationReleased, ConversationResolved, ConversationTakenOver
from common.request_rate import RequestRate
from common.service import refuse_encoded
from common.wrong_input import INSTAGRAM_ID
from delivery.api.acceptance import new_key
from delivery.api.answers import MOST_BYTES, NOT_DONE, Answer, AnyRequest, answer_to, caller, described, problem, read
from delivery.api.conversation_requests import ControlBody, ReplyBody
from delivery.api.conversation_view import described as described_view
from delivery.api.conversations import Change, Conversations
from delivery.api.tokens import CONTROL_CONVERSATIONS, READ_CONVERSATIONS, REPLY_IN_CONVERSATIONS, Caller
from delivery.contacts import JAWAB

PREFIX = "/api/conversations"
CONVERSATION = PREFIX + "/{merchant_id:str}/{contact_id:str}"
CUSTOMER = "contactId"

bounded_post = partial(post, status_code=202, request_max_body_size=MOST_BYTES, before_request=refuse_encoded)


def conversation_routes(
    conversations: Conversations, *, jwt_secrets: Sequence[str], clock: Clock, rate: RequestRate | None = None
) -> list[ControllerRouterHandler]:
    """Return the routes of the conversations."""
    desk = _Desk(conversations, jwt_secrets, clock, rate)

    @bounded_post(CONVERSATION + "/takeover", summary="Let a person answer; Jawab is silent")
    async def takeover(request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str]) -> Answer:
        return await desk.change(request, merchant_id, contact_id, ConversationTakenOver)

    @bounded_post(CONVERSATION + "/release", summary="Let Jawab answer again")
    async def release(request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str]) -> Answer:
        return await desk.change(request, merchant_id, contact_id, ConversationReleased)

    @bounded_post(CONVERSATION + "/resolve", summary="Close the matter; Jawab answers what comes next")
    async def resolve(request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str]) -> Answer:
        return await desk.change(request, merchant_id, contact_id, ConversationResolved)

    @bounded_post(CONVERSATION + "/reply", summary="Answer as a person")
    async def reply(request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str]) -> Answer:
        return await desk.reply(request, merchant_id, contact_id)

    @get(CONVERSATION + "/replies/{reply_id:str}", summary="What became of a reply")
    async def status(
        request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str], reply_id: FromPath[str]
    ) -> Answer:
        return await desk.status(request, merchant_id, contact_id, reply_id)

    @get(CONVERSATION, summary="Who answers, and what may be sent now")
    async def view(request: AnyRequest, merchant_id: FromPath[str], contact_id: FromPath[str]) -> Answer:
        return await desk.view(request, merchant_id, contact_id)

    return [takeover, release, resolve, reply, status, view]


class _Desk:
    """Reads requests and writes answers; what is asked for is done by `Conversations`."""

    def __init__(
        self, conversations: Conversations, jwt_secrets: Sequence[str], clock: Clock, rate: RequestRate | None
    ) -> None:
        self._conversations = conversations
        self._jwt_secrets = jwt_secrets
        self._clock = clock
        self._rate = rate

    def _caller(self, request: AnyRequest, merchant_id: str, contact_id: str, *scopes: str) -> Caller | Answer:
        """Return who calls, or the answer to a caller who may not, or to a path that names no customer."""
        known = caller(request, merchant_id, self._jwt_secrets, self._clock.now(), *scopes, rate=self._rate)
        if isinstance(known, Response):
            return known
        if known.subject == JAWAB:
            return problem(403, f"the token's subject (claim sub) must name who uses it, not {JAWAB}")
        if re.fullmatch(INSTAGRAM_ID, contact_id) is None:
            return problem(400, f"{CUSTOMER}: must be the customer's Instagram-scoped id: 1 to 32 digits")
        return known

    async def change(self, request: AnyRequest, merchant_id: str, contact_id: str, to: Change) -> Answer:
        known = self._caller(request, merchant_id, contact_id, CONTROL_CONVERSATIONS)
        if isinstance(known, Response):
            return known
        body = read(await request.body() or b"{}", ControlBody, example='{"reason": "..."}')
        if isinstance(body, Response):
            return body
        try:
            changed = await self._conversations.change(to, merchant_id, contact_id, body, by=known.subject)
        except NOT_DONE as error:
            return answer_to(error, recipient=CUSTOMER)
        event = changed.event
        said = {
            "conversationId": event.subject,
            "answeredBy": "person" if isinstance(event, ConversationTakenOver) else "bot",
            "by": event.data.by,
            "since": event.time.isoformat(),
            "until": changed.until.isoformat() if changed.until else None,
        }
        return Response(said, status_code=202)

    async def reply(self, request: AnyRequest, merchant_id: str, contact_id: str) -> Answer:
        known = self._caller(request, merchant_id, contact_id, REPLY_IN_CONVERSATIONS)
        if isinstance(known, Response):
            return known
        body = read(
            await request.body(), ReplyBody, example='{"text": "..."}', key=request.headers.get("idempotency-key")
        )
        if isinstance(body, Response):
            return body
        key, replies = body.idempotency_key or new_key(), f"{PREFIX}/{merchant_id}/{contact_id}/replies"
        try:
            accepted = await self._conversations.reply(merchant_id, contact_id, body, by=known.subject, key=key)
        except NOT_DONE as error:
            return answer_to(error, recipient=CUSTOMER, key=key, replies=replies)
        location = f"{replies}/{accepted.row.reply_id}"
        return Response(described(accepted.row), status_code=202, headers={"Location": location})

    async def status(self, request: AnyRequest, merchant_id: str, contact_id: str, reply_id: str) -> Answer:
        known = self._caller(request, merchant_id, contact_id, REPLY_IN_CONVERSATIONS, READ_CONVERSATIONS)
        if isinstance(known, Response):
            return known
        try:
            row = await self._conversations.status(merchant_id, contact_id, reply_id)
        except NOT_DONE as error:
            return answer_to(error, recipient=CUSTOMER)
        if row is None:
            return problem(404, f"{merchant_id} has no reply {reply_id[:64]} to {contact_id}")
        return Response(described(row))

    async def view(self, request: AnyRequest, merchant_id: str, contact_id: str) -> Answer:
        known = self._caller(request, merchant_id, contact_id, READ_CONVERSATIONS)
        if isinstance(known, Response):
            return known
        account_id = request.query_params.get("accountId")
        if account_id is not None and re.fullmatch(INSTAGRAM_ID, account_id) is None:
            return problem(400, "accountId: must be an Instagram id: 1 to 32 digits")
        try:
            seen = await self._conversations.view(merchant_id, contact_id, account_id)
        except NOT_DONE as error:
            return answer_to(error, recipient=CUSTOMER)
        return Response(described_view(seen))
