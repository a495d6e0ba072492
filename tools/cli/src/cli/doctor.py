"""`jawab doctor`: the set-up checklist and the first steps of troubleshooting, tried for real."""

import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Literal, TypeVar, get_args

import httpx2
from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError
from pymongo.errors import PyMongoError
from rich.text import Text

from cli import screen
from cli.checks.accounts import account_checks
from cli.checks.environment import SEE, environment_checks
from cli.checks.kafka import kafka_checks
from cli.checks.model import model_checks
from cli.checks.mongo import answers, mongo_checks
from cli.checks.providers import Keys, Providers, all_keys_of, provider_checks
from cli.checks.services import service_checks
from cli.checks.webhook import Webhook, webhook_checks
from cli.diagnosis import Check, Finding, NotLooked, State, Wrong, examine_all, healthy, summary
from cli.failures import EXIT_FAILED, Failure
from cli.merchant_store import MerchantStore, Unreadable
from cli.merchants_accounts import StandingsOf, standings_of
from cli.moments import parse_duration
from cli.outside_client import outside_client
from common.merchant_directory import merchant_from_environment
from common.merchants import Merchant
from common.mongo import Database, database, mongo_client
from common.sealing import Sealer
from common.service import misconfiguration
from common.settings import (
    Block,
    KafkaSettings,
    MerchantSettings,
    MetaAppSettings,
    MongoSettings,
    SealingSettings,
    named,
)

Group = Literal["environment", "kafka", "mongodb", "webhook", "services", "merchants", "providers"]
GROUPS: tuple[Group, ...] = get_args(Group)

MARKS: dict[State, tuple[str, str]] = {
    "ok": (screen.OK, "green"),
    "wrong": (screen.BAD, "red"),
    "doubtful": (screen.WARN, "yellow"),
    "not_looked": (screen.BAD, "dim"),
}
TITLES = {"mongodb": "MongoDB"}
MOST_MERCHANTS = 20
MONGO_SHARE = 0.8
"""Of the patience, so that the driver says what is wrong before the patience ends."""

B = TypeVar("B", bound=BaseSettings)


class Place(Block):
    """Where this runs."""

    environment: str = named("JAWAB_ENV", default="production")
    public_url: str = named("PUBLIC_URL", default="http://localhost:8000")


async def doctor(
    *,
    url: str = "http://localhost:8000",
    ai: str = "http://localhost:8001",
    delivery: str = "http://localhost:8002",
    cleanup: str = "http://localhost:8003",
    only: tuple[Group, ...] = (),
    patience: str = "10s",
    json: bool = False,
) -> int:
    """Check the set-up and say how to mend what is wrong. Exits 1 when something fails.

    Nothing is changed and nothing is sent to a customer. The model is asked for one small answer. The webhook is sent
    an empty notification, signed and forged; MongoDB gets scratch collections, which are dropped.

    Parameters
    ----------
    url
        Where ingest is.
    ai
        Where the ai service is.
    delivery
        Where the delivery service is.
    cleanup
        Where the cleanup service is.
    only
        Look at one group of things; may be given several times.
    patience
        How long each thing may take, such as 10s.
    json
        Print JSON.
    """
    try:
        limit = parse_duration(patience).total_seconds()
    except ValueError as error:
        raise Failure(f"--patience: {error}") from None
    groups = only or GROUPS
    addresses = {"ingest": url, "ai": ai, "delivery": delivery, "cleanup": cleanup}
    addresses = {service: address.rstrip("/") for service, address in addresses.items()}
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(outside_client(limit))
        with screen.working(f"Looking at {', '.join(groups)}"):
            db = await _database(stack, limit)
            checks = [check for check in await _checks(client, db, addresses, groups, limit) if check.group in groups]
            findings = await examine_all(checks, limit=limit)
    well = healthy(findings)
    if json:
        screen.as_json({"healthy": well, "findings": [asdict(finding) for finding in findings]})
    else:
        _show(findings)
    return 0 if well else EXIT_FAILED


async def _database(stack: AsyncExitStack, limit: float) -> Database | None:
    settings = _valid(MongoSettings)
    if settings is None:
        return None
    hurried = settings.model_copy(update={"mongodb_timeout": min(settings.mongodb_timeout, limit * MONGO_SHARE)})
    return database(await stack.enter_async_context(mongo_client(hurried, service="doctor")))


