"""One comment, told many times at once to several replicas of every service, is answered once in each way."""

import asyncio
from collections import Counter

import pytest
from pymongo import MongoClient

from common.merchants import Merchant, Rule, Then, When
from common.mongo import MERCHANTS
from common.sealing import Sealer
from devkit.simulator import Simulator
from devkit.webhook_sender import WebhookSender

pytestmark = [pytest.mark.kafka, pytest.mark.mongo, pytest.mark.timeout(300)]

ACCOUNT = "17840000000050000"
COPIES = 50
COMMENTS = 4
MENTIONS = 4
IN_PUBLIC = "We have just written to you."
IN_PRIVATE = "The dress costs 45,000 dinars."
THANKS = "Thank you for naming us."


@pytest.fixture
def merchant(stack):
    """A merchant whose rules answer a question for the price in public and in private, and mentions in public."""
    sealer = Sealer([stack.environment()["ENCRYPTION_KEY"]])
    merchant = Merchant(
        id="comment-once",
        name="Comment Once",
        account_id=ACCOUNT,
        access_token=sealer.seal("EAAcommentonce", ACCOUNT, "access_token"),
        routes=("graph",),
        rules=(
            Rule(
                name="price",
                when=When(channel="comment", match="contains", values=("price",)),
                then=Then(reply={"en": IN_PUBLIC}, private_reply={"en": IN_PRIVATE}),
            ),
            Rule(
                name="mention",
                when=When(channel="mention", match="always"),
                then=Then(reply={"en": THANKS}),
            ),
        ),
    )
    with MongoClient(stack.environment()["MONGODB_URL"]) as client:
        merchants = client.get_default_database()[MERCHANTS]
        merchants.insert_one(merchant.to_document())
        yield merchant
        merchants.delete_one({"_id": merchant.id})


@pytest.fixture
async def three_of_each(stack):
    """Two more processes of every service that has a part in it."""
    services = ("ingest", "ai", "delivery") * 2
    replicas = [await asyncio.to_thread(stack.start_replica, service) for service in services]
    yield
    for name in replicas:
        await asyncio.to_thread(stack.remove, name)


async def test_a_comment_told_fifty_times_at_once_to_three_replicas_gets_one_private_and_one_public_answer(
    stack, outside, merchant, three_of_each
):
    simulator = Simulator(seed="comment-once", account=ACCOUNT)
    await outside.sandbox.tell_account(ACCOUNT, tokens=["EAAcommentonce"])
    secret = stack.environment()["META_APP_SECRET"]
    doors = [
        WebhookSender(f"{stack.url(name)}/webhooks/instagram", secret, outside.client) for name in stack.names("ingest")
    ]
    assert len(doors) == 3
    comments = [
        simulator.comment(simulator.contact(), "What is the price, please?") for _ in range(COMMENTS + MENTIONS)
    ]
    for comment in comments:
        await outside.sandbox.webhook(comment, deliver=False)
    mentions = {comment.id: simulator.mention(comment=comment.id) for comment in comments[COMMENTS:]}
    statuses = await asyncio.gather(
        *(
            doors[copy % len(doors)].send(told.flat() if copy % 2 else told)  # the platform uses both shapes
            for copy in range(COPIES)
            for comment in comments
            for told in (mentions.get(comment.id), comment)
            if told is not None
        )
    )
    assert set(statuses) == {200}
    await outside.settled()
    entries = [entry async for entry in outside.sandbox.whole_journal(api="graph") if entry["account"] == ACCOUNT]
    tried = [entry for entry in entries if entry["kind"] in {"comment_reply", "mention_reply", "private_reply"}]
    answers = Counter((entry["detail"]["comment"], entry["kind"] == "private_reply") for entry in tried)
    assert answers == {(comment.id, private): 1 for comment in comments for private in (True, False)}
    assert all(entry["effect"] for entry in tried), "nothing was even tried a second time"
    assert Counter(entry["text"] for entry in tried if entry["detail"]["comment"] not in mentions) == {
        IN_PUBLIC: COMMENTS,
        IN_PRIVATE: COMMENTS,
    }
