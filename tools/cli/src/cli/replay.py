"""`jawab replay --dry-run`: would the same be decided today? It reads the topics and touches nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from pydantic import ValidationError
from pymongo.errors import PyMongoError
from rich.text import Text

from ai.incoming import Answerable, Incoming, incoming
from cli import records, screen
from cli.comparison import MEANINGS, Compared, Mark, as_data, mark, sketch, summary
from cli.decided import Decided, from_replies, stored_decisions
from cli.deciding import NotRecorded, Second, in_order
from cli.environment import settings
from cli.failures import Failure
from cli.merchant_store import MerchantStore
from cli.moments import of_ms, parse_moment, to_ms, written
from cli.records import Range, Record
from common.events import ANY_EVENT, Event, OutcomeEvent, ReplyGenerated
from common.events.control import CONTROL
from common.events.interactions import INTERACTIONS
from common.events.outcomes import (
    OUTCOMES,
    HumanReplied,
    ReplyDelivered,
    ReplyFailed,
    ReplyOutcomeUnknown,
    ReplySuppressed,
)
from common.events.replies import REPLIES, REQUESTED
from common.kafka.broker import client_connection
from common.merchant_directory import merchant_from_environment
from common.merchants import Merchant
from common.mongo import database, mongo_client
from common.settings import KafkaSettings, MerchantSettings, MongoSettings, OwnershipSettings

LEAD = timedelta(days=1)
"""How long before the range control and outcome events are read: who owned a conversation when it begins."""

MARKS: dict[Mark, tuple[str, str]] = {
    "same": ("=", "green"),
    "different": ("≠", "red"),
    "silent": ("·", "dim"),
    "covered": ("·", "dim"),
    "model": ("?", "yellow"),
}
TAKEN_CELLS = 28
"""Columns of a table that are no text: the mark, the time, the gaps."""
FEWEST_CELLS = 14


@dataclass
class Past:
    """What the topics and the database say about a range."""

    events: list[tuple[int, Event]] = field(default_factory=list)
    replies: list[ReplyGenerated] = field(default_factory=list)
    outcomes: dict[str, OutcomeEvent] = field(default_factory=dict)
    not_readable: int = 0


async def replay(
    *,
    dry_run: bool = False,
    since: Annotated[str, Parameter(name="--from")] = "24h ago",
    until: Annotated[str, Parameter(name="--to")] = "now",
    conversation: str | None = None,
    limit: PositiveInt = 500,
    different: bool = False,
    json: bool = False,
) -> None:
    """Show what today's rules and the recorded model answers would decide, beside what was decided.

    Nothing is published, stored or committed, and no model is asked.

    Parameters
    ----------
    dry_run
        Needed: nothing but a dry run exists.
    since
        Where to begin, such as 2h ago, 14:30 or 2026-03-01T14:30+03:00.
    until
        Where to end.
    conversation
        One conversation only: ACCOUNT:CONTACT.
    limit
        How many messages are looked at, from the beginning.
    different
        Show only what would be decided differently.
    json
        Print JSON.
    """
    if not dry_run:
        raise Failure("only a dry run exists so far: nothing is published again", "say --dry-run")
    if conversation is not None and not all(conversation.partition(":")):
        raise Failure(f"--conversation {conversation!r} is not a conversation", "write it like ACCOUNT:CONTACT")
    begin, end = _range(since, until)
    kafka = settings(KafkaSettings)
    with screen.working(f"Reading {written(begin)} to {written(end)} at {kafka.bootstrap_servers}"):
        past = await _read(client_connection(kafka), begin, end, conversation)
    answerable = _answerable(past, to_ms(begin), limit)
    with screen.working("Reading decisions and merchants"):
        decided, merchants, missing = await _known(answerable, past)
    with screen.working(f"Deciding {len(answerable)} messages again"):
        compared = await decide_again(past, answerable, decided, merchants)
    shown = [one for one in compared if one.mark == "different"] if different else compared
    if json:
        screen.as_json(
            {
                "from": written(begin),
                "to": written(end),
                "summary": {name: sum(one.mark == name for one in compared) for name in MEANINGS},
                "not_readable": past.not_readable,
                "messages": [as_data(one) for one in shown],
            }
        )
        return
    _show(shown)
    screen.say(summary(compared) + ".")
    if missing:
        screen.note(missing)
    if past.not_readable:
        screen.note(f"{past.not_readable} records could not be read as events and were left out")
    if len(compared) == limit:
        screen.note(f"only the first {limit} messages were looked at; --limit takes more")
    if shown:
        last = next((one for one in shown if one.mark == "different"), shown[-1])
        screen.following(f"jawab conversation {last.conversation}")


async def decide_again(
    past: Past,
    answerable: Mapping[str, Incoming],
    decided: Mapping[str, Decided],
    merchants: Mapping[str, Merchant],
) -> list[Compared]:
    """Decide about each message again, in order, and compare."""
    if not past.events:
        return []
    pause = timedelta(hours=settings(OwnershipSettings).human_pause_hours)
    second = Second(human_pause=pause, begin=of_ms(past.events[0][0]))
    compared = []
    for at_ms, event in past.events:
        said = answerable.get(event.id)
        if said is None:
            second.observe(event, merchants.get(event.partitionkey.partition(":")[0]))
            continue
        then = decided.get(event.id)
        now, note, model_needed = None, "", False
        merchant = merchants.get(said.account_id)
        if merchant is None:
            note = "no merchant has this account"
        else:
            try:
                now = await second.decide(merchant, said, then, of_ms(at_ms))
            except NotRecorded:
                model_needed = True
        compared.append(
            Compared(
                event_id=event.id,
                at=said.at,
                conversation=said.conversation_id,
                channel=said.channel,
                said=said.shown,
                then=then,
                now=now,
                mark=mark(event.id, then, now, model_needed=model_needed),
                became=_became(then, past.outcomes),
                note=note,
            )
        )
    return compared


def take(past: Past, record: Record) -> None:
    """Sort one record in."""
    try:
        event = ANY_EVENT.validate_json(record.value)
    except ValidationError:
        past.not_readable += 1
        return
    if isinstance(event, ReplyGenerated):
        past.replies.append(event)
        return
    if isinstance(event, ReplyDelivered | ReplyFailed | ReplySuppressed | ReplyOutcomeUnknown):
        past.outcomes[event.data.reply_id] = event
        return
    past.events.append((record.timestamp_ms, event))


def outcome_in_words(event: OutcomeEvent) -> str:
    """Say what became of a reply."""
    match event:
        case ReplyDelivered(data=delivered):
            took = f" in {delivered.milliseconds} ms" if delivered.milliseconds is not None else ""
            return f"delivered over {delivered.route}{took}"
        case ReplyFailed(data=failed):
            return f"failed: {failed.reason}"
        case ReplySuppressed(data=suppressed):
            return f"withheld: {suppressed.reason}"
        case ReplyOutcomeUnknown():
            return "outcome unknown"
        case HumanReplied():
            return "a person answered"


async def _read(connection: dict[str, Any], begin: datetime, end: datetime, conversation: str | None) -> Past:
    past = Past()
    wanted = Range(to_ms(begin), to_ms(end), conversation)
    around = Range(to_ms(begin - LEAD), None, conversation)
    after = Range(to_ms(begin), None, conversation)
    for topics, range_ in (([INTERACTIONS], wanted), ([OUTCOMES, CONTROL], around), ([REPLIES, REQUESTED], after)):
        for record in await records.read(connection, topics, range_):
            take(past, record)
    past.events = in_order(past.events)
    return past


def _answerable(past: Past, begin_ms: int, limit: int) -> dict[str, Incoming]:
    found: dict[str, Incoming] = {}
    for at_ms, event in past.events:
        if len(found) == limit:
            break
        if isinstance(event, Answerable) and at_ms >= begin_ms and (said := incoming(event)) is not None:
            found[event.id] = said
    return found


async def _known(answerable: Mapping[str, Incoming], past: Past) -> tuple[dict[str, Decided], dict[str, Merchant], str]:
    """Return decisions by interaction, merchants by account, and what had to be done without."""
    own = merchant_from_environment(settings(MerchantSettings), None)
    merchants = _by_account([own] if own is not None else [])
    decided = from_replies(past.replies)
    try:
        async with mongo_client(settings(MongoSettings), service="cli") as client:
            db = database(client)
            stored = [merchant for merchant in await MerchantStore(db).all() if isinstance(merchant, Merchant)]
            decided |= await stored_decisions(db, list(answerable))
    except PyMongoError as error:
        without = f"MongoDB is away ({type(error).__name__}): published replies and the environment's merchant are used"
        return decided, merchants, without
    if own is not None and any(merchant.id == own.id for merchant in stored):
        merchants.clear()
    return decided, merchants | _by_account(stored), ""


def _by_account(merchants: Iterable[Merchant]) -> dict[str, Merchant]:
    """Return each merchant under each of its accounts, as seen by it."""
    return {
        account.account_id: seen
        for merchant in merchants
        for account in merchant.accounts
        if (seen := merchant.seen_by(account.account_id)) is not None
    }


def _range(since: str, until: str) -> tuple[datetime, datetime]:
    now = datetime.now(UTC)
    moments = []
    for option, text in (("--from", since), ("--to", until)):
        try:
            moments.append(parse_moment(text, now))
        except ValueError as error:
            raise Failure(f"{option}: {error}") from None
    begin, end = moments
    if begin >= end:
        raise Failure(
            f"--from {written(begin)} is not before --to {written(end)}", "times are UTC unless they say otherwise"
        )
    return begin, end


def _became(then: Decided | None, outcomes: Mapping[str, OutcomeEvent]) -> str:
    if then is None:
        return ""
    said = [outcome_in_words(outcomes[reply]) for reply in then.reply_ids if reply in outcomes]
    return "; ".join(dict.fromkeys(said))


def _show(compared: Sequence[Compared]) -> None:
    """Print a table for each conversation. What differs is shown in full, the rest cut to its line."""
    cells = max((screen.console().width - TAKEN_CELLS) // 3, FEWEST_CELLS)
    for conversation in dict.fromkeys(one.conversation for one in compared):
        screen.say(conversation, style="bold")
        shown = screen.table("", "at", "customer", "then", "now")
        for one in compared:
            if one.conversation == conversation:
                screen.row(shown, _row(one, cells))
        screen.console().print(shown)
        screen.say("")


def _row(one: Compared, cells: int) -> list[str | Text]:
    symbol, style = MARKS[one.mark]
    now = "the same" if one.mark == "same" else one.note or sketch(one.now)
    if one.mark == "model":
        now = "the model would be asked"
    if one.mark == "different":
        texts = [screen.folded(text, cells) for text in (one.said, sketch(one.then), now)]
    else:
        texts = [screen.words(text, cells=cells) for text in (one.said, sketch(one.then), now)]
    if one.became:
        texts[1] = Text.assemble(texts[1], "\n", (screen.shortened(one.became, cells), "dim"), no_wrap=True)
    return [Text(symbol, style=style), f"{one.at.astimezone(UTC):%m-%d %H:%M:%S}", *texts]
