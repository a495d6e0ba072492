"""Which merchants there are: those of the database and the environment's own, and what may be shown of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from pymongo.errors import PyMongoError

from cli.environment import settings
from cli.merchant_store import MerchantStore, unknown
from common.merchant_directory import merchant_from_environment
from common.merchants import Account, Merchant
from common.mongo import Database, database, mongo_client
from common.sealing import SECRET_FIELDS, NotOpenable, Sealer, SecretField
from common.settings import MerchantSettings, MongoSettings, SealingSettings

SecretState = Literal["not set", "set", "set, cannot be opened"]
Source = Literal["database", "environment"]

HURRY_SECONDS = 1.0
EFFECT = "Running services take it up within 5 seconds."


def public_view(merchant: Merchant, sealer: Sealer, *, source: Source = "database") -> dict[str, Any]:
    """Return everything about a merchant but its secrets."""
    view = merchant.model_dump(mode="json", exclude=set[str](SECRET_FIELDS) | {"rules", "other_accounts"})
    view |= _secrets(merchant, sealer)
    view["other_accounts"] = [
        account.model_dump(mode="json", exclude=set[str](SECRET_FIELDS)) | _secrets(account, sealer)
        for account in merchant.other_accounts
    ]
    view["rules"] = "default" if merchant.rules is None else [rule.name for rule in merchant.rules]
    return {**view, "source": source}


def secret_state(account: Account, field: SecretField, sealer: Sealer) -> SecretState:
    """Return whether a secret is there and can be used."""
    try:
        return "not set" if account.opened(field, sealer) is None else "set"
    except NotOpenable:
        return "set, cannot be opened"


def _secrets(account: Account, sealer: Sealer) -> dict[str, SecretState]:
    return {field: secret_state(account, field, sealer) for field in SECRET_FIELDS}


async def find(merchant_id: str) -> tuple[Merchant, Source]:
    """Return a merchant and where it is configured. Raises Failure."""
    async with opened_store() as store:
        found = await store.find(merchant_id)
    if found is not None:
        return found, "database"
    own = environment_merchant()
    if own is not None and own.id == merchant_id:
        return own, "environment"
    raise unknown(merchant_id)


def configured_sealer() -> Sealer:
    """Return what opens and seals keys. Raises Misconfigured."""
    return Sealer([key.get_secret_value() for key in settings(SealingSettings).encryption_keys])


def environment_merchant() -> Merchant | None:
    """Return the environment's own merchant, or None. Raises Misconfigured."""
    return merchant_from_environment(settings(MerchantSettings), configured_sealer())


@asynccontextmanager
async def opened_store() -> AsyncIterator[MerchantStore]:
    """Open the database's merchants."""
    async with opened_database() as db:
        yield MerchantStore(db)


@asynccontextmanager
async def opened_database() -> AsyncIterator[Database]:
    """Open the database."""
    async with mongo_client(settings(MongoSettings), service="cli") as client:
        yield database(client)


async def is_nobodys(account_id: str) -> bool:
    """Tell whether it is known that no merchant has this account; False where the database cannot be asked."""
    own = settings(MerchantSettings).account_id
    try:
        async with _hurried_store() as store:
            return own != account_id and await store.holder(account_id) is None
    except PyMongoError:
        return False


async def exists(merchant_id: str) -> bool | None:
    """Tell whether there is a merchant of that id; None where the database cannot be asked."""
    own = settings(MerchantSettings)
    if own.account_id is not None and own.merchant_id == merchant_id:
        return True
    try:
        async with _hurried_store() as store:
            return await store.stored(merchant_id)
    except PyMongoError:
        return None


@asynccontextmanager
async def _hurried_store() -> AsyncIterator[MerchantStore]:
    """Open the database for a question that may stay without an answer."""
    known = settings(MongoSettings)
    hurried = known.model_copy(update={"mongodb_timeout": min(known.mongodb_timeout, HURRY_SECONDS)})
    async with mongo_client(hurried, service="cli") as client:
        yield MerchantStore(database(client))