async def _checks(
    client: httpx2.AsyncClient,
    db: Database | None,
    addresses: dict[str, str],
    groups: Sequence[Group],
    patience: float,
) -> list[Check]:
    place = _valid(Place)
    production = place is None or place.environment != "development"
    there = await answers(db) if {"merchants", "providers", "mongodb"} & set(groups) else False
    answered = await _answered(db if there else None)
    sealing = _valid(SealingSettings)
    sealer = Sealer([key.get_secret_value() for key in sealing.encryption_keys]) if sealing else None
    looked_at = answered.merchants[:MOST_MERCHANTS]
    keys = [one for merchant in looked_at for one in all_keys_of(merchant, sealer)]
    known = await _standings(db if there else None, looked_at)
    webhook = Webhook(client, addresses["ingest"], _valid(MetaAppSettings))
    return [
        *environment_checks(),
        *kafka_checks(_valid(KafkaSettings), production=production),
        *mongo_checks(db, there=there),
        *webhook_checks(webhook, place.public_url if place else None, production=production),
        *service_checks(client, addresses),
        merchants_check(answered, keys, sealed=sealer is not None),
        *account_checks(looked_at, known, own=answered.own),
        *model_checks(_valid(Providers), patience=patience),
        *provider_checks(client, _valid(Providers), keys, patience=patience),
    ]


@dataclass(frozen=True)
class Answered:
    """Whose customers are answered, and what of that is out of order."""

    merchants: Sequence[Merchant] = ()
    problems: Sequence[str] = ()
    complete: bool = True
    """Whether the database could be read."""
    own: Merchant | None = None
    """The one of them that the environment alone configures."""


async def _answered(db: Database | None) -> Answered:
    problems, own = [], None
    settings, sealing = _valid(MerchantSettings), _valid(SealingSettings)
    sealer = Sealer([key.get_secret_value() for key in sealing.encryption_keys]) if sealing else None
    try:
        own = merchant_from_environment(settings, sealer) if settings else None
    except ValidationError as error:
        problems = [f"the environment's: {misconfiguration(error).removesuffix(SEE)}"]
    if db is None:
        return Answered([own] if own else [], problems, complete=False, own=own)
    try:
        stored = await MerchantStore(db).all()
    except PyMongoError:
        return Answered([own] if own else [], problems, complete=False, own=own)
    found = [merchant for merchant in stored if isinstance(merchant, Merchant)]
    if own is not None and not any(own.id == m.id or m.seen_by(own.account_id) for m in found):
        found.insert(0, own)
    problems += [f"{m.id} is not valid: {m.reason}" for m in stored if isinstance(m, Unreadable)]
    return Answered(found, problems, own=own)


async def _standings(db: Database | None, merchants: Sequence[Merchant]) -> StandingsOf | None:
    if db is None:
        return None
    try:
        return await standings_of(db, merchants)
    except PyMongoError:
        return None


def merchants_check(answered: Answered, keys: Sequence[Keys], *, sealed: bool) -> Check:
    """Return the check that somebody is answered, and that nobody's document is out of order."""

    async def look() -> str:
        if answered.problems:
            raise Wrong("; ".join(answered.problems), "correct them: these accounts are not answered")
        if not sealed:
            raise NotLooked("ENCRYPTION_KEY is not valid", "see the lines of the environment")
        if broken := [one.merchant for one in keys if one.broken]:
            raise Wrong(
                f"keys sealed with another ENCRYPTION_KEY: {', '.join(broken)}",
                "put that one behind the new one, separated by a comma, or enter the keys again",
            )
        if not answered.merchants and answered.complete:
            raise Wrong(
                "there is none: nobody is answered",
                "set INSTAGRAM_PAGE_ID and its token, or `jawab merchants add`",
            )
        if not answered.complete:
            raise NotLooked(f"MongoDB is away; the environment names {len(answered.merchants)}")
        count = len(answered.merchants)
        return f"{count} answered" + (
            f"; keys of the first {MOST_MERCHANTS} are tried" if count > MOST_MERCHANTS else ""
        )

    return Check("merchants", "accounts", look)


def _valid(kind: type[B]) -> B | None:
    """Return a block of settings, or None: the lines of the environment say what is wrong with it."""
    try:
        return kind()
    except (ValidationError, SettingsError, ValueError):
        return None


def _show(findings: Sequence[Finding]) -> None:
    width = max((len(finding.name) for finding in findings), default=0)
    previous = ""
    for finding in findings:
        if finding.group != previous:
            screen.say(TITLES.get(finding.group, finding.group.capitalize()), style="bold")
            previous = finding.group
        mark, style = MARKS[finding.state]
        said = f"not looked at: {finding.said}" if finding.state == "not_looked" else finding.said
        screen.say(
            Text.assemble("  ", (mark, style), f" {finding.name:<{width}}  ", (said, "" if style == "green" else style))
        )
        if finding.fix:
            screen.say(Text.assemble(" " * (width + 6), ("→ ", "bold"), finding.fix))
    screen.say("")
    screen.say(summary(findings) + ".")
    if healthy(findings):
        screen.following("jawab simulate dm --wait")
    elif any(finding.fix == "jawab topics apply" for finding in findings):
        screen.following("jawab topics apply", "jawab doctor")
    elif os.environ.get("JAWAB_ENV") == "development" and all(
        finding.state != "ok" for finding in findings if finding.group == "services"
    ):
        screen.following("jawab up")
