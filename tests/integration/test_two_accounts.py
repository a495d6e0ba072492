"""A merchant with two Instagram accounts, through ai and delivery on real Kafka: nothing of one is used for the other.

The sandbox knows which token and which ManyChat page belong to which account, and refuses any other.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from litestar import Litestar
from pydantic import SecretStr

import ai.app
import ai.settings
import delivery.app
import delivery.settings
from common.accounts import MongoStandings, Standing
from common.events import Event
from common.events.ids import conversation_id
from common.events.interactions import Comment, CommentReceived, Message, MessageReceived
from common.kafka.broker import kafka_broker, publish
from common.merchants import Account, Merchant
from common.mongo import ACCOUNTS, CONVERSATIONS, DELIVERIES, MERCHANTS, Database, database, mongo_client
from common.sealing import Sealer
from common.settings import MongoSettings
from delivery.api.tokens import issue_token
from devkit.kafka import EmbeddedKafka
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]

BAGHDAD, BASRA = "17841400000000111", "17841400000000222"
BOTH = (BAGHDAD, BASRA)
TOKENS = {BAGHDAD: "IGAA-baghdad", BASRA: "IGAA-basra"}
PAGES = {BAGHDAD: "9001", BASRA: "9002"}
KEY, JWT = "k" * 32, "a secret of the right length for HS256"
SEALER = Sealer([KEY])
PATIENCE = 40
numbers = itertools.count(int(time.time() * 1000))


def account(id_: str) -> dict[str, Any]:
    return {
        "account_id": id_,
        "access_token": SEALER.seal(TOKENS[id_], id_, "access_token"),
        "manychat_api_key": SEALER.seal(f"{PAGES[id_]}:key", id_, "manychat_api_key"),
        "manychat_igsid_field": 5,
    }


SHOP = Merchant(id="dar", name="Dar", **account(BAGHDAD), other_accounts=(Account(**account(BASRA)),))


class Rig:
    """Both services at work, the platform's journal, and one customer who writes to both accounts."""

    def __init__(self, broker: Any, db: Database, sandbox: SandboxClient, api: httpx2.AsyncClient) -> None:
        self.broker, self.db, self.sandbox, self.api = broker, db, sandbox, api
        self.contact = f"1{next(numbers):015d}"

    def _event(self, kind: Any, data: Any, *identity: str) -> Any:
        conversation = conversation_id(data.account_id, data.contact_id)
        return kind(
            id=":".join((data.account_id, *identity)),
            source="/ingest/instagram",
            subject=conversation,
            partitionkey=conversation,
            time=datetime.now(UTC),
            data=data,
        )

    async def write(self, to: str, text: str) -> None:
        mid = f"m{next(numbers)}"
        data = Message(account_id=to, contact_id=self.contact, mid=mid, text=text)
        await self._say(self._event(MessageReceived, data, "msg", mid))

    async def comment(self, on: str, text: str) -> None:
        id_ = f"c{next(numbers)}"
        await self.sandbox.tell_comment(id_, self.contact, account=on, text=text)
        data = Comment(account_id=on, contact_id=self.contact, comment_id=id_, text=text)
        await self._say(self._event(CommentReceived, data, "cm", id_))

    async def _say(self, event: Event) -> None:
        await publish(self.broker, [event], timeout=10)

    async def journal(self, api: str) -> list[dict[str, Any]]:
        entries = [one async for one in self.sandbox.whole_journal(bodies=True)]
        return [one for one in entries if one["api"] == api]

    async def sent(self, api: str, kind: str, *, at_least: int) -> list[tuple[str, str]]:
        """Return account and contact of each effect of this kind for the customer, once there are that many."""
        async with asyncio.timeout(PATIENCE):
            while True:
                mine = [one for one in await self.journal(api) if one["contact"] == self.contact]
                found = [(one["account"], one["contact"]) for one in mine if one["effect"] and one["kind"] == kind]
                if len(found) >= at_least:
                    assert [one["error"] for one in mine if one["error"]] == []
                    return sorted(found)
                await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with running_sandbox(SandboxSettings(port=0, account_id="17841400000000999", igsid_field_id="5")) as url:
        yield url


@asynccontextmanager
async def at_work(app: Litestar) -> AsyncIterator[httpx2.AsyncClient]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.lifespan())
        transport = httpx2.ASGITransport(app)
        http = await stack.enter_async_context(httpx2.AsyncClient(transport=transport, base_url="http://it"))
        async with asyncio.timeout(PATIENCE):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        yield http


