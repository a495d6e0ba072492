"""`jawab token`: a token for the HTTP API, made by the code that the delivery service checks it with."""

import sys
from datetime import UTC, datetime, timedelta

from cli import screen
from cli.environment import settings
from cli.failures import Failure
from cli.merchants_known import exists
from cli.moments import in_words, parse_duration, written
from common.settings import JwtSettings
from delivery.api.tokens import MAX_LIFETIME, SCOPES, SEND_MESSAGES, issue_token


async def token(
    *,
    merchant: str,
    scope: tuple[str, ...] = (SEND_MESSAGES,),
    ttl: str = "1h",
    subject: str = "jawab-cli",
    json: bool = False,
) -> None:
    """Make a token that may act for one merchant; it is printed alone on standard output.

    Parameters
    ----------
    merchant
        The merchant's id.
    scope
        What it may do, once for each: messages:send (a program's messages), conversations:read (who answers, what may
        be sent), conversations:control (take over, release, resolve), conversations:reply (answer as a person).
    ttl
        How long it is valid, such as 15m, 12h or 30d; at most a year.
    subject
        Who will use it; appears in what it does.
    json
        Print JSON.
    """
    try:
        lifetime = parse_duration(ttl)
    except ValueError as error:
        raise Failure(f"--ttl: {error}") from None
    if not timedelta() < lifetime <= MAX_LIFETIME:
        raise Failure("--ttl must be above zero and at most a year")
    for one in scope:
        if one not in SCOPES:
            raise Failure(f"--scope {one}: there is no such scope; there are {', '.join(SCOPES)}")
    if not subject.strip():
        raise Failure("--subject must say who will use the token")
    secret = settings(JwtSettings).jwt_secrets[0].get_secret_value()
    there = await exists(merchant)
    if there is False:
        raise Failure(
            f"--merchant: there is no merchant {merchant}",
            "`jawab merchants list` shows all; the environment's own is known where INSTAGRAM_PAGE_ID is set",
        )
    if there is None:
        screen.note(f"MongoDB did not answer, so whether there is a merchant {merchant} was not checked")
    now = datetime.now(UTC)
    allowed = " ".join(scope)
    made = issue_token(secret, merchant, now=now, subject=subject, lifetime=lifetime, scope=allowed)
    if json:
        screen.as_json(
            {
                "token": made,
                "merchant": merchant,
                "subject": subject,
                "scope": allowed,
                "expires": written(now + lifetime),
            }
        )
        return
    screen.note(f"for {merchant} ({allowed}), valid for {in_words(lifetime)}, until {written(now + lifetime)}")
    sys.stdout.write(made + "\n")
    if SEND_MESSAGES in scope:
        screen.note(
            f"Next: curl -X POST http://localhost:8002/api/utility-messages/{merchant}/send "
            """-H "Authorization: Bearer …" -H "Content-Type: application/json" """
            """-d '{"recipientId": "…", "message": "…"}'"""
        )
    else:
        screen.note(
            f'Next: curl http://localhost:8002/api/conversations/{merchant}/<contact> -H "Authorization: Bearer …"; '
            "all of them: docs/api.md"
        )
