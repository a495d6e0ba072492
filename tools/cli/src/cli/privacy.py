"""`jawab privacy`: erases or exports what is stored of customers, and writes down who asked for it.

An erasure goes the way of Meta's own: a request on `privacy.requests.v1`, which cleanup works off, with a page behind
its code. So all that holds of one holds of the other.
"""

import asyncio
import os
import secrets
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError
from cyclopts import App

from cleanup.records import ErasureRecords, State
from cleanup.stored_accounts import accounts_in
from cli import privacy_audit, privacy_data, screen
from cli.environment import settings
from cli.failures import Failure
from cli.merchants_known import opened_database
from cli.moments import written
from cli.privacy_subjects import Subject, subjects_of
from common.events.privacy import ErasureRequested, PrivacyRequest
from common.kafka.broker import client_connection, kafka_broker, publish
from common.mongo import MERCHANTS, TOMBSTONES, Database
from common.settings import KafkaSettings, MerchantSettings

app = App(name="privacy", help="Erase or export what is stored of customers.")

SOURCE = "/cli"
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.5
OUTCOMES: Mapping[State | None, str] = {None: "requested", "erased": "erased", "nobody": "nothing found"}
OUTCOME_CELLS = max(map(len, OUTCOMES.values()))
PUBLISH_SECONDS = 15.0
AT_ONCE = 200


@app.command
async def erase(
    *ids: str,
    file: Path | None = None,
    username: str | None = None,
    account: str | None = None,
    by: str | None = None,
    dry_run: bool = False,
    yes: bool = False,
    wait: bool = False,
    json: bool = False,
) -> int:
    """Erase everything that is stored of customers. It cannot be undone.

    Parameters
    ----------
    ids
        Customers' ids (digits, as Meta's mails name them), or ACCOUNT:CONTACT.
    file
        A text file with one id a line.
    username
        Who commented under this username without their id. Direct messages are found by id alone.
    account
        Only with this account; without it with every account here.
    by
        Who asks, for the record; the user of this machine if it is not said.
    dry_run
        Only count what would be erased.
    yes
        Do not ask whether it is meant.
    wait
        Return when all is erased.
    json
        Print JSON.
    """
    who = privacy_audit.operator(by)
    async with opened_database() as db:
        accounts = await _accounts(db)
        subjects = subjects_of(ids, file=file, username=username, account=account, accounts=accounts)
        found = {subject: await privacy_data.count(db, subject.conversations(accounts)) for subject in subjects}
        (screen.note if json else screen.say)(summary(list(found.values())))
        if dry_run:
            if json:
                screen.as_json({"dry_run": True, "customers": [_view(one, counts) for one, counts in found.items()]})
            else:
                screen.following("the same without --dry-run, and with --wait")
            return 0
        if not yes:
            _confirm(len(subjects))
        codes = await _request(db, found, who)
        states = await _wait(db, list(codes.values())) if wait else {}
        if json:
            screen.as_json({"customers": [{**_view(one, found[one]), "code": code} for one, code in codes.items()]})
            return 0
        for one, code in codes.items():
            screen.say(f"{screen.OK} {OUTCOMES[states.get(code)]:<{OUTCOME_CELLS}} {code}  {one}")
        screen.following(f"jawab privacy status {next(iter(codes.values()))}")
    return 0


@app.command
async def export(
    *ids: str,
    file: Path | None = None,
    username: str | None = None,
    account: str | None = None,
    output: Path | None = None,
    by: str | None = None,
    skip_kafka: bool = False,
) -> None:
    """Write everything that is stored of customers as JSON, to standard output or to a file only you can read.

    Parameters
    ----------
    ids
        Customers' ids, or ACCOUNT:CONTACT.
    file
        A text file with one id a line.
    username
        Who commented under this username without their id.
    account
        Only with this account; without it with every account here.
    output
        A new file to write to.
    by
        Who asks, for the record; the user of this machine if it is not said.
    skip_kafka
        Leave out the records in Kafka, which are the same for the last 14 days.
    """
    who = privacy_audit.operator(by)
    async with opened_database() as db:
        accounts = await _accounts(db)
        customers = []
        for subject in subjects_of(ids, file=file, username=username, account=account, accounts=accounts):
            conversations = subject.conversations(accounts)
            counts = await privacy_data.count(db, conversations)
            await _audit(db, subject, "export", who, counts)
            data: dict[str, Any] = {"customer": subject.contact_id, "accounts": subject.account_id or "all"}
            data["stored"] = await privacy_data.export(db, conversations)
            if not skip_kafka:
                held = conversations if subject.account_id else privacy_data.conversations_in(data["stored"])
                data["kafka"] = await privacy_data.export_log(client_connection(settings(KafkaSettings)), held)
            customers.append(data)
    _write({"exported_at": datetime.now(UTC).isoformat(), "customers": customers}, output)


