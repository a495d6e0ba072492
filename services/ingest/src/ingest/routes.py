"""The HTTP routes: what each proves, what it makes of its body, and what it answers. The work is elsewhere."""

import re
from collections.abc import Sequence
from typing import Any

import structlog
from litestar import Response, get, post
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler

from common import tracing
from ingest import account_secret, external_request, rehearsal, signature, signed_request
from ingest.backlog import BacklogReader, BacklogUnknown
from ingest.notifications import normalise
from ingest.reception import AnyRequest, Reception, Refused
from ingest.settings import Settings
from ingest.size import fitted
from ingest.stages import PROCESS_WEBHOOK, FailureHistory, Stage, assessed, overall

log = structlog.get_logger("ingest")

WEBHOOK_PATHS = ("/webhooks/instagram", "/api/instagram/webhook")
INFO_PATH = "/api/instagram/webhook-info"
TEST_PATH = "/api/instagram/webhook-test"
MANYCHAT_PATH = "/webhooks/manychat"
DEAUTHORIZE_PATH = "/webhooks/instagram/deauthorize"
DATA_DELETION_PATH = "/webhooks/instagram/data-deletion"

MANYCHAT_SECRET_HEADER = "x-jawab-secret"  # noqa: S105 a header's name
NOT_PROVEN = (
    "X-Jawab-Secret is missing or wrong: send the account's own secret (python -m ingest.account_secret), or "
    "MANYCHAT_WEBHOOK_SECRET itself for INSTAGRAM_PAGE_ID"
)
NOT_ITS_ACCOUNT = (
    "X-Jawab-Secret is not that of the account in account_id: each has its own (python -m ingest.account_secret)"
)
TENANT_BODY_BYTES = 8 * 1024
"""Of an External Request and of Meta's callbacks: contact data has about 2 KB, a signed_request less than 1 KB."""

CHALLENGE = re.compile(r"[A-Za-z0-9_.-]{1,200}")
"""Meta's challenges are numbers; what could be markup is never sent back."""

NOSNIFF = {"X-Content-Type-Options": "nosniff"}

Answer = Response[dict[str, Any]]


def instagram_routes(reception: Reception, settings: Settings) -> list[ControllerRouterHandler]:
    """Return the verification request, the webhook and what can be asked about it."""
    secrets = settings.app_secrets
    verify_token = settings.verify_token.get_secret_value().strip()

    @get(list(WEBHOOK_PATHS), summary="Meta's verification request", media_type="text/plain")
    async def verify(request: AnyRequest) -> Response[str]:
        with reception.attended("instagram", "verification"):
            query = request.query_params
            token_fits = signature.is_one_of(query.get("hub.verify_token"), (verify_token,))
            if query.get("hub.mode") != "subscribe" or not token_fits:
                reason = "verify_token" if query.get("hub.mode") == "subscribe" else "mode"
                detail = "hub.mode must be subscribe and hub.verify_token the one configured as IG_VERIFY_TOKEN"
                raise reception.unproven(request, "verification", reason, detail, status=403)
            challenge = query.get("hub.challenge")
            if not challenge:
                raise Refused(400, "bad_request", "hub.challenge is missing")
            if not CHALLENGE.fullmatch(challenge):
                raise Refused(400, "bad_request", "hub.challenge may hold letters, digits, dots, dashes, underscores")
            return Response(challenge, media_type="text/plain", headers=NOSNIFF)

    @post(list(WEBHOOK_PATHS), status_code=200, summary="Meta's event notifications")
    async def receive(request: AnyRequest) -> Answer:
        with reception.attended("instagram", "webhook"):
            received_at = reception.clock.now()
            raw = await _signed_body(reception, request, secrets)
            body = reception.json(raw)
            events, reduced = fitted(
                normalise(body, received_at=received_at, traceparent=_trace(request)), body_bytes=len(raw)
            )
            if reduced:
                reception.metrics.originals_reduced.inc(reduced)
                log.warning("originals.reduced", events=reduced, bytes=len(raw))
            await reception.publish(events, size=len(raw))
            reception.metrics.foreign_entries.inc(sum(event.data.entry_id is not None for event in events))
            log.debug("webhook.accepted", events=len(events), bytes=len(raw))
            return Response({"status": "accepted", "events": len(events)})

    @get(INFO_PATH, summary="What is configured, without secrets", sync_to_thread=False)
    def info() -> dict[str, Any]:
        return {
            "environment": settings.environment,
            "app_id": settings.app_id,
            "webhook_paths": list(WEBHOOK_PATHS),
            "verify_token_configured": bool(verify_token),
            "app_secrets_configured": len(secrets),
            "account_configured": settings.account_id is not None,
            "manychat": {"path": MANYCHAT_PATH, "configured": bool(settings.manychat_secrets)},
            "privacy": {
                "deauthorize_path": DEAUTHORIZE_PATH,
                "data_deletion_path": DATA_DELETION_PATH,
                "status_url": settings.status_url,
            },
            "test_path": TEST_PATH if settings.development else None,
            "signature_header": "X-Hub-Signature-256",
        }

    handlers: list[ControllerRouterHandler] = [verify, receive, info]
    if settings.development:
        handlers.append(_rehearsal(reception, settings))
    return handlers


async def _signed_body(reception: Reception, request: AnyRequest, secrets: Sequence[str]) -> bytes:
    """Return a body that Meta signed. Raises Refused; without a well-formed signature none of the body is read."""
    header = request.headers.get(signature.HEADER)
    claimed = signature.claimed(header)
    if isinstance(claimed, signature.Refusal):
        raise reception.unproven(request, "webhook", claimed.value, claimed.detail)
    raw = await reception.body(request)
    refusal = signature.refusal(header, raw, secrets)
    if refusal is not None:
        raise reception.unproven(request, "webhook", refusal.value, refusal.detail)
    return raw


