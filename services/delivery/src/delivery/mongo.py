"""The ledger and the contacts in MongoDB: single-document operations and unique indexes, nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from pymongo.errors import DuplicateKeyError

from common.clock import Clock
from common.events.ids import USERNAME_CONTACT
from common.events.replies import PrivateReply
from common.failpoints import sabotaged
from common.mongo import CONTACTS, DELIVERIES, Database, Document
from delivery.contacts import MOST_HIDDEN, Contact, Owner
from delivery.ledger import (
    AHEAD,
    FLOW,
    IN_PUBLIC,
    IN_THE_THREAD,
    LONGEST_LIFE,
    MOST_ROWS,
    OPEN,
    CommentTaken,
    Part,
    Row,
    State,
    to_milliseconds,
)
from delivery.rules.opt_ins import MOST_KEPT, OptInToken

ROW_FIELDS = frozenset(field.name for field in fields(Row)) - {"reply_id", "parts"}
READ_WITHIN = timedelta(days=30)
"""For how long a reply may be read for the first time and still be marked as seen."""

MAY_HAVE_ARRIVED: Sequence[State] = ("attempting", "handed_to_human", "unknown")
"""States of a row a part of which may have arrived under an id that nobody here knows."""
PART_FIELDS = frozenset(field.name for field in fields(Part))


def to_document(row: Row) -> Document:
    """Return the document of a row. What is absent stays absent, so the unique index sees only private replies."""
    document = {name: getattr(row, name) for name in ROW_FIELDS}
    document = {name: value for name, value in document.items() if value is not None}
    for rare in ("erased", "untold"):  # absent where they do not hold, so that a sparse index has little to keep
        if not document[rare]:
            del document[rare]
    return {
        "_id": row.reply_id,
        **document,
        "parts": [{name: value for name, value in asdict(part).items() if value is not None} for part in row.parts],
        "message_ids": list(row.message_ids),
    }


def from_document(document: Mapping[str, Any]) -> Row:
    """Read a row, also one of which an erasure has left only id, state and time."""
    given = {name: value for name, value in document.items() if name in ROW_FIELDS}
    blank = {
        "fence": -1,
        "merchant_id": "",
        "account_id": "",
        "contact_id": None,
        "conversation_id": "",
        "decision_id": None,
        "kind": "",
        "origin": "",
        "received_at_ms": 0,
    }
    parts = tuple(
        Part(**{name: value for name, value in part.items() if name in PART_FIELDS})
        for part in document.get("parts", ())
    )
    return Row(reply_id=document["_id"], parts=parts, **{**blank, **given})


class MongoLedger:
    """The `deliveries` collection."""

    def __init__(self, db: Database) -> None:
        self._rows = db[DELIVERIES]

    async def insert(self, row: Row) -> Row | CommentTaken | None:
        """Store a new row and return None; the row that is there under its id, or CommentTaken, if it cannot be."""
        try:
            await self._rows.insert_one(to_document(row))
        except DuplicateKeyError:
            return await self.find(row.reply_id) or CommentTaken()
        return None

    async def find(self, reply_id: str) -> Row | None:
        """Return the row of a reply, or None."""
        document = await self._rows.find_one({"_id": reply_id})
        return None if document is None else from_document(document)

    async def put(self, row: Row, *, over: Row) -> bool:
        """Store `row` if the stored state and fence are still those of `over`; tell whether it was."""
        as_read = {"_id": over.reply_id} if sabotaged("sabotage.no_fence") else _as_read(over)
        result = await self._rows.replace_one(as_read, to_document(row))
        return result.matched_count == 1

    async def around(self, conversation_id: str, at: datetime) -> list[Row]:
        """Return the conversation's rows from about `at`: the latest of them, at most MOST_ROWS."""
        return await self._latest(_near(conversation_id, at))

    async def possible_senders(
        self, conversation_id: str, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        """Return whichever row has `message_id`, and the conversation's rows that may have sent a message shown at
        `at` with one of the fingerprints `keys`: those with such a part, those with a call under way, and flows. Of
        more than MOST_ROWS the latest.
        """
        which = [{"state": "attempting"}, {"kind": FLOW}, {"parts.key": {"$in": list(keys)}}]
        owner = {"message_ids": message_id, "account_id": account_id}
        return await self._latest({"$or": [owner, {**_near(conversation_id, at), "$or": which}]})

    async def private_replies_by_username(
        self, account_id: str, at: datetime, message_id: str, keys: Sequence[str]
    ) -> list[Row]:
        """Return whichever row has `message_id`, and the account's private replies from about `at` with one of the
        fingerprints `keys` that may have arrived, to authors of whom only the username is known.
        """
        unnamed = {
            "state": {"$in": MAY_HAVE_ARRIVED},
            "at": _about(at),
            "account_id": account_id,
            "kind": PrivateReply.model_fields["kind"].default,
            "contact_id": {"$regex": f"^{USERNAME_CONTACT}"},
            "parts.key": {"$in": list(keys)},
        }
        return await self._latest({"$or": [{"message_ids": message_id, "account_id": account_id}, unnamed]})

    async def public_replies_under_way(self, account_id: str, key: str) -> list[Row]:
        """Return the account's public answers with this text's fingerprint of which it is not known yet whether they
        arrived; of more than MOST_ROWS the latest.
        """
        open_ones = {"state": {"$in": ["attempting", "unknown"]}, "account_id": account_id}
        return await self._latest({**open_ones, "kind": {"$in": sorted(IN_PUBLIC)}, "parts.key": key})

    async def public_replies_below(
        self, account_id: str, comment_id: str, at: datetime, key: str, message_ids: Sequence[str]
    ) -> list[Row]:
        """Return the rows, whichever customer they answer, that may be what stands below a comment: those with one of
        `message_ids`, and public answers from about `at` with this text's fingerprint that may have arrived.
        """
        owner = {"message_ids": {"$in": list(message_ids)}, "account_id": account_id}
        unnamed = {
            "state": {"$in": MAY_HAVE_ARRIVED},
            "at": _about(at),
            "account_id": account_id,
            "public_reply_under": comment_id,
            "parts.key": key,
        }
        return await self._latest({"$or": [owner, unnamed]})

    async def mark_seen(self, conversation_id: str, *, upto: datetime, at: datetime) -> None:
        """Note that the customer has read, at `at`, all that was sent by `upto`: on delivered rows of the thread, and
        only where no earlier moment is noted.
        """
        await self._rows.update_many(
            {
                "conversation_id": conversation_id,
                "at": {"$gte": upto - READ_WITHIN, "$lte": upto},
                "state": "delivered",
                "kind": {"$in": sorted(IN_THE_THREAD)},
                "parts.attempted_at": {"$not": {"$gt": upto}},
                "seen_at": {"$not": {"$lte": at}},
            },
            # Whoever has such a row in hand must read it again before writing it back.
            {"$set": {"seen_at": at}, "$inc": {"fence": 1}},
        )

    async def left_behind(self, before: datetime, most: int, *, waiting_before: datetime) -> list[Row]:
        """Return up to `most` rows that were opened before `before` and are not finished, and rows whose end is
        untold: the oldest first. Those that only wait count from `waiting_before`.
        """
        waits = {"state": "claimed", "parts.state": {"$ne": "delivered"}}
        begun = {"state": {"$in": sorted(OPEN)}, "at": {"$lt": before}, "$nor": [waits]}
        unfinished = {"$or": [begun, {**waits, "at": {"$lt": waiting_before}}], "erased": {"$exists": False}}
        untold = await self._rows.find({"untold": True}).sort([("at", 1)]).limit(most).to_list()
        documents = await self._rows.find(unfinished).sort([("at", 1)]).limit(most).to_list()
        return [from_document(document) for document in (*untold, *documents)][:most]

    async def _latest(self, query: Document) -> list[Row]:
        documents = await self._rows.find(query).sort([("at", -1), ("_id", 1)]).limit(MOST_ROWS).to_list()
        return [from_document(document) for document in documents]


def _near(conversation_id: str, at: datetime) -> Document:
    return {"conversation_id": conversation_id, "at": _about(at)}


def _about(at: datetime) -> Document:
    return {"$gte": at - LONGEST_LIFE, "$lte": at + AHEAD}


def _as_read(row: Row) -> Document:
    return {"_id": row.reply_id, "state": row.state, "fence": row.fence}


class MongoContacts:
    """The `contacts` collection."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._contacts = db[CONTACTS]
        self._clock = clock

    async def find(self, conversation_id: str) -> Contact | None:
        """Return the contact, or None when nothing is known of them."""
        document = await self._contacts.find_one({"_id": conversation_id})
        if document is None:
            return None
        return Contact(
            conversation_id=conversation_id,
            last_customer_at=document.get("last_customer_at"),
            owner=document.get("owner", "bot"),
            owner_by=document.get("owner_by", ""),
            owner_since=document.get("owner_since"),
            owner_until=document.get("owner_until"),
            subscriber_id=document.get("subscriber_id"),
            subscriber_at=document.get("subscriber_at"),
            is_self=document.get("is_self", False),
            opt_ins=tuple(OptInToken(**token) for token in document.get("opt_ins", ())),
            hidden_comments=frozenset(document.get("hidden_comments", ())),
        )

    async def customer_acted(self, conversation_id: str, at: datetime) -> None:
        """Note that the customer did something that opens the window; an earlier moment changes nothing."""
        now = self._clock.now()
        await self._contacts.update_one(
            {"_id": conversation_id},
            # A webhook dated in the future must not hold the window open for longer than 24 hours from now.
            {"$max": {"last_customer_at": min(at, now)}, "$set": {"updated_at": now, **_names(conversation_id)}},
            upsert=True,
        )

    async def set_owner(
        self, conversation_id: str, owner: Owner, *, by: str, since: datetime, until: datetime | None
    ) -> None:
        """Note who answers from `since`; changes nothing where a later change is known."""
        ownership = {"owner": owner, "owner_by": by, "owner_since": since, "owner_until": until}
        try:
            await self._contacts.update_one(
                {"_id": conversation_id, "owner_since": {"$not": {"$gte": since}}},
                {"$set": {**ownership, "updated_at": self._clock.now(), **_names(conversation_id)}},
                upsert=True,
            )
        except DuplicateKeyError:
            # The contact is there and did not fit the condition: a later change is known.
            return

    async def remember_subscriber(
        self, conversation_id: str, subscriber_id: int | None, *, confirmed_at: datetime | None = None
    ) -> None:
        """Note who the contact is in ManyChat, or that this is not known any more."""
        if subscriber_id is None:
            await self._contacts.update_one(
                {"_id": conversation_id}, {"$unset": {"subscriber_id": "", "subscriber_at": ""}}
            )
            return
        known = {"subscriber_id": subscriber_id, "subscriber_at": confirmed_at, **self._touched(conversation_id)}
        await self._contacts.update_one({"_id": conversation_id}, {"$set": known}, upsert=True)

    async def met_subscriber(self, conversation_id: str, subscriber_id: int) -> None:
        """Note whom ManyChat itself named as the contact, to be linked yet; what is known already stays."""
        met = {"subscriber_id": subscriber_id, **self._touched(conversation_id)}
        try:
            await self._contacts.update_one(
                {"_id": conversation_id, "subscriber_id": {"$ne": subscriber_id}},
                {"$set": met, "$unset": {"subscriber_at": ""}},
                upsert=True,
            )
        except DuplicateKeyError:
            # The contact is there and did not fit the condition: this is known.
            return

    async def is_the_account_itself(self, conversation_id: str) -> None:
        """Note that this contact is the account, which wrote to itself."""
        await self._contacts.update_one(
            {"_id": conversation_id}, {"$set": {"is_self": True, **self._touched(conversation_id)}}, upsert=True
        )

    async def opted_in(self, conversation_id: str, token: OptInToken) -> None:
        """Keep a token, free to be used; an opt-in that is known, or older than what is known, changes nothing."""
        kept = {**asdict(token), "given_at": to_milliseconds(token.given_at)}
        older = {"token": token.token, "given_at": {"$lt": kept["given_at"]}}
        renewed = await self._contacts.update_one(
            {"_id": conversation_id, "opt_ins": {"$elemMatch": older}}, {"$set": {"opt_ins.$": kept}}
        )
        if renewed.matched_count:
            return
        try:
            await self._contacts.update_one(
                {
                    "_id": conversation_id,
                    "opt_ins.token": {"$ne": token.token},
                    "opted_out_at": {"$not": {"$gte": kept["given_at"]}},
                },
                {
                    "$push": {"opt_ins": {"$each": [kept], "$slice": -MOST_KEPT}},
                    "$set": self._touched(conversation_id),
                },
                upsert=True,
            )
        except DuplicateKeyError:
            # The contact is there and did not fit the condition: the token is known, or was taken back since.
            return

    async def opted_out(self, conversation_id: str, at: datetime) -> None:
        """Forget the tokens that were given until `at`, also those that are told of only later."""
        await self._contacts.update_one(
            {"_id": conversation_id},
            {
                "$pull": {"opt_ins": {"given_at": {"$lte": at}}},
                "$max": {"opted_out_at": at},
                "$set": self._touched(conversation_id),
            },
            upsert=True,
        )

    async def use_opt_in(self, conversation_id: str, token: str, reply_id: str) -> bool:
        """Keep a token for one reply; tell whether it is this reply's now."""
        free = {"token": token, "used_by": {"$in": [None, reply_id]}}
        used = await self._contacts.update_one(
            {"_id": conversation_id, "opt_ins": {"$elemMatch": free}}, {"$set": {"opt_ins.$.used_by": reply_id}}
        )
        return used.matched_count == 1

    async def give_back_opt_in(self, conversation_id: str, reply_id: str) -> None:
        """Free the token that is kept for a reply, if one is."""
        await self._contacts.update_one(
            {"_id": conversation_id, "opt_ins.used_by": reply_id}, {"$set": {"opt_ins.$.used_by": None}}
        )

    async def comment_hidden(self, conversation_id: str, comment_id: str, *, hidden: bool) -> None:
        """Note that a comment of the contact was hidden or deleted here, or is shown again."""
        if not hidden:
            await self._contacts.update_one({"_id": conversation_id}, {"$pull": {"hidden_comments": comment_id}})
            return
        try:
            await self._contacts.update_one(
                {"_id": conversation_id, "hidden_comments": {"$ne": comment_id}},
                {
                    "$push": {"hidden_comments": {"$each": [comment_id], "$slice": -MOST_HIDDEN}},
                    "$set": self._touched(conversation_id),
                },
                upsert=True,
            )
        except DuplicateKeyError:
            # The contact is there and did not fit the condition: the comment is noted already.
            return

    def _touched(self, conversation_id: str) -> Document:
        return {"updated_at": self._clock.now(), **_names(conversation_id)}


def _names(conversation_id: str) -> Document:
    account, _, contact = conversation_id.partition(":")
    return {"account_id": account, "contact_id": contact}
