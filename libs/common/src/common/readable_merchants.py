"""The last readable version of each merchant's document, in a collection that only the directory writes.

An editor can store a document that cannot be read: a misspelt rule, a route that does not exist. The version before it
stays in force then, also across a restart of every replica. It is stored without keys. Those are always the current
document's, so no second place has to be re-sealed, and a renewed token counts at once.
"""

from collections import OrderedDict

import structlog
from pydantic import ValidationError
from pymongo.errors import PyMongoError

from common.clock import Clock
from common.merchants import Merchant
from common.mongo import READABLE_MERCHANTS, Database, Document
from common.sealing import SECRET_FIELDS

log = structlog.get_logger("merchants")


class ReadableMerchants:
    """Stores and finds the last readable versions. Of `most` merchants it knows what is stored without asking."""

    def __init__(self, db: Database, clock: Clock, *, most: int = 10_000) -> None:
        self._collection = db[READABLE_MERCHANTS]
        self._clock = clock
        self._most = most
        self._stored: OrderedDict[str, Document] = OrderedDict()

    async def store(self, document: Document) -> None:
        """Store a document that was read just now, where it differs from what is stored.

        A failure is only logged: the merchant was read, and the next reading stores it.
        """
        version, merchant_id = without_keys(document), str(document["_id"])
        if self._stored.get(merchant_id) == version:
            return
        try:
            await self._collection.replace_one(
                {"_id": merchant_id}, {"document": version, "read_at": self._clock.now()}, upsert=True
            )
        except PyMongoError as error:
            log.warning("merchant.version_not_stored", merchant=merchant_id, error=type(error).__name__)
        else:
            self._remember(merchant_id, version)

    async def find(self, document: Document) -> Merchant | None:
        """Return the last readable version of a document that cannot be read, with its keys of now; None without one.

        Raises PyMongoError.
        """
        merchant_id = str(document["_id"])
        version = self._stored.get(merchant_id)
        if version is None:
            found = await self._collection.find_one({"_id": merchant_id})
            if found is None:
                return None
            version = self._remember(merchant_id, found["document"])
        try:
            return Merchant.from_document(with_keys(version, keys_of(document)))
        except ValidationError:
            return None  # of a release that knew other fields

    def _remember(self, merchant_id: str, version: Document) -> Document:
        self._stored[merchant_id] = version
        self._stored.move_to_end(merchant_id)
        while len(self._stored) > self._most:
            self._stored.popitem(last=False)
        return version


def without_keys(document: Document) -> Document:
    """Return a readable document without any account's keys."""
    version = {name: value for name, value in document.items() if name not in SECRET_FIELDS}
    if others := document.get("other_accounts"):
        version["other_accounts"] = [without_keys(other) for other in others]
    return version


def keys_of(document: Document) -> dict[str, Document]:
    """Return the keys of each account of a document that may be wrong anywhere else."""
    others = document.get("other_accounts")
    accounts = [document, *(others if isinstance(others, list) else ())]
    return {
        account["account_id"]: {name: account[name] for name in SECRET_FIELDS if isinstance(account.get(name), str)}
        for account in accounts
        if isinstance(account, dict) and isinstance(account.get("account_id"), str)
    }


def with_keys(version: Document, keys: dict[str, Document]) -> Document:
    """Return a stored version with the keys that its accounts have now."""
    document = {**version, **keys.get(version["account_id"], {})}
    if others := version.get("other_accounts"):
        document["other_accounts"] = [with_keys(other, keys) for other in others]
    return document