def _rehearsal(reception: Reception, settings: Settings) -> ControllerRouterHandler:
    @post(TEST_PATH, status_code=200, summary="The same pipeline without a signature; development only")
    async def rehearse(request: AnyRequest) -> Answer:
        with reception.attended("instagram", "webhook-test"):
            received_at = reception.clock.now()
            raw = await reception.body(request)
            events, _ = fitted(
                rehearsal.rehearsed(
                    reception.json(raw),
                    account=settings.account_id,
                    received_at=received_at,
                    traceparent=_trace(request),
                ),
                body_bytes=len(raw),
            )
            await reception.publish(events)
            told = [{"id": event.id, "type": event.type, "conversation": event.subject} for event in events]
            return Response({"status": "accepted", "events": told, "note": rehearsal.note(events)})

    return rehearse


def manychat_routes(reception: Reception, settings: Settings) -> list[ControllerRouterHandler]:
    """Return the route of ManyChat's External Request."""
    secrets = tuple(secret.get_secret_value() for secret in settings.manychat_secrets)

    @post(MANYCHAT_PATH, status_code=200, summary="ManyChat's External Request: a contact wrote")
    async def receive(request: AnyRequest) -> Answer:
        with reception.attended("manychat", "manychat"):
            if not secrets:
                raise Refused(404, "off", "set MANYCHAT_WEBHOOK_SECRET to use this route")
            received_at = reception.clock.now()
            given = request.headers.get(MANYCHAT_SECRET_HEADER)
            account = account_secret.account_of(given, secrets)
            if account is None and signature.is_one_of(given, secrets):
                account = settings.account_id
            if account is None:
                raise reception.unproven(request, "manychat", "secret" if given else "missing", NOT_PROVEN)
            reception.limit_manychat(account)
            raw = await reception.body(request, limit=TENANT_BODY_BYTES)
            body = reception.json(raw)
            try:
                event = external_request.message_of(
                    body,
                    default_account=account,
                    received_at=received_at,
                    traceparent=_trace(request),
                )
            except external_request.InvalidContactData as error:
                raise Refused(400, "bad_body", str(error)) from None
            if event.data.account_id != account:
                raise reception.unproven(request, "manychat", "account", NOT_ITS_ACCOUNT)
            await reception.publish([event], size=len(raw))
            return Response({"status": "accepted", "events": 1})

    return [receive]


def privacy_routes(reception: Reception, settings: Settings) -> list[ControllerRouterHandler]:
    """Return the two callbacks that carry a `signed_request`."""

    async def asked(request: AnyRequest, purpose: signed_request.Purpose) -> str:
        received_at = reception.clock.now()
        raw = await reception.body(request, limit=TENANT_BODY_BYTES)
        try:
            value = signed_request.value_in(raw, request.headers.get("content-type", ""))
            opened = signed_request.opened(value, settings.app_secrets)
        except signed_request.Malformed as error:
            raise Refused(400, "bad_body", str(error)) from None
        except signed_request.WrongSignature as error:
            raise reception.unproven(request, purpose, "signed_request", str(error)) from None
        await reception.publish([opened.event(purpose, received_at=received_at, traceparent=_trace(request))])
        return opened.code(purpose)

    @post(DATA_DELETION_PATH, status_code=200, summary="A person asks Meta to have their data deleted")
    async def data_deletion(request: AnyRequest) -> Answer:
        with reception.attended("instagram", "data-deletion"):
            code = await asked(request, "data-deletion")
            return Response({"url": f"{settings.status_url}/{code}", "confirmation_code": code})

    @post(DEAUTHORIZE_PATH, status_code=200, summary="A merchant removed the app")
    async def deauthorize(request: AnyRequest) -> Answer:
        with reception.attended("instagram", "deauthorize"):
            code = await asked(request, "deauthorize")
            return Response({"status": "accepted", "confirmation_code": code})

    return [data_deletion, deauthorize]


def queue_routes(reception: Reception, backlog: BacklogReader) -> list[ControllerRouterHandler]:
    """Return what is told about the four stages."""
    history = FailureHistory()

    async def all_stages() -> dict[str, Stage]:
        try:
            own = reception.stage()  # first, for the same reason as the commits in Backlog: nothing is seen nowhere
            return {PROCESS_WEBHOOK: own, **await backlog.stages(published=reception.published)}
        except BacklogUnknown as error:
            raise HTTPException(str(error), status_code=503, headers={"Retry-After": "5"}) from None

    @get("/api/queue/stats", summary="The four stages: waiting, in progress, completed, failed, oldest age")
    async def stats() -> dict[str, Any]:
        stages = await all_stages()
        return {"stages": {name: stage.as_json() for name, stage in stages.items()}}

    @get("/api/queue/health", summary="Whether each of the four stages is well, and why not")
    async def health() -> Answer:
        stages = await all_stages()
        grown = history.growth(stages, reception.clock.now().timestamp())
        verdicts = {name: assessed(stage, grown[name]) for name, stage in stages.items()}
        status = overall(verdicts)
        told = {name: {"status": verdict, "reason": reason} for name, (verdict, reason) in verdicts.items()}
        return Response({"status": status, "stages": told}, status_code=503 if status == "failing" else 200)

    return [stats, health]


def _trace(request: AnyRequest) -> str:
    return tracing.continued(request.headers.get("traceparent"))
