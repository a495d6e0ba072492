"""The HTTP API: ask for a message to be sent, and see what became of it."""

import json
from datetime import datetime
from typing import Any

from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from pydantic import ValidationError
from pymongo.errors import PyMongoError

from common.clock import Clock
from common.merchants import MerchantNotReadable
from delivery.ledger import Row
from delivery.tokens import SEND_MESSAGES, Forbidden, Unauthenticated, caller_of
from delivery.utility_messages import (
    KeyUsedOtherwise,
    NotAccepted,
    SendRequest,
    UnknownAccount,
    UnknownMerchant,
    UtilityMessagesService,
)

PREFIX = "/api/utility-messages"
RETRY_SECONDS = "5"

NOT_DONE = (UnknownMerchant, UnknownAccount, KeyUsedOtherwise, NotAccepted, PyMongoError, MerchantNotReadable)

AnyRequest = Request[Any, Any, State]


def utility_message_routes(
    service: UtilityMessagesService, *, jwt_secret: str, clock: Clock
) -> list[ControllerRouterHandler]:
    """Return the routes of the utility messages."""

    @post(PREFIX + "/{merchant_id:str}/send", summary="Send a message to a customer", status_code=202)
    async def send(request: AnyRequest, merchant_id: FromPath[str]) -> Response[dict[str, Any]]:
        if (answer := refusal(request, merchant_id, jwt_secret, clock.now())) is not None:
            return answer
        parsed = parse(await request.body(), request.headers.get("idempotency-key"))
        if isinstance(parsed, Response):
            return parsed
        try:
            accepted = await service.send(merchant_id, parsed)
        except NOT_DONE as error:
            return answer_to(error)
        location = f"{PREFIX}/{merchant_id}/{accepted.row.reply_id}"
        return Response(described(accepted.row), status_code=202, headers={"Location": location})

    @get(PREFIX + "/{merchant_id:str}/{reply_id:str}", summary="What became of a message")
    async def status(
        request: AnyRequest, merchant_id: FromPath[str], reply_id: FromPath[str]
    ) -> Response[dict[str, Any]]:
        if (answer := refusal(request, merchant_id, jwt_secret, clock.now())) is not None:
            return answer
        try:
            row = await service.status(merchant_id, reply_id)
        except NOT_DONE as error:
            return answer_to(error)
        if row is None:
            return problem(404, f"{merchant_id} has no reply {reply_id[:64]}")
        return Response(described(row))

    return [send, status]


def refusal(request: AnyRequest, merchant_id: str, jwt_secret: str, now: datetime) -> Response[dict[str, Any]] | None:
    """Return the answer to a caller who may not send for this merchant, or None."""
    authorization = request.headers.get("authorization")
    try:
        caller_of(authorization, secret=jwt_secret, merchant=merchant_id, now=now, scope=SEND_MESSAGES)
    except Unauthenticated as error:
        return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
    except Forbidden as error:
        return problem(403, str(error))
    return None


def answer_to(error: Exception) -> Response[dict[str, Any]]:
    """Return the answer to a request that could not be done."""
    match error:
        case UnknownMerchant():
            return problem(404, f"there is no merchant {error}: `jawab merchants list` shows them")
        case UnknownAccount():
            return problem(400, f"accountId: the merchant has no account {error}; `jawab merchants accounts` shows all")
        case KeyUsedOtherwise():
            return problem(409, "idempotencyKey: already used for another message; a new message needs a new one")
        case NotAccepted():
            return away("Kafka did not take the message; nothing was accepted, try again with the same idempotencyKey")
        case PyMongoError():
            return away("MongoDB did not answer; try again, a message with the same idempotencyKey")
        case _:
            return problem(500, str(error))


def parse(body: bytes, header_key: str | None) -> SendRequest | Response[dict[str, Any]]:
    """Read the body of a send; the answer that names each wrong field where it is not valid."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return problem(400, 'the body must be JSON, e.g. {"recipientId": "17841400000000002", "message": "..."}')
    if not isinstance(fields, dict):
        return problem(400, "the body must be a JSON object with recipientId and message")
    if header_key is not None:
        if fields.get("idempotencyKey", header_key) != header_key:
            return problem(400, "idempotencyKey: the body and the header Idempotency-Key differ; give one of them")
        fields = {**fields, "idempotencyKey": header_key}
    try:
        return SendRequest.model_validate(fields)
    except ValidationError as error:
        problems = [
            {"field": ".".join(str(part) for part in one["loc"]), "problem": _fix(one["type"], one["msg"])}
            for one in error.errors(include_input=False, include_url=False, include_context=False)
        ]
        detail = "; ".join(f"{one['field']}: {one['problem']}" for one in problems)
        return problem(400, detail, extra=problems)


def _fix(kind: str, message: str) -> str:
    own = {
        "missing": "is missing",
        "extra_forbidden": "is no field here: recipientId, message, messageTag, accountId and idempotencyKey are",
        "string_pattern_mismatch": "must be an Instagram id: 1 to 32 digits in a string",
        "string_type": "must be a string, in quotation marks",
    }
    return own.get(kind) or message.removeprefix("Value error, ")


def described(row: Row) -> dict[str, Any]:
    """Return a reply as the API shows it."""
    attempted = [part.attempted_at for part in row.parts if part.attempted_at is not None]
    return {
        "replyId": row.reply_id,
        "status": row.state,
        "recipientId": row.contact_id,
        "kind": row.kind,
        "route": row.route,
        "messageIds": list(row.message_ids),
        "parts": [{"status": part.state, "messageId": part.message_id} for part in row.parts],
        "reason": row.reason or None,
        "detail": row.detail or None,
        "createdAt": row.at.isoformat(),
        "attemptedAt": max(attempted).isoformat() if attempted else None,
        "finishedAt": row.finished_at.isoformat() if row.finished_at else None,
        "seenAt": row.seen_at.isoformat() if row.seen_at else None,
    }


def problem(
    status: int, detail: str, *, headers: dict[str, str] | None = None, extra: list[dict[str, str]] | None = None
) -> Response[dict[str, Any]]:
    """Return an error in the shape that every service answers with."""
    body: dict[str, Any] = {"status_code": status, "detail": detail}
    if extra:
        body["extra"] = extra
    return Response(body, status_code=status, headers=headers)


def away(detail: str) -> Response[dict[str, Any]]:
    """Return the answer while something delivery depends on is away."""
    return problem(503, detail, headers={"Retry-After": RETRY_SECONDS})
