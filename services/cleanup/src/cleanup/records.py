"""What is kept about a request to be forgotten: enough to prove it was done, nothing that says who asked.

The person's id is kept only as a slow salted hash: whoever knows the id and the code can check that they belong
together, and nobody can list the persons from a copy of the database.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from common.mongo import ERASURES, Database
from common.tombstones import customer_digest

State = Literal["erasing", "erased", "nobody"]


@dataclass(frozen=True)
class Erasure:
    """One request, by its code. `found` counts documents by collection, as they were before the first try."""

    code: str
    state: State
    requested_at: datetime
    done_at: datetime | None
    found: Mapping[str, int]


class Erasures(Protocol):
    """Finds requests."""

    async def find(self, code: str) -> Erasure | None:
        """Return the request of that code, or None. Raises PyMongoError."""
        ...


class ErasureRecords:
    """The `erasures` collection."""

    def __init__(self, db: Database) -> None:
        self._collection = db[ERASURES]

    async def begin(self, code: str, *, person: str, requested_at: datetime, found: Mapping[str, int]) -> None:
        """Write down what is about to be erased, before any of it is. Raises PyMongoError.

        A second try after a crash finds less: the larger count stays, so what was erased is not told as "nobody".
        """
        await self._collection.update_one(
            {"_id": code},
            {
                "$setOnInsert": {
                    "state": "erasing",
                    "requested_at": requested_at,
                    "person": await disguised(person, code),
                },
                "$max": {f"found.{name}": count for name, count in found.items()},
            },
            upsert=True,
        )

    async def finish(self, code: str, *, at: datetime) -> State:
        """Mark a begun request done and return what came of it. Raises PyMongoError."""
        document = await self._collection.find_one({"_id": code}, {"found": 1}) or {"found": {}}
        state: State = "erased" if any(document["found"].values()) else "nobody"
        await self._collection.update_one({"_id": code}, {"$set": {"state": state, "done_at": at}})
        return state

    async def state_of(self, code: str) -> State | None:
        """Return what came of a request so far; None where it is not known. Raises PyMongoError."""
        document = await self._collection.find_one({"_id": code}, {"state": 1})
        return document["state"] if document is not None else None

    async def find(self, code: str) -> Erasure | None:
        """Return the request of that code, or None. Raises PyMongoError."""
        document: dict[str, Any] | None = await self._collection.find_one({"_id": code})
        if document is None:
            return None
        return Erasure(
            code=code,
            state=document["state"],
            requested_at=document["requested_at"],
            done_at=document.get("done_at"),
            found=document["found"],
        )


async def disguised(person: str, code: str) -> str:
    """Return scrypt of the person's id with the request's code as salt: about 50 ms a guess."""
    return await asyncio.to_thread(customer_digest, person, code)