@asynccontextmanager
async def services(kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str) -> AsyncIterator[Rig]:
    shared: dict[str, Any] = {
        "environment": "development",
        "bootstrap_servers": kafka.bootstrap,
        "mongodb_url": SecretStr(mongo_url),
        "account_id": None,
    }
    thinking = ai.settings.Settings(
        **shared, openai_api_key=SecretStr("key"), openai_base_url=f"{sandbox_url}/v1", openai_timeout=5.0
    )
    sending = delivery.settings.Settings(
        **shared,
        encryption_keys=(SecretStr(KEY),),
        jwt_secrets=(SecretStr(JWT),),
        manychat_url=f"{sandbox_url}/manychat",
        graph_url=f"{sandbox_url}/graph/v25.0",
        settle=0.4,
        call_timeout=2.0,
    )
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(
            mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test")
        )
        db = database(client)
        await db[MERCHANTS].insert_one(SHOP.to_document())
        outside = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        sandbox = SandboxClient(sandbox_url, outside)
        for one in BOTH:
            await sandbox.tell_account(one, tokens=[TOKENS[one]], page_id=PAGES[one])
        await stack.enter_async_context(at_work(ai.app.create_app(thinking)))
        api = await stack.enter_async_context(at_work(delivery.app.create_app(sending)))
        broker = kafka_broker(sending, client_id="test")
        await broker.start()
        stack.push_async_callback(broker.stop)
        yield Rig(broker, db, sandbox, api)


async def test_conversations_tokens_and_manychat_keys_of_two_accounts_never_mix(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with services(kafka, mongo_url, sandbox_url) as rig:
        # Through ManyChat, to one customer who is a subscriber of both pages.
        for one in BOTH:
            await rig.write(one, f"Do you have blue shoes? I live in {one}")
        assert await rig.sent("manychat", "sendContent", at_least=2) == [(one, rig.contact) for one in BOTH]

        # Through the Graph API, to one who is none, and under comments.
        rig.contact = f"1{next(numbers):015d}"
        for one in BOTH:
            await rig.sandbox.tell_person(rig.contact, account=one, subscriber=False, last_message_seconds_ago=1)
            await rig.write(one, f"And red ones? I live in {one}")
            await rig.comment(one, f"Lovely, I live in {one}")
        assert await rig.sent("graph", "message", at_least=2) == [(one, rig.contact) for one in BOTH]
        assert await rig.sent("graph", "comment_reply", at_least=2) == [(one, rig.contact) for one in BOTH]

        # Asked for by the merchant's own program, by the account's number.
        mine = {"authorization": f"Bearer {issue_token(JWT, 'dar', now=datetime.now(UTC))}"}
        body = {"recipientId": rig.contact, "message": "On its way", "accountId": BASRA}
        accepted = await rig.api.post("/api/utility-messages/dar/send", json=body, headers=mine)
        assert accepted.status_code == 202
        assert (await rig.sent("graph", "message", at_least=3)).count((BASRA, rig.contact)) == 2

        for request in await rig.journal("openai"):
            asked = json.dumps(request["request"])
            assert sum(one in asked for one in BOTH) <= 1, "a model was told of another account's conversation"
        for name in (CONVERSATIONS, DELIVERIES):
            async for document in rig.db[name].find({}):
                told = json.dumps(document, default=str)
                assert sum(one in told for one in BOTH) == 1, (name, document["_id"])


async def test_a_token_that_is_refused_stops_its_own_account_and_the_other_goes_on(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with services(kafka, mongo_url, sandbox_url) as rig:
        await rig.sandbox.tell_account(BASRA, authorized=False)
        try:
            await rig.comment(BASRA, "Lovely")
            async with asyncio.timeout(PATIENCE):
                while await rig.db[ACCOUNTS].find_one({"_id": BASRA}) is None:
                    await asyncio.sleep(0.05)
            standings = await MongoStandings(rig.db).all(list(BOTH))
            assert standings[BASRA].state == "needs_reconnection"
            assert standings[BAGHDAD] == Standing(BAGHDAD)
            await rig.comment(BAGHDAD, "Lovely")
            async with asyncio.timeout(PATIENCE):
                while not [
                    one
                    for one in await rig.journal("graph")
                    if (one["kind"], one["account"], one["contact"]) == ("comment_reply", BAGHDAD, rig.contact)
                ]:
                    await asyncio.sleep(0.05)
        finally:
            await rig.sandbox.tell_account(BASRA, authorized=True)
