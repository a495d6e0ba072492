"""One merchant's broadcast, or a post that everybody comments on, on real Kafka: neither delays another's answer."""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import httpx2
import pytest
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from common.events.ids import conversation_id
from common.events.replies import DirectMessage, PrivateReply, Reply, ReplyGenerated, ReplyRequested
from common.kafka.broker import kafka_broker, publish
from common.merchants import Merchant
from common.mongo import MERCHANTS
from common.sealing import Sealer
from delivery.app import create_app
from delivery.pace.rate_limits import DEFAULTS, Limit
from delivery.settings import Settings
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

LOUD, QUIET = "17841400000000011", "17841400000000012"
PACE = Limit(15, 1)
MANY = 400
ANSWERS = 12
HOURLY = Limit(3, 3600)
COMMENTS = 150
"""More than twice an equal share of each partition of the topic, and less than there is room for in all."""
ROOM = 48 * 5
numbers = itertools.count(int(time.time() * 1000))

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]


def said(account, *, program=False, to_comment=False):
    """Return something to send to a customer of their own: an answer, or what a program asks for."""
    number, contact = next(numbers), f"1{next(numbers):015d}"
    text = f"{'Sale' if program else 'Answer'} {number}"
    data = Reply(
        reply_id=f"rep_{number}",
        merchant_id=f"shop{account[-1]}",
        account_id=account,
        contact_id=contact,
        origin="api" if program else "rule",
        action=PrivateReply(comment_id=f"18{number}", text=text) if to_comment else DirectMessage(text=text),
        in_reply_to=f"{account}:msg:m{number}",
        customer_acted_at=datetime.now(UTC),
    )
    conversation = conversation_id(account, contact)
    envelope = {"id": f"evt_{number}", "source": "/test", "subject": conversation, "partitionkey": conversation}
    return (ReplyRequested if program else ReplyGenerated)(**envelope, time=datetime.now(UTC), data=data)


@asynccontextmanager
async def delivering(kafka, mongo_url, sandbox_url):
    """Run the service with little room for records in hand; yield what publishes, and the service's metrics."""
    settings = Settings(
        environment="development",
        bootstrap_servers=kafka.bootstrap,
        mongodb_url=SecretStr(mongo_url),
        encryption_keys=(SecretStr("k" * 32),),
        jwt_secrets=(SecretStr("a secret of the right length for HS256"),),
        graph_url=f"{sandbox_url}/graph/v25.0",
        limits={**DEFAULTS, "message": PACE, "private_reply": HOURLY},
        max_outstanding=ROOM,
        max_working=16,
        unknown_deadline=30.0,
    )
    sealer = Sealer(["k" * 32])
    async with AsyncMongoClient(mongo_url) as client, AsyncExitStack() as stack:
        for account in (LOUD, QUIET):
            merchant = Merchant(
                id=f"shop{account[-1]}",
                name="Shop",
                account_id=account,
                access_token=sealer.seal("token", account, "access_token"),
                routes=("graph",),
            )
            await client.get_default_database()[MERCHANTS].insert_one(merchant.to_document())
        app = create_app(settings)
        await stack.enter_async_context(app.lifespan())
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery")
        )
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        broker = kafka_broker(settings, client_id="test")
        await broker.start()
        stack.push_async_callback(broker.stop)

        async def metric(name):
            text = (await http.get("/metrics")).text
            return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name)), 0.0)

        yield lambda *events: publish(broker, events, timeout=20), metric


async def test_a_broadcast_keeps_to_its_limit_and_delays_no_answer(kafka, mongo_url):
    with running_sandbox(SandboxSettings(port=0, echoes=False)) as url:
        async with delivering(kafka, mongo_url, url) as (send, metric), httpx2.AsyncClient() as client:
            sandbox = SandboxClient(url, client)
            await sandbox.limit_rates(send=(PACE.calls, PACE.seconds))
            await send(*(said(LOUD, program=True) for _ in range(MANY)))
            async with asyncio.timeout(30):
                while not await metric("kafka_deferred_records"):
                    await asyncio.sleep(0.05)

            for event in [said(QUIET) for _ in range(ANSWERS)] + [said(LOUD) for _ in range(3)]:
                await send(event)
                async with asyncio.timeout(30):
                    while not (await sandbox.journal(contact=event.data.contact_id))["entries"]:
                        await asyncio.sleep(0.01)
            sent = sum([entry["text"].startswith("Sale") async for entry in sandbox.whole_journal(kind="message")])
            assert sent < MANY * 2 / 3, "the answers came one after another, and only when the broadcast was over"
            rates = await sandbox.rates()
            assert rates["exceeded"] == 0


async def test_private_replies_that_wait_for_their_hour_keep_nobody_elses_answer_from_being_read(kafka, mongo_url):
    with running_sandbox(SandboxSettings(port=0, echoes=False)) as url:
        async with delivering(kafka, mongo_url, url) as (send, metric), httpx2.AsyncClient() as client:
            sandbox = SandboxClient(url, client)
            await send(*(said(LOUD, to_comment=True) for _ in range(COMMENTS)))
            async with asyncio.timeout(30):
                while await metric("kafka_outstanding_records") < COMMENTS - HOURLY.calls:
                    await asyncio.sleep(0.05)
            answers = [said(QUIET) for _ in range(ANSWERS * 3)]
            await send(*answers)
            async with asyncio.timeout(30):
                for event in answers:
                    while not (await sandbox.journal(contact=event.data.contact_id))["entries"]:
                        await asyncio.sleep(0.01)
            assert await metric("kafka_outstanding_records") >= COMMENTS - HOURLY.calls
