"""What every route of the HTTP API answers alike: who may not, what is wrong with a body, what is away just now."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from litestar import Request, Response
from litestar.datastructures import State
from pydantic import BaseModel, ValidationError
from pymongo.errors import PyMongoError

from common.merchants import MerchantNotReadable
from common.remedies import completed
from common.request_rate import RETRY_AFTER_SECONDS, RequestRate
from common.wrong_input import Problem, dotted, problems
from delivery.api.acceptance import (
    KeyUsedOtherwise,
    NotAcknowledged,
    NotSendable,
    OwnAccount,
    UnknownAccount,
    UnknownMerchant,
)
from delivery.api.tokens import Caller, Forbidden, Unauthenticated, caller_of
from delivery.ledger import Row

RETRY_SECONDS = "5"

MOST_BYTES = 256 * 1024
"""The most a body may have. Ten times what the longest message needs; a larger one is read for seconds, in which this
process sends nothing.
"""

NAMED = re.compile(r"\A(?P<field>[A-Za-z_][\w.]*): (?P<problem>.+)", re.DOTALL)
"""A problem that names its field by itself."""

NOT_DONE = (
    UnknownMerchant,
    UnknownAccount,
    OwnAccount,
    NotSendable,
    KeyUsedOtherwise,
    NotAcknowledged,
    PyMongoError,
    MerchantNotReadable,
)
"""Why a request that is well formed may not be done; `answer_to` tells each."""

AnyRequest = Request[Any, Any, State]
Answer = Response[dict[str, Any]]
Body = TypeVar("Body", bound=BaseModel)


def caller(
    request: AnyRequest,
    merchant_id: str,
    jwt_secrets: Sequence[str],
    now: datetime,
    *scopes: str,
    rate: RequestRate | None = None,
) -> Caller | Answer:
    """Return who calls, or the answer to a caller who may not do this for this merchant; one of `scopes` is enough.

    Only requests whose token is the merchant's count against its `rate`: no stranger can use it up.
    """
    authorization = request.headers.get("authorization")
    try:
        known = caller_of(authorization, secrets=jwt_secrets, merchant=merchant_id, now=now, scopes=scopes)
        if rate is not None and rate.exceeded(merchant_id):
            detail = "too many requests of this merchant in a minute; try again with the same idempotencyKey"
            return problem(429, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
        return known
    except Unauthenticated as error:
        return problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
    except Forbidden as error:
        return problem(403, str(error))


def answer_to(
    error: Exception, *, recipient: str = "recipientId", text: str = "text", key: str | None = None, replies: str = ""
) -> Answer:
    """Return the answer to a request that could not be done; `recipient` and `text` are what those are called in it.

    `key` is the idempotency key of a request that sends, and `replies` the path below which its reply can be asked for.
    """
    match error:
        case UnknownMerchant():
            return problem(404, f"there is no merchant {error}: `jawab merchants list` shows them")
        case UnknownAccount(args=(account_id, merchant_id)):
            shown = f"`jawab merchants accounts {merchant_id}` shows all"
            return problem(404, f"accountId: the merchant has no account {account_id}; {shown}")
        case OwnAccount():
            return problem(
                400, f"{recipient}: {error} is the merchant's own account; give the customer's Instagram-scoped id"
            )
        case NotSendable():
            field, _, found = str(error).partition(" ")
            return problem(400, f"{text if field == 'text' else field} {found}")
        case KeyUsedOtherwise():
            return problem(409, "idempotencyKey: already used for another message; a new message needs a new one")
        case NotAcknowledged():
            return _not_acknowledged(error.row, key, replies)
        case PyMongoError() if key is not None:
            return away("MongoDB did not answer; repeat the request with this idempotencyKey", idempotencyKey=key)
        case PyMongoError():
            return away("MongoDB did not answer; try again")
        case _:
            return problem(500, str(error))


def read(body: bytes, model: type[Body], *, example: str, key: str | None = None) -> Body | Answer:
    """Read a body; the answer that names each wrong field where it is not valid.

    `key` is the header Idempotency-Key. Errors name fields and fixes, never what was written in them.
    """
    try:
        fields = json.loads(body)
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return problem(400, "the body holds half a character (\\ud800 to \\udfff alone): send whole ones")
    except (ValueError, RecursionError):
        return problem(400, f"the body must be JSON, e.g. {example}")
    if not isinstance(fields, dict):
        return problem(400, f"the body must be a JSON object, e.g. {example}")
    if key is not None:
        if fields.get("idempotencyKey", key) != key:
            return problem(400, "idempotencyKey: the body and the header Idempotency-Key differ; give one of them")
        fields = {**fields, "idempotencyKey": key}
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        named = ", ".join(field.alias or name for name, field in model.model_fields.items())
        told = [_told(_name(one), _fix(one, named)) for one in problems(error)]
        detail = "; ".join(f"{one['field']}: {one['problem']}" if one["field"] else one["problem"] for one in told)
        return problem(400, detail, extra=told)


def _told(field: str, fix: str) -> dict[str, str]:
    """Return a problem as it is answered; what concerns several fields has no place, and names the first by itself."""
    if not field and (named := NAMED.match(fix)):
        return {"field": named["field"], "problem": named["problem"]}
    return {"field": field, "problem": fix}


def _name(one: Problem) -> str:
    """Name a field as its writer would: Pydantic puts an action's kind into the place of its fields."""
    place = one.place
    return dotted(place[:1] + place[2:] if place[:1] == ("action",) else place)


def _fix(one: Problem, named: str) -> str:
    if one.kind == "extra_forbidden":
        return f"{one.fix}: {named} are"
    return "must be a string, in quotation marks" if one.kind == "string_type" else one.fix


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
        "detail": completed(row.detail, merchant_id=row.merchant_id, account_id=row.account_id) or None,
        "createdAt": row.at.isoformat(),
        "attemptedAt": max(attempted).isoformat() if attempted else None,
        "finishedAt": row.finished_at.isoformat() if row.finished_at else None,
        "seenAt": row.seen_at.isoformat() if row.seen_at else None,
    }


def problem(
    status: int,
    detail: str,
    *,
    headers: dict[str, str] | None = None,
    extra: list[dict[str, str]] | None = None,
    fields: dict[str, str] | None = None,
) -> Answer:
    """Return an error in the shape that every service answers with; `fields` stand beside the sentence."""
    body: dict[str, Any] = {"status_code": status, "detail": detail, **(fields or {})}
    if extra:
        body["extra"] = extra
    return Response(body, status_code=status, headers=headers)


def away(detail: str, *, location: str | None = None, **fields: str) -> Answer:
    """Return the answer while something delivery depends on is away."""
    headers = {"Retry-After": RETRY_SECONDS} | ({"Location": location} if location else {})
    return problem(503, detail, headers=headers, fields=fields)


def _not_acknowledged(row: Row | None, key: str | None, replies: str) -> Answer:
    """Return the answer to a request whose records may be in the log or not: never that nothing was accepted."""
    if row is None or key is None:
        return away("Kafka did not acknowledge it, so it may take effect or not; repeat it, once more changes nothing")
    return away(
        "Kafka did not acknowledge it, so it may be sent or not; ask for this replyId, or repeat the request with this"
        " idempotencyKey: without it the message may be sent twice",
        location=f"{replies}/{row.reply_id}",
        replyId=row.reply_id,
        idempotencyKey=key,
    )
