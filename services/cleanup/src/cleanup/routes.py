"""`GET /privacy/{code}`: what became of a request to be forgotten."""

import base64
import hashlib
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.params import FromPath
from litestar.types import ControllerRouterHandler
from pymongo.errors import PyMongoError

from cleanup.records import Erasures
from cleanup.status import STYLE, Status, html_page, json_body, status_of

MAX_CODE = 200
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "vary": "accept",
    "x-content-type-options": "nosniff",
    "x-robots-tag": "noindex, nofollow",
}

UNREADABLE = Status(
    503, "We cannot look this up at the moment", ("Your request is safe and will be handled. Please look again later.",)
)


def privacy_routes(erasures: Erasures) -> list[ControllerRouterHandler]:
    """Return the status page's route."""

    @get("/privacy/{code:str}", summary="What became of a request to be forgotten")
    async def privacy_status(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
        erasure = None
        try:
            if len(code) <= MAX_CODE:
                erasure = await erasures.find(code)
            status = status_of(erasure)
        except PyMongoError:
            status = UNREADABLE
        if request.accept.best_match([MediaType.HTML, MediaType.JSON]) == MediaType.JSON:
            body = json_body(code, erasure, status)
            return Response(body, status_code=status.http, headers=HEADERS, media_type=MediaType.JSON)
        page = html_page(code, status)
        return Response(page, status_code=status.http, headers=HEADERS, media_type=MediaType.HTML)

    return [privacy_status]
