"""Who asked for an erasure or an export, when, and of whom: a slow salted hash that only who knows the id can check."""

import asyncio
import getpass
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from cli.failures import Failure
from common.mongo import PRIVACY_AUDIT, Database
from common.tombstones import customer_digest

MAX_WHO = 100


def operator(given: str | None) -> str:
    """Return who asks: as they say, else the user of this machine. Raises Failure."""
    try:
        who = (given if given is not None else getpass.getuser()).strip()
    except (KeyError, OSError):
        who = ""
    if not who or len(who) > MAX_WHO or not who.isprintable():
        raise Failure("it is not known who asks", f"say it with --by, in at most {MAX_WHO} characters")
    return who


async def note(
    db: Database,
    *,
    code: str,
    action: Literal["erase", "export"],
    by: str,
    customer: str,
    account_id: str,
    found: Mapping[str, int],
    at: datetime,
) -> None:
    """Write down one request, before it is made. Raises PyMongoError."""
    await db[PRIVACY_AUDIT].insert_one(
        {
            "_id": code,
            "action": action,
            "by": by,
            "at": at,
            "customer": await asyncio.to_thread(customer_digest, customer, code),
            "account_id": account_id or None,
            "found": dict(found),
        }
    )
