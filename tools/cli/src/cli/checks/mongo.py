"""Whether MongoDB is there, and does what the promises rest on: tried in a scratch collection of its own database."""

import time
from uuid import uuid4

from pymongo.errors import OperationFailure, PyMongoError

from cli.diagnosis import Check, Doubtful, NotLooked, Wrong
from common.mongo import COLLECTIONS, Database, check_mongo
from devkit.mongo_checks import compare_and_set, journaled_majority, unique_index_conflict, upsert

NEEDED = (unique_index_conflict, compare_and_set, upsert, journaled_majority)
INVALID = NotLooked("MONGODB_URL is not valid", "see the lines of the environment")


async def answers(db: Database | None) -> bool:
    """Whether the server is there: asked once, so that its absence is waited for once."""
    try:
        if db is not None:
            await db.command("ping")
    except PyMongoError:
        return False
    return db is not None


def mongo_checks(db: Database | None, *, there: bool) -> list[Check]:
    """Return the checks; without a database, or a server that is `there`, they say so."""

    async def reachable() -> str:
        if db is None:
            raise INVALID
        begun = time.perf_counter()
        await check_mongo(db)
        return f"database {db.name} answered in {(time.perf_counter() - begun) * 1000:.0f} ms"

    def known() -> Database:
        if db is None:
            raise INVALID
        if not there:
            raise NotLooked("MongoDB is away")
        return db

    async def able() -> str:
        return await abilities(known())

    async def indexes() -> str:
        return await indexes_of(known())

    return [
        Check("mongodb", "reachable", reachable),
        Check("mongodb", "abilities", able),
        Check("mongodb", "indexes", indexes),
    ]


async def abilities(db: Database) -> str:
    """Try what a reply's "at most once" rests on. Raises Wrong naming what the server cannot do."""
    for ability in NEEDED:
        scratch = db[f"doctor_{uuid4().hex[:12]}"]
        try:
            await ability(scratch)
        except AssertionError:
            raise Wrong(f"not true of this server: {ability.__doc__}", "use MongoDB 6 or newer") from None
        except OperationFailure as error:
            raise Wrong(
                f"refused while trying: {ability.__doc__} (code {error.code})",
                "give the user readWrite on this database; w: majority needs a replica set or a single server",
            ) from None
        finally:
            await scratch.drop()
    return "unique keys, compare-and-set, upserts and journaled majority writes work"


async def indexes_of(db: Database) -> str:
    """Compare the indexes with the declared ones. Raises Doubtful: the owning services create them when they start."""
    wanted = {(c.name, index.document["name"]) for c in COLLECTIONS for index in c.indexes}
    existing = set(await db.list_collection_names())
    found = {
        (name, index)
        for name in {c.name for c in COLLECTIONS} & existing
        for index in await db[name].index_information()
    }
    if missing := sorted(f"{collection}.{index}" for collection, index in wanted - found):
        raise Doubtful(f"{len(missing)} of {len(wanted)} are not there yet", "the services create them when they start")
    return f"all {len(wanted)} there"
