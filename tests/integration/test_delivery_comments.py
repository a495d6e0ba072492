"""A comment's unique key is free again once the row that had it lets go of it.

On the server from the wheel: the one built from source keeps what stood in a unique index when a document is replaced,
so that there a comment stays taken. MongoDB does not.
"""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from common.events.replies import CommentReply, MentionReply, PrivateReply, Reply
from common.mongo import database, ensure_indexes, mongo_client
from common.settings import MongoSettings
from delivery import ledger
from delivery.ledger import CommentTaken
from delivery.mongo import MongoLedger
from devkit.mongo import EmbeddedMongo

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
IN_PRIVATE = PrivateReply(comment_id="c1", text="Hi")
IN_PUBLIC = CommentReply(comment_id="c1", text="Hi")

pytestmark = pytest.mark.mongo


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with EmbeddedMongo(tmp_path_factory.mktemp("mongo"), fast=False) as server:
        yield server


@pytest.fixture
async def store(server):
    client = mongo_client(MongoSettings(mongodb_url=SecretStr(server.url)), service="test")
    db = database(client)
    await client.drop_database(db.name)
    await ensure_indexes(db, owner="delivery")
    yield MongoLedger(db)
    await client.close()


def opened(number, action):
    reply = Reply(
        reply_id=f"rep_{number}",
        decision_id=f"dec_{number}",
        merchant_id="shop",
        account_id="1",
        contact_id="2",
        origin="rule",
        action=action,
    )
    return ledger.opened(reply, ("a",), NOW)


@pytest.mark.parametrize("action", [IN_PRIVATE, IN_PUBLIC])
async def test_an_answer_that_certainly_was_not_sent_leaves_its_comment_to_another(store, action):
    begun = ledger.begin(opened(1, action), "graph", NOW)
    assert await store.insert(begun) is None
    assert await store.insert(opened(2, action)) == CommentTaken()
    assert await store.put(ledger.refused(begun, "bad_request", "", NOW), over=begun)
    assert await store.insert(opened(3, action)) is None
    assert await store.insert(opened(4, action)) == CommentTaken()


@pytest.mark.parametrize("action", [IN_PRIVATE, MentionReply(media_id="m", comment_id="c1", text="Hi")])
async def test_an_answer_that_may_have_been_sent_keeps_its_comment(store, action):
    begun = ledger.begin(opened(1, action), "graph", NOW)
    lost = ledger.lost_sight(begun, "reset", NOW)
    assert await store.insert(begun) is None
    assert await store.put(lost, over=begun)
    assert await store.put(ledger.handed_over(lost, "look", NOW), over=lost)
    assert await store.insert(opened(2, action)) == CommentTaken()
