"""Finds merchants: in the database, or the one that the environment configures."""

import asyncio
import time
from collections import OrderedDict

from pydantic import SecretStr, ValidationError

from common.merchants import Merchant, MerchantNotReadable
from common.mongo import MERCHANTS, Database, Document
from common.sealing import Sealer, SecretField
from common.settings import MerchantSettings
from common.wrong_input import problems


def merchant_from_environment(settings: MerchantSettings, sealer: Sealer | None) -> Merchant | None:
    """Return the environment's merchant, or None when INSTAGRAM_PAGE_ID is not set. Keys are kept only if sealed."""
    account_id = settings.account_id
    if account_id is None:
        return None

    def sealed(secret: SecretStr | None, field: SecretField) -> str | None:
        return sealer.seal(secret.get_secret_value(), account_id, field) if sealer and secret else None

    return Merchant(
        id=settings.merchant_id,
        name=settings.merchant_name,
        account_id=account_id,
        access_token=sealed(settings.access_token, "access_token"),
        manychat_api_key=sealed(settings.manychat_api_key, "manychat_api_key"),
        manychat_igsid_field=settings.manychat_igsid_field,
        price_link=settings.price_link,
        operator_webhook=settings.operator_webhook,
    )


class MerchantDirectory:
    """Merchants from the database, the environment's merchant where the database has none with its account or id.

    Answers are kept for `keep` seconds (an edited rule works within that time), at most `most` of them.
    """

    def __init__(self, db: Database, environment: Merchant | None, *, keep: float = 5.0, most: int = 10_000) -> None:
        self._collection = db[MERCHANTS]
        self._environment = environment
        self._keep = keep
        self._most = most
        self._kept: OrderedDict[tuple[str, str], tuple[float, Merchant | None]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def of_account(self, account_id: str) -> Merchant | None:
        """Return the merchant as seen by this account, or None. Raises MerchantNotReadable, PyMongoError."""
        return await self._find("account_id", account_id)

    async def by_id(self, merchant_id: str) -> Merchant | None:
        """Return the merchant as seen by its main account, or None. Raises MerchantNotReadable, PyMongoError."""
        return await self._find("_id", merchant_id)

    async def _find(self, field: str, value: str) -> Merchant | None:
        entry = self._kept.get((field, value))
        if entry is not None and time.monotonic() - entry[0] < self._keep:
            return entry[1]
        async with self._lock:
            entry = self._kept.get((field, value))
            if entry is not None and time.monotonic() - entry[0] < self._keep:
                return entry[1]
            found = await self._read(field, value)
            self._kept[field, value] = (time.monotonic(), found)
            self._kept.move_to_end((field, value))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return found

    async def _read(self, field: str, value: str) -> Merchant | None:
        if field == "account_id":
            # An account that two documents claim is nobody's: its customers must not be answered with the wrong keys.
            documents = await self._collection.find(having_account(value)).limit(2).to_list()
        else:
            documents = await self._collection.find({"_id": value}).to_list()
        if len(documents) > 1:
            claims = " and ".join(sorted(str(document["_id"]) for document in documents))
            raise MerchantNotReadable(f"account {value} belongs to merchants {claims}: take it from one of them")
        if documents:
            merchant = _merchant(documents[0])
            return merchant.seen_by(value) if field == "account_id" else merchant
        own = self._environment
        if own is not None and value == (own.account_id if field == "account_id" else own.id):
            return own
        return None


def having_account(account_id: str) -> Document:
    """Return the filter that finds whose account it is, main or other."""
    return {"$or": [{"account_id": account_id}, {"other_accounts.account_id": account_id}]}


def _merchant(document: Document) -> Merchant:
    try:
        return Merchant.from_document(document)
    except ValidationError as error:
        told = "; ".join(problem.sentence() for problem in problems(error))
        raise MerchantNotReadable(f"merchant {document['_id']}: not valid: {told}") from None
