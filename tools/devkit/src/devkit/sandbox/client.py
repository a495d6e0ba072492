"""Speak to a running sandbox: what the demo, the command line and the tests use instead of URLs."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2

from devkit.updates import Update, body_of

TIMEOUT_SECONDS = 10.0


class JournalForgot(RuntimeError):
    """Calls that were asked for are no longer in the journal: SANDBOX_JOURNAL_LIMIT is too small."""


class SandboxClient:
    """The control API as methods. Each raises `httpx2.HTTPError` when the sandbox refuses or is not there."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def journal(
        self,
        after: int = 0,
        *,
        wait: float = 0.0,
        api: str = "",
        kind: str = "",
        contact: str = "",
        bodies: bool = False,
    ) -> dict[str, Any]:
        """Return ``entries`` above `after` and ``next``, the number to ask from next; waits up to `wait` seconds."""
        query = {
            "after": after,
            "wait": wait,
            "api": api,
            "kind": kind,
            "contact": contact,
            "bodies": str(bodies).lower(),
        }
        return await self._ask("GET", "journal", query=query, timeout=TIMEOUT_SECONDS + wait)

    async def whole_journal(
        self, after: int = 0, *, api: str = "", kind: str = "", contact: str = "", bodies: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """Go through every entry above `after`, page by page. Raises `JournalForgot` when some are lost."""
        while True:
            told = await self.journal(after, api=api, kind=kind, contact=contact, bodies=bodies)
            if told["forgotten"] > after:
                raise JournalForgot(f"the sandbox has forgotten its calls up to number {told['forgotten']}")
            for entry in told["entries"]:
                yield entry
            if told["next"] in {after, told["last"]}:
                return
            after = told["next"]

    async def posting(self) -> dict[str, int]:
        """Return the counts of the sandbox's own webhooks: ``waiting`` for a 200, ``posted``, ``failed`` and so on."""
        counts: dict[str, int] = await self._ask("GET", "webhooks")
        return counts

    async def conversations(self, *, since: int = 0, contact: str = "") -> dict[str, Any]:
        """Return ``conversations`` changed after version `since`, and the ``version`` to ask from next."""
        return await self._ask("GET", "conversations", query={"since": since, "contact": contact})

    async def add_fault(self, **rule: Any) -> int:
        """Order a misbehaviour (the fields of `FaultRule`) and return the rule's number."""
        return int((await self._ask("POST", "faults", body=rule))["id"])

    async def faults(self) -> list[dict[str, Any]]:
        """Return the rules with their numbers (``id``), ``hits`` so far and the ``rule`` itself."""
        listed: list[dict[str, Any]] = (await self._ask("GET", "faults"))["faults"]
        return listed

    async def remove_fault(self, number: int) -> None:
        """Lift one rule; raises `httpx2.HTTPStatusError` (404) when there is none of that number, or no longer."""
        await self._ask("DELETE", f"faults/{number}")

    async def clear_faults(self) -> None:
        """Lift every rule."""
        await self._ask("DELETE", "faults")

    async def tell_person(self, contact: str, **what: Any) -> dict[str, Any]:
        """Say something about a customer (the fields of `PersonTold`)."""
        return await self._ask("POST", "people", body={"contact": contact, **what})

    async def tell_account(self, account: str, **what: Any) -> dict[str, Any]:
        """Say something about an account (the fields of `AccountTold`)."""
        return await self._ask("POST", "accounts", body={"account": account, **what})

    async def tell_comment(self, id_: str, contact: str, **what: Any) -> dict[str, Any]:
        """Say that a comment exists (the fields of `CommentTold`)."""
        return await self._ask("POST", "comments", body={"id": id_, "contact": contact, **what})

    async def script(self, contains: str, **what: Any) -> None:
        """Lay down the model's answer to messages that contain some words (the fields of `Script`)."""
        await self._ask("POST", "scripts", body={"contains": contains, **what})

    async def behave(self, **what: Any) -> None:
        """Change echoes, delays and the like (the fields of `Behaviour`)."""
        await self._ask("PATCH", "behaviour", body=what)

    async def rates(self) -> dict[str, Any]:
        """Return ``exceeded``, the calls above any limit, and ``counts``, by kind and account, with the ``most`` met in
        one window.
        """
        return await self._ask("GET", "rates")

    async def limit_rates(self, **limits: tuple[float, float]) -> None:
        """Put other limits in the place of the documented ones: calls and seconds by kind."""
        body = {what: {"calls": calls, "seconds": seconds} for what, (calls, seconds) in limits.items()}
        await self._ask("PUT", "rates", body=body)

    async def webhook(self, *updates: Update, deliver: bool = True) -> int | None:
        """Send updates to Jawab through the sandbox, which learns from them; return Jawab's HTTP status.

        Without `deliver` the sandbox only learns, and None is returned.
        """
        query = {"deliver": str(deliver).lower()}
        told = await self._ask("POST", "webhooks", body=body_of(*updates), query=query, timeout=30.0)
        status: int | None = told["status"]
        return status

    async def reset(self) -> None:
        """Forget everything but the accounts."""
        await self._ask("POST", "reset")

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> dict[str, Any]:
        response = await self._client.request(
            method, f"{self._url}/sandbox/{path}", json=body, params=query, timeout=timeout
        )
        response.raise_for_status()
        told: dict[str, Any] = response.json() if response.content else {}
        return told
