"""Whether each service is ready, and if not, what it says itself."""

from collections.abc import Mapping
from typing import Any

import httpx2

from cli.diagnosis import Check, Doubtful, NotLooked, Wrong

READY, UNREADY = 200, 503
OPTIONS = {"ingest": "--url"}
"""The option that says where a service is, where it is not named after the service."""


def service_checks(client: httpx2.AsyncClient, addresses: Mapping[str, str]) -> list[Check]:
    """Return a check for each service by its address."""

    def ready(service: str, address: str) -> Check:
        async def look() -> str:
            return await readiness(client, service, address)

        return Check("services", service, look)

    async def accounts() -> str:
        return await unknown_accounts(client, addresses["ai"])

    checks = [ready(service, address) for service, address in addresses.items()]
    return [*checks, Check("services", "unknown accounts", accounts)] if "ai" in addresses else checks


async def unknown_accounts(client: httpx2.AsyncClient, address: str) -> str:
    """Ask the ai service whether webhooks of unknown accounts came in since it started. Raises Doubtful, NotLooked."""
    try:
        response = await client.get(f"{address}/metrics")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise NotLooked(f"ai's metrics cannot be read ({type(error).__name__})", "start ai") from None
    if response.status_code != READY:
        raise NotLooked(f"ai's metrics cannot be read ({response.status_code})", "see --ai")
    dropped = sum(
        float(line.rsplit(" ", 1)[1])
        for line in response.text.splitlines()
        if line.startswith("ai_event_seconds_count{") and 'outcome="unknown_account"' in line
    )
    if dropped:
        raise Doubtful(
            f"{dropped:g} events of accounts that no merchant has were dropped since ai started",
            "add the account (`jawab merchants connect`) or unsubscribe it: docs/runbooks/JawabUnknownAccount.md",
        )
    return "every event was of an account that a merchant has"


async def readiness(client: httpx2.AsyncClient, service: str, address: str) -> str:
    """Ask a service whether it can work. Raises Wrong with its own words."""
    option = OPTIONS.get(service, f"--{service}")
    try:
        response = await client.get(f"{address}/readyz")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Wrong(
            f"nobody answered at {address} ({type(error).__name__})",
            f"start it (`jawab up`, or `python -m {service}`), or say where it is with {option}",
        ) from None
    body = _object(response)
    if body.get("service", service) != service:
        raise Wrong(f"{address} is the service {body['service']}", f"say where {service} is with {option}")
    if response.status_code == READY:
        return f"ready at {address}"
    if response.status_code != UNREADY:
        raise Wrong(f"{address} answered {response.status_code}", f"something else listens there: see {option}")
    failing = {
        name: check
        for name, check in (body.get("checks") or {}).items()
        if isinstance(check, dict) and check.get("status") != "ok"
    }
    said = "; ".join(f"{name}: {check.get('reason', '')}" for name, check in failing.items()) or "it does not say why"
    fixes = dict.fromkeys(check["fix"] for check in failing.values() if check.get("fix"))
    raise Wrong(f"not ready: {said}", "; ".join(fixes) or "see its logs")


def _object(response: httpx2.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
