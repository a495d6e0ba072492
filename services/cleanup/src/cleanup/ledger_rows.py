"""Strips the ledger's rows of an erased customer: what stays keeps a reply from being sent again, and names nobody."""

from collections.abc import Mapping

from pymongo import UpdateOne

from common.mongo import DELIVERIES, Database, Document

BATCH = 500
KEPT_IN_LEDGER = frozenset({"_id", "state", "at"})
"""Delivery takes a row with nothing else, marked `erased`, as finished: it is never sent again."""


def stripped(row: Mapping[str, object]) -> dict[str, object]:
    """Return the update that leaves of a ledger row only what keeps its reply from being sent again.

    The fence goes too, so that a delivery which has the row in hand cannot write it back.
    """
    telling = {name: "" for name in row if name not in KEPT_IN_LEDGER}
    return {"$unset": telling, "$set": {"erased": True}}


async def strip_ledger(db: Database, which: Document) -> int:
    """Strip the rows that `which` selects, and return how many there were. Raises PyMongoError.

    `which` must not select stripped rows, which know neither conversation nor decision any more.
    """
    ledger, stripped_rows = db[DELIVERIES], 0
    while rows := await ledger.find(which).limit(BATCH).to_list():
        # A round finds other rows than the one before, or those that changed between reading and writing.
        as_read = [{"_id": row["_id"], "state": row["state"], "fence": row.get("fence")} for row in rows]
        updates = [UpdateOne(read, stripped(row)) for read, row in zip(as_read, rows, strict=True)]
        stripped_rows += (await ledger.bulk_write(updates, ordered=False)).modified_count
    return stripped_rows
