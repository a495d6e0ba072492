"""`jawab secrets rotate`: seals every stored key and token again, with the newest ENCRYPTION_KEY in the present format.

Afterwards the old key can be removed. Each value is written only over the one that was read, so a token that a service
renews meanwhile is never lost, and running it again changes nothing more.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cyclopts import App

from cli import screen
from cli.merchants_known import configured_sealer, opened_database
from common.mongo import MERCHANTS, Database
from common.sealing import SECRET_FIELDS, NotOpenable, Sealer, SecretField

app = App(name="secrets", help="Seal merchants' stored keys and tokens again with the newest key.")


@dataclass(frozen=True)
class StoredSecret:
    """A sealed value and where it is: `index` is None for a merchant's main account."""

    merchant_id: str
    account_id: str
    index: int | None
    field: SecretField
    sealed: str


@dataclass
class Rotation:
    """What became of the stored secrets; each is named by merchant, account and field."""

    sealed_again: list[str] = field(default_factory=list)
    current: int = 0
    not_openable: list[str] = field(default_factory=list)
    changed_meanwhile: list[str] = field(default_factory=list)


@app.command
async def rotate(*, dry_run: bool = False, json: bool = False) -> int:
    """Seal what is stored again with the first of ENCRYPTION_KEY. Ends with 1 where something is not.

    Parameters
    ----------
    dry_run
        Only say what would be done.
    json
        Print JSON.
    """
    async with opened_database() as db:
        with screen.working("Sealing stored keys again"):
            done = await seal_again(db, configured_sealer(), dry_run=dry_run)
    code = 1 if done.not_openable or done.changed_meanwhile else 0
    if json:
        screen.as_json({**vars(done), "dry_run": dry_run})
        return code
    would = "would be " if dry_run else ""
    screen.say(f"{screen.OK} {len(done.sealed_again)} {would}sealed again, {done.current} had the newest key already")
    for one in done.changed_meanwhile:
        screen.say(f"{screen.WARN} {one} was changed meanwhile: run this again", style="yellow")
    for one in done.not_openable:
        screen.say(f"{screen.BAD} {one} opens with none of the keys of ENCRYPTION_KEY: enter it again", style="red")
    # Only who has sealed everything may be sent to throw the old key away: what it sealed would be lost with it.
    if dry_run or done.changed_meanwhile:
        screen.following("jawab secrets rotate")
    elif not done.not_openable:
        screen.following("take the old keys out of ENCRYPTION_KEY, restart delivery and cleanup", "jawab doctor")
    return code


async def seal_again(db: Database, sealer: Sealer, *, dry_run: bool = False) -> Rotation:
    """Seal every stored secret again that the newest key did not seal. Raises PyMongoError."""
    done = Rotation()
    async for document in db[MERCHANTS].find({}):
        for secret in stored_secrets(document):
            name = f"{secret.merchant_id} {secret.account_id} {secret.field}"
            if sealer.is_current(secret.sealed, secret.account_id, secret.field):
                done.current += 1
                continue
            try:
                value = sealer.open(secret.sealed, secret.account_id, secret.field)
            except NotOpenable:
                done.not_openable.append(name)
                continue
            fresh = sealer.seal(value, secret.account_id, secret.field)
            if dry_run or await _replace(db, secret, fresh):
                done.sealed_again.append(name)
            else:
                done.changed_meanwhile.append(name)
    return done


def stored_secrets(document: dict[str, Any]) -> Iterator[StoredSecret]:
    """Yield the sealed values of a merchant's document, which need not be valid otherwise."""
    others = document.get("other_accounts")
    accounts: list[tuple[int | None, Any]] = [(None, document), *enumerate(others if isinstance(others, list) else [])]
    for index, account in accounts:
        if not isinstance(account, dict):
            continue
        for name in SECRET_FIELDS:
            sealed = account.get(name)
            if isinstance(sealed, str):
                yield StoredSecret(str(document["_id"]), str(account.get("account_id")), index, name, sealed)


async def _replace(db: Database, secret: StoredSecret, fresh: str) -> bool:
    place = secret.field if secret.index is None else f"other_accounts.{secret.index}.{secret.field}"
    same = {"_id": secret.merchant_id, place: secret.sealed}
    return (await db[MERCHANTS].update_one(same, {"$set": {place: fresh}})).modified_count == 1
