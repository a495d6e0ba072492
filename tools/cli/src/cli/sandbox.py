"""The sandbox world, told who speaks and followed until a customer has their answer."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from cli.failures import Failure
from devkit.sandbox.client import SandboxClient
from devkit.updates import Update

LONGEST_POLL = 5.0
BEYOND_EVERY_ENTRY = 2**53
SPEAKING = frozenset({"graph", "manychat"})
SILENT = frozenset({"sender_action"})
"""Kinds that reach the customer without saying anything: a typing indicator is no answer."""


@dataclass(frozen=True)
class Answer:
    """What a customer got. `seconds` is since the webhook was posted."""

    contact: str
    route: str
    kind: str
    text: str
    message_id: str
    seconds: float


def answer_in(entry: Mapping[str, Any], contacts: Collection[str], seconds: float) -> Answer | None:
    """Return the answer a journal entry is for one of `contacts`, or None when it is something else."""
    if entry.get("api") not in SPEAKING or not entry.get("effect") or entry.get("kind") in SILENT:
        return None
    if not entry.get("text") or entry.get("contact") not in contacts:
        return None
    told = {name: str(entry.get(name, "")) for name in ("contact", "kind", "text", "message_id")}
    return Answer(**told, route=str(entry["api"]), seconds=seconds)


class Sandbox:
    """A running sandbox world."""

    def __init__(self, client: httpx2.AsyncClient, url: str) -> None:
        self._sandbox = SandboxClient(url, client)
        self._url = url

    async def learn(self, updates: Sequence[Update]) -> None:
        """Tell the sandbox what happened on its Instagram, so that it knows whose comment is answered.

        Raises Failure when there is no sandbox.
        """
        try:
            await self._sandbox.webhook(*updates, deliver=False)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise self._away(error) from None

    async def last(self) -> int:
        """Return the number of the journal's newest entry. Raises Failure when there is no sandbox."""
        return int((await self._read(BEYOND_EVERY_ENTRY, 0.0))["last"])

    async def answers(self, after: int, contacts: Collection[str], timeout: float, *, begun: float) -> list[Answer]:
        """Wait until each of `contacts` has an answer; return what came within `timeout` seconds, in order.

        `begun` is the `time.monotonic` of the post.
        """
        deadline = time.monotonic() + timeout
        waiting, found = set(contacts), list[Answer]()
        while waiting and (left := deadline - time.monotonic()) > 0:
            read = await self._read(after, min(left, LONGEST_POLL))
            after = int(read["next"])
            for entry in read["entries"]:
                if answer := answer_in(entry, contacts, time.monotonic() - begun):
                    found.append(answer)
                    waiting.discard(answer.contact)
        return found

    async def _read(self, after: int, wait: float) -> dict[str, Any]:
        try:
            return await self._sandbox.journal(after, wait=wait)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            raise self._away(error) from None

    def _away(self, error: Exception) -> Failure:
        return Failure(
            f"there is no sandbox at {self._url} ({type(error).__name__})",
            "start it with `jawab up`, or say where it is with --sandbox",
        )