@app.command
async def status(code: str, *, json: bool = False) -> int:
    """Show what became of a request. Ends with 1 where the code is not known.

    Parameters
    ----------
    code
        As `erase` printed it, or as Meta's callback was answered.
    json
        Print JSON.
    """
    async with opened_database() as db:
        erasure = await ErasureRecords(db).find(code)
        tombstone = await db[TOMBSTONES].find_one({"_id": code}) or {}
    if erasure is None:
        raise Failure("no request has this code", "one that was made a moment ago takes some seconds to appear")
    ignored = int(tombstone.get("ignored", 0))
    data = {
        "state": erasure.state,
        "requested_at": written(erasure.requested_at),
        "done_at": written(erasure.done_at) if erasure.done_at else None,
        "found": dict(erasure.found),
        "ignored_since": ignored,
        "second_pass_at": written(at) if (at := tombstone.get("second_pass_at")) else None,
    }
    if json:
        screen.as_json(data)
        return 0
    shown = screen.table("", "")
    shown.show_header = False
    for name, value in {**data, "found": listed(erasure.found)}.items():
        screen.row(shown, [name.replace("_", " "), str(value) if value is not None else "-"])
    screen.console().print(shown)
    if erasure.state == "erasing":
        screen.following(f"jawab privacy status {code}")
    return 0


async def _accounts(db: Database) -> list[str]:
    """Return every account here, as cleanup knows them."""
    fields = {"account_id": 1, "other_accounts.account_id": 1}
    found = {one["account_id"] async for each in db[MERCHANTS].find({}, fields) for one in accounts_in(each)}
    own = settings(MerchantSettings).account_id
    return sorted(found | ({own} if own else set()))


async def _request(db: Database, found: dict[Subject, dict[str, int]], who: str) -> dict[Subject, str]:
    """Write down and publish a request for each customer; return their codes. Raises Failure, KafkaError."""
    codes: dict[Subject, str] = {}
    broker = kafka_broker(settings(KafkaSettings), client_id="jawab-cli")
    await broker.start()
    try:
        subjects = list(found)
        for start in range(0, len(subjects), AT_ONCE):
            events = []
            for subject in subjects[start : start + AT_ONCE]:
                codes[subject] = await _audit(db, subject, "erase", who, found[subject])
                events.append(_event(subject, codes[subject]))
            try:
                await publish(broker, events, timeout=PUBLISH_SECONDS)
            except (KafkaError, OSError) as error:  # TimeoutError is an OSError
                raise Failure(
                    f"Kafka acknowledged {start} of {len(subjects)} requests ({type(error).__name__})",
                    "repeat the command: a request that is made twice does no harm",
                ) from None
    finally:
        await broker.stop()
    return codes


async def _audit(db: Database, subject: Subject, action: Any, who: str, found: dict[str, int]) -> str:
    code = secrets.token_hex(16)
    await privacy_audit.note(
        db,
        code=code,
        action=action,
        by=who,
        customer=subject.contact_id,
        account_id=subject.account_id,
        found=found,
        at=datetime.now(UTC),
    )
    return code


def _event(subject: Subject, code: str) -> ErasureRequested:
    return ErasureRequested(
        id=f"erasure:{code}",
        source=SOURCE,
        subject=code,
        partitionkey=code,
        time=datetime.now(UTC),
        data=PrivacyRequest(code=code, user_id=subject.contact_id, account_id=subject.account_id or None),
    )


async def _wait(db: Database, codes: Sequence[str]) -> dict[str, State]:
    """Wait until every request is done and return what came of each. Raises Failure."""
    records, left, done = ErasureRecords(db), list(codes), dict[str, State]()
    with screen.working("Erasing"):
        try:
            async with asyncio.timeout(WAIT_SECONDS + len(codes)):
                while left:
                    for code in left:
                        state = await records.state_of(code)
                        if state in {"erased", "nobody"}:
                            done[code] = state
                    left = [code for code in left if code not in done]
                    await asyncio.sleep(LOOK_SECONDS if left else 0)
        except TimeoutError:
            raise Failure(
                f"{len(left)} of {len(codes)} requests are not done yet; none is lost",
                f"is cleanup running? `jawab privacy status {left[0]}` shows it",
            ) from None
    return done


def _confirm(number: int) -> None:
    """Ask for the number of customers. Raises Failure where it is not given."""
    if not sys.stdin.isatty():
        raise Failure("it is not confirmed, and there is nobody to ask", "say --yes, or see what it is with --dry-run")
    screen.note(f"This cannot be undone. Type {number}, the number of customers, to erase them:")
    if sys.stdin.readline().strip() != str(number):
        raise Failure("not confirmed: nothing was erased")


def summary(found: Sequence[Mapping[str, int]]) -> str:
    """Return in one line what is stored of customers; each mapping counts one customer's documents by collection."""
    total = Counter[str]()
    for counts in found:
        total.update(counts)
    unknown = sum(not any(counts.values()) for counts in found)
    customers = "1 customer" if len(found) == 1 else f"{len(found)} customers"
    return f"{customers}, {unknown} of them unknown here; stored: {listed(total)}"


def listed(counts: Mapping[str, int]) -> str:
    """Return `messages: 3, contacts: 1`, or `nothing`."""
    return ", ".join(f"{name}: {number}" for name, number in sorted(counts.items()) if number) or "nothing"


def _view(subject: Subject, counts: dict[str, int]) -> dict[str, Any]:
    return {"customer": subject.contact_id, "account": subject.account_id or None, "found": counts}


def _write(data: dict[str, Any], output: Path | None) -> None:
    if output is None:
        screen.as_json(data)
        return
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Failure(f"--output cannot be written ({type(error).__name__})", "name a new file") from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        screen.write_json(data, stream)
    screen.note(f"written to {output.name}, readable by you alone")
