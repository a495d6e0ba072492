"""The `merchants` collection as operators write it: one account belongs to one merchant, and nobody's is taken over."""

from dataclasses import dataclass

from pydantic import ValidationError
from pymongo.errors import DuplicateKeyError

from cli.failures import Failure
from common.merchant_directory import having_account
from common.merchants import Merchant
from common.mongo import MERCHANTS, READABLE_MERCHANTS, Database, ensure_indexes
from common.wrong_input import problems

MOST_LISTED = 10_000


@dataclass(frozen=True)
class Unreadable:
    """A stored document that is not a valid merchant."""

    id: str
    reason: str


class MerchantStore:
    """Reads and writes merchants."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._collection = db[MERCHANTS]

    async def all(self) -> list[Merchant | Unreadable]:
        """Return every stored merchant by id. Raises PyMongoError."""
        documents = await self._collection.find({}).sort("_id", 1).limit(MOST_LISTED).to_list()
        return [_read(document) for document in documents]

    async def find(self, merchant_id: str) -> Merchant | None:
        """Return one merchant, or None. Raises Failure when what is stored is not valid."""
        document = await self._collection.find_one({"_id": merchant_id})
        if document is None:
            return None
        found = _read(document)
        if isinstance(found, Unreadable):
            raise Failure(
                f"merchant {merchant_id} is stored and not valid ({found.reason})",
                f"mend it; `jawab merchants add {merchant_id} --update` with name, account, route, rules rewrites it",
            )
        return found

    async def stored(self, merchant_id: str) -> bool:
        """Tell whether there is a document of that id, valid or not."""
        return await self._collection.count_documents({"_id": merchant_id}, limit=1) > 0

    async def add(self, merchant: Merchant) -> None:
        """Store a new merchant. Raises Failure when its id or one of its accounts is taken."""
        await self._claim(merchant)
        try:
            await self._collection.insert_one(merchant.to_document())
        except DuplicateKeyError:
            raise await self._taken(merchant) from None

    async def replace(self, merchant: Merchant) -> None:
        """Store a merchant over its former self. Raises Failure when it is not there, or an account is taken."""
        await self._claim(merchant)
        try:
            result = await self._collection.replace_one({"_id": merchant.id}, merchant.to_document())
        except DuplicateKeyError:
            raise await self._taken(merchant) from None
        if result.matched_count == 0:
            raise unknown(merchant.id)

    async def remove(self, merchant_id: str) -> None:
        """Forget a merchant. Raises Failure when it is not there."""
        if (await self._collection.delete_one({"_id": merchant_id})).deleted_count == 0:
            raise unknown(merchant_id)
        await self._db[READABLE_MERCHANTS].delete_one({"_id": merchant_id})

    async def holder(self, account_id: str, *, beside: str = "") -> str | None:
        """Return the id of the merchant that has this account, `beside` which nobody may; None where nobody has it."""
        document = await self._collection.find_one({**having_account(account_id), "_id": {"$ne": beside}}, {"_id": 1})
        return None if document is None else str(document["_id"])

    async def _claim(self, merchant: Merchant) -> None:
        """See that no other merchant has one of the accounts: the indexes cannot tell main accounts from others."""
        await ensure_indexes(self._db, owner="cli")
        for account in merchant.accounts:
            holder = await self.holder(account.account_id, beside=merchant.id)
            if holder is not None:
                raise _belongs_to(account.account_id, holder)

    async def _taken(self, merchant: Merchant) -> Failure:
        for account in merchant.accounts:
            holder = await self.holder(account.account_id, beside=merchant.id)
            if holder is not None:
                return _belongs_to(account.account_id, holder)
        fix = f"change it: jawab merchants add {merchant.id} --update …"
        return Failure(f"there is a merchant {merchant.id} already", fix)


def _belongs_to(account_id: str, holder: str) -> Failure:
    return Failure(
        f"the Instagram account {account_id} already belongs to merchant {holder}",
        f"change that one: jawab merchants add {holder} --update …",
    )


def unknown(merchant_id: str) -> Failure:
    """Say that nobody has that id."""
    return Failure(f"there is no merchant {merchant_id} in the database", "`jawab merchants list` shows all")


def _read(document: dict[str, object]) -> Merchant | Unreadable:
    try:
        return Merchant.from_document(document)
    except ValidationError as error:
        return Unreadable(str(document["_id"]), "; ".join(problem.sentence() for problem in problems(error)))
