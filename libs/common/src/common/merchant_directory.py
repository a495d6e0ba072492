"""Finds merchants: in the database, or the one that the environment configures.

A document that cannot be read leaves its last readable version in force (`readable_merchants`), so that a slip in one
merchant's document costs that slip and nothing else. Only where there never was such a version, or where two documents
claim an account, nobody knows how to answer: MerchantNotReadable, and the account's records wait.
"""

import asyncio
import time
from collections import OrderedDict
from functools import partial

import structlog
from bson.codec_options import DatetimeConversion
from prometheus_client import CollectorRegistry, Gauge
from pydantic import SecretStr, ValidationError

from common.clock import Clock, SystemClock
from common.merchants import Merchant, MerchantNotReadable
from common.mongo import MERCHANTS, Database, Document
from common.readable_merchants import ReadableMerchants
from common.sealing import Sealer, SecretField
from common.settings import MerchantSettings
from common.wrong_input import problems

log = structlog.get_logger("merchants")

UNREADABLE_SECONDS = 600.0
"""An unreadable merchant that nobody has asked for since is counted no longer."""


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


class MerchantMetrics:
    """The metrics of a directory, in one registry. Accounts and merchants are no labels."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.unreadable = Gauge(
            "merchants_unreadable",
            "Merchants whose document cannot be read, by what is in force instead",
            ["in_force"],
            registry=registry,
        )


class UnreadableMerchants:
    """Which merchants' documents cannot be read now, with what is in force instead; logs each once."""

    def __init__(self) -> None:
        self._each: dict[str, tuple[float, str, str]] = {}

    def add(self, name: str, reason: str, *, in_force: str) -> None:
        """Note one, by its id or account: `in_force` is "last_readable" or "none"."""
        now = time.monotonic()
        known = self._each.get(name)
        self._each[name] = (now, reason, in_force)
        if known is None or known[1:] != (reason, in_force):
            log.error("merchant.not_readable", reason=reason, in_force=in_force)

    def remove(self, name: str) -> None:
        """Note that one can be read, or is gone."""
        if self._each.pop(name, None) is not None:
            log.info("merchant.readable_again", merchant=name)

    def count(self, in_force: str) -> int:
        """Return how many there are, and forget those that nobody asked for lately."""
        since = time.monotonic() - UNREADABLE_SECONDS
        self._each = {name: entry for name, entry in self._each.items() if entry[0] >= since}
        return sum(entry[2] == in_force for entry in self._each.values())

    def measured_by(self, metrics: MerchantMetrics) -> None:
        """Let metrics show how many there are."""
        for in_force in ("last_readable", "none"):
            metrics.unreadable.labels(in_force).set_function(partial(self.count, in_force))


class MerchantDirectory:
    """Merchants from the database, the environment's merchant where the database has none with its account or id.

    Answers are kept for `keep` seconds (an edited rule works within that time), at most `most` of them.
    """

    def __init__(
        self,
        db: Database,
        environment: Merchant | None,
        *,
        registry: CollectorRegistry | None = None,
        clock: Clock | None = None,
        keep: float = 5.0,
        most: int = 10_000,
    ) -> None:
        # A date out of range or a broken text makes one field wrong, instead of a document that nobody can decode.
        codec = db.codec_options.with_options(
            datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
        )
        self._collection = db.get_collection(MERCHANTS, codec_options=codec)
        self._readable = ReadableMerchants(db, clock or SystemClock(), most=most)
        self._unreadable = UnreadableMerchants()
        if registry is not None:
            self._unreadable.measured_by(MerchantMetrics(registry))
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
            reason = f"account {value} belongs to merchants {claims}: take it from one of them"
            self._unreadable.add(value, reason, in_force="none")
            raise MerchantNotReadable(reason)
        self._unreadable.remove(value)
        if documents:
            return await self._seen(documents[0], value if field == "account_id" else None)
        own = self._environment
        if own is not None and value == (own.account_id if field == "account_id" else own.id):
            return own
        return None

    async def _seen(self, document: Document, account_id: str | None) -> Merchant | None:
        """Return a document's merchant as seen by an account, or by its main one. Raises MerchantNotReadable."""
        merchant_id = str(document["_id"])
        try:
            merchant = Merchant.from_document(document)
        except ValidationError as error:
            wrong = "; ".join(problem.sentence() for problem in problems(error))
            reason = f"merchant {merchant_id}: not valid: {wrong}"
            last = await self._readable.find(document)
            seen = last.seen_by(account_id) if last is not None and account_id is not None else last
            self._unreadable.add(merchant_id, reason, in_force="none" if seen is None else "last_readable")
            if seen is None:
                raise MerchantNotReadable(reason) from None
            return seen
        self._unreadable.remove(merchant_id)
        await self._readable.store(document)
        return merchant.seen_by(account_id) if account_id is not None else merchant


def having_account(account_id: str) -> Document:
    """Return the filter that finds whose account it is, main or other."""
    return {"$or": [{"account_id": account_id}, {"other_accounts.account_id": account_id}]}
