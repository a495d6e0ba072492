"""`jawab conversation`: one conversation, readably: who said what, why Jawab answered so, and what became of it."""

from dataclasses import asdict
from datetime import UTC
from typing import Any

from cyclopts.types import PositiveInt
from rich.text import Text

from ai.decisions import Decision
from cli import screen
from cli.asked_for import texts
from cli.environment import settings
from cli.failures import Failure
from cli.moments import written
from cli.timeline import ASKED, Moment, Speaker, timeline
from common.kafka.broker import client_connection
from common.mongo import CONVERSATIONS, DECISIONS, DELIVERIES, MESSAGES, Database, database, mongo_client
from common.settings import KafkaSettings, MongoSettings
from delivery.ledger import Row
from delivery.mongo import from_document

WHO: dict[Speaker, tuple[str, str]] = {
    "customer": ("customer", "cyan"),
    "jawab": ("jawab", "green"),
    "person": ("person", "magenta"),
    "note": ("!", "yellow"),
}


async def conversation(conversation: str, *, limit: PositiveInt = 50, json: bool = False) -> None:
    """Show one conversation: what was said, why Jawab answered so, and what became of each reply.

    Parameters
    ----------
    conversation
        ACCOUNT:CONTACT, as `jawab simulate` and `jawab replay` print it.
    limit
        How many of the latest messages and decisions are shown.
    json
        Print JSON.
    """
    if not all(conversation.partition(":")):
        raise Failure(f"{conversation!r} is not a conversation", "write it like ACCOUNT:CONTACT")
    async with mongo_client(settings(MongoSettings), service="cli") as client:
        with screen.working("Reading the conversation"):
            state, moments = await read(database(client), conversation, limit)
    if not moments and state is None:
        raise Failure(f"nothing is known of {conversation}", "see the ids with `jawab replay --dry-run`")
    if json:
        screen.as_json({"conversation": conversation, "state": state, "moments": [asdict(one) for one in moments]})
        return
    _show(conversation, state or {}, moments)
    screen.following(f"jawab replay --dry-run --conversation {conversation}")


async def read(db: Database, conversation_id: str, limit: int) -> tuple[dict[str, Any] | None, list[Moment]]:
    """Return what is known of a conversation, and its latest moments. Raises PyMongoError."""
    of_it = {"conversation_id": conversation_id}
    latest = [("at", -1)]
    document = await db[CONVERSATIONS].find_one({"_id": conversation_id})
    messages = await db[MESSAGES].find(of_it).sort(latest).limit(limit).to_list()
    decisions = await db[DECISIONS].find(of_it).sort(latest).limit(limit).to_list()
    deliveries = await db[DELIVERIES].find(of_it).sort(latest).limit(limit * 2).to_list()
    rows = [from_document(one) for one in deliveries]
    moments = timeline(
        messages,
        [Decision.from_document(one) for one in decisions],
        rows,
        (document or {}).get("recent", ()),
        await _texts(conversation_id, rows, set((document or {}).get("taken_back", ()))),
    )
    if document is None:
        return None, moments
    return {name: value for name, value in document.items() if name not in {"_id", "recent"}}, moments


async def _texts(conversation_id: str, rows: list[Row], taken_back: set[str]) -> dict[str, str] | None:
    """Return the texts of what was asked for over HTTP, without what the account has taken back."""
    asked = [row for row in rows if row.origin in ASKED]
    if not asked:
        return {}
    try:
        found = await texts(client_connection(settings(KafkaSettings)), conversation_id, asked)
    except Failure:
        found = None
    gone = {row.reply_id: "(taken back)" for row in asked if taken_back & set(row.message_ids)}
    return found | gone if found is not None else gone or None


def _show(conversation: str, state: dict[str, Any], moments: list[Moment]) -> None:
    facts = [conversation, f"merchant {state.get('merchant_id', '?')}", f"answered by {_owner(state)}"]
    if state.get("attention"):
        facts.append(f"needs a person: {state['attention']}")
    screen.say(", ".join(facts), style="bold")
    for moment in moments:
        name, style = WHO[moment.who]
        at = f"{moment.at.astimezone(UTC):%m-%d %H:%M:%S}"
        screen.say(Text.assemble((at, "dim"), "  ", (f"{name:<9}", style), screen.words(moment.text)))
        if moment.about:
            screen.say(Text.assemble(" " * 27, (moment.about, "dim")))
        if moment.detail:
            screen.say(Text.assemble(" " * 27, (screen.plain(moment.detail), "dim")))


def _owner(state: dict[str, Any]) -> str:
    until = state.get("human_until")
    return f"a person until {written(until)}, then Jawab" if until is not None else "Jawab"
