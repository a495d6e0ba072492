"""`jawab waiting`: which conversations wait for a person, since when and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cyclopts.types import PositiveInt

from cli import screen
from cli.environment import settings
from cli.merchants_known import find
from cli.moments import in_words, written
from common.mongo import CONVERSATIONS, Database, Document, database, mongo_client
from common.settings import MongoSettings

UNKNOWN = "?"


@dataclass(frozen=True)
class Waiting:
    """A conversation that waits for a person. `why` is a stable code; `human_until`: a person answers it until then."""

    conversation: str
    merchant: str
    why: str
    since: datetime | None
    human_until: datetime | None

    def with_a_person(self, now: datetime) -> bool:
        """Tell whether a person has taken it over and may still be at it."""
        return self.human_until is not None and now < self.human_until


async def waiting(*, merchant: str | None = None, limit: PositiveInt = 50, json: bool = False) -> None:
    """List the conversations that wait for a person, the longest-waiting first.

    One waits no more when a person has answered it, given it back or resolved it.

    Parameters
    ----------
    merchant
        Only this merchant's.
    limit
        How many are listed at most.
    json
        Print JSON.
    """
    if merchant is not None:
        await find(merchant)
    async with mongo_client(settings(MongoSettings), service="cli") as client:
        with screen.working("Reading conversations"):
            listed, count = await read(database(client), merchant, limit)
    if json:
        screen.as_json({"count": count, "conversations": [_as_data(one) for one in listed]})
        return
    if not listed:
        screen.say(f"{screen.OK} no conversation waits for a person")
        return
    now = datetime.now(UTC)
    shown = screen.table("waits", "conversation", "merchant", "why")
    for one in listed:
        age = in_words(now - one.since) if one.since is not None else UNKNOWN
        why = screen.plain(one.why) + (", a person is at it" if one.with_a_person(now) else "")
        screen.row(shown, [age, one.conversation, one.merchant, why])
    screen.console().print(shown)
    if count > len(listed):
        screen.say(f"{count - len(listed)} more; --limit shows them")
    screen.following(f"jawab conversation {listed[0].conversation}")


async def read(db: Database, merchant: str | None, limit: int) -> tuple[list[Waiting], int]:
    """Return the conversations that have waited the longest, and how many wait in all. Raises PyMongoError."""
    wanted: Document = {"attention": {"$gt": ""}} | ({"merchant_id": merchant} if merchant is not None else {})
    told = dict.fromkeys(("merchant_id", "attention", "attention_at", "human_until"), 1)
    conversations = db[CONVERSATIONS]
    found = await conversations.find(wanted, told).sort([("attention_at", 1), ("_id", 1)]).limit(limit).to_list()
    count = len(found) if len(found) < limit else await conversations.count_documents(wanted)
    return [_read(document) for document in found], count


def _read(document: Mapping[str, Any]) -> Waiting:
    return Waiting(
        conversation=document["_id"],
        merchant=document.get("merchant_id") or UNKNOWN,
        why=document["attention"],
        since=document.get("attention_at"),
        human_until=document.get("human_until"),
    )


def _as_data(one: Waiting) -> dict[str, str | None]:
    moments = {"since": one.since, "human_until": one.human_until}
    return {
        "conversation": one.conversation,
        "merchant": one.merchant,
        "why": one.why,
        **{name: written(moment) if moment is not None else None for name, moment in moments.items()},
    }
