"""The HTTP API for programs: ask for a message to be sent, and see what became of it."""

from collections.abc import Sequence
from typing import Any

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler

from common.clock import Clock
from common.request_rate import RequestRate
from common.service import refuse_encoded
from delivery.api.acceptance import new_key
from delivery.api.answers import MOST_BYTES, NOT_DONE, AnyRequest, answer_to, caller, described, problem, read
from delivery.api.tokens import SEND_MESSAGES
from delivery.api.utility_messages import SendRequest, UtilityMessagesService

PREFIX = "/api/utility-messages"
EXAMPLE = '{"recipientId": "17841400000000002", "message": "..."}'


def utility_message_routes(
    service: UtilityMessagesService, *, jwt_secrets: Sequence[str], clock: Clock, rate: RequestRate | None = None
) -> list[ControllerRouterHandler]:
    """Return the routes of the utility messages."""

    @post(
        PREFIX + "/{merchant_id:str}/send",
        summary="Send a message to a customer",
        status_code=202,
        request_max_body_size=MOST_BYTES,
        before_request=refuse_encoded,
    )
    async def send(request: AnyRequest, merchant_id: FromPath[str]) -> Response[dict[str, Any]]:
        known = caller(request, merchant_id, jwt_secrets, clock.now(), SEND_MESSAGES, rate=rate)
        if isinstance(known, Response):
            return known
        body = read(await request.body(), SendRequest, example=EXAMPLE, key=request.headers.get("idempotency-key"))
        if isinstance(body, Response):
            return body
        key, replies = body.idempotency_key or new_key(), f"{PREFIX}/{merchant_id}"
        try:
            accepted = await service.send(merchant_id, body, key=key)
        except NOT_DONE as error:
            return answer_to(error, text="message", key=key, replies=replies)
        location = f"{replies}/{accepted.row.reply_id}"
        return Response(described(accepted.row), status_code=202, headers={"Location": location})

    @get(PREFIX + "/{merchant_id:str}/{reply_id:str}", summary="What became of a message")
    async def status(
        request: AnyRequest, merchant_id: FromPath[str], reply_id: FromPath[str]
    ) -> Response[dict[str, Any]]:
        known = caller(request, merchant_id, jwt_secrets, clock.now(), SEND_MESSAGES, rate=rate)
        if isinstance(known, Response):
            return known
        try:
            row = await service.status(merchant_id, reply_id)
        except NOT_DONE as error:
            return answer_to(error)
        if row is None:
            return problem(404, f"{merchant_id} has no reply {reply_id[:64]}")
        return Response(described(row))

    return [send, status]
