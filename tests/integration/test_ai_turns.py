"""Bursts and deaths of the real ai service: a process of its own, killed between its effects, on real Kafka."""

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from ai.settings import Settings
from common.events import ANY_EVENT, Event
from common.events.ids import conversation_id, decision_id, reply_id
from common.events.interactions import Attachment, Message, MessageReceived
from common.events.replies import REPLIES, ReplyGenerated, Typing
from common.kafka.broker import kafka_broker, publish
from common.merchants import Merchant
from common.mongo import CONVERSATIONS, DECISIONS, MERCHANTS, database
from devkit.kafka import EmbeddedKafka
from devkit.ports import free_ports
from devkit.process import ChildProcess
from devkit.readiness import HttpOk
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

ACCOUNT = "17841400000000001"
numbers = itertools.count(int(time.time() * 1000))

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with running_sandbox(SandboxSettings(port=0, account_id=ACCOUNT)) as url:
        yield url


class Scene:
    """A customer, the ai service as a process that can be killed, and everything that came of it."""

    def __init__(self, kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str, log: Path) -> None:
        self.contact = f"3{next(numbers):015d}"
        self.conversation = conversation_id(ACCOUNT, self.contact)
        self.kafka, self.mongo_url, self.sandbox_url, self.log = kafka, mongo_url, sandbox_url, log
        (self.port,) = free_ports(1)
        self.service: ChildProcess | None = None
        self.stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = Settings(
            environment="development",
            bootstrap_servers=self.kafka.bootstrap,
            openai_api_key=SecretStr("jawab-development-openai-key"),
        )
        self.broker = kafka_broker(settings, client_id="test")
        await self.broker.start()
        self.stack.push_async_callback(self.broker.stop)
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.mongo_url, tz_aware=True)
        self.stack.push_async_callback(client.close)
        self.db = database(client)
        http = await self.stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        self.sandbox = SandboxClient(self.sandbox_url, http)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.service is not None:
            await asyncio.to_thread(self.service.stop, 20.0)
        await self.stack.aclose()

    async def start(self, *, failpoint: str = "") -> None:
        """Start the service, or start it again; one with a failpoint may die before it could be seen alive."""
        environment = {
            "PATH": os.environ["PATH"],
            "JAWAB_ENV": "development",
            "JAWAB_FAILPOINT": failpoint,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "KAFKA_GROUP_INSTANCE_ID": "ai-under-test",  # who comes back by this name gets its partitions at once
            "MONGODB_URL": self.mongo_url,
            "INSTAGRAM_PAGE_ID": ACCOUNT,
            "OPENAI_API_KEY": "jawab-development-openai-key",
            "OPENAI_BASE_URL": f"{self.sandbox_url}/v1",
            "AI_MEDIA_HOSTS": self.sandbox_url,
            "NO_PROXY": "127.0.0.1",
        }
        self.service = ChildProcess("ai", [sys.executable, "-m", "ai"], log=self.log, environment=environment)
        self.service.start()
        if not failpoint:
            await asyncio.to_thread(self.service.wait_until, HttpOk(f"http://127.0.0.1:{self.port}/livez"), 60.0)

    async def died(self) -> None:
        """Wait until the service was killed by its failpoint."""
        assert self.service is not None
        async with asyncio.timeout(60):
            while self.service.running:
                await asyncio.sleep(0.05)
        assert self.service.exit_code == -signal.SIGKILL
        self.service.kill()  # nothing is left of it but our end of the line

    def message(self, text: str | None, **more: Any) -> MessageReceived:
        mid = f"m{next(numbers)}"
        return MessageReceived(
            id=f"{ACCOUNT}:msg:{mid}",
            source="/ingest/instagram",
            subject=self.conversation,
            time=datetime.now(UTC),
            partitionkey=self.conversation,
            data=Message(account_id=ACCOUNT, contact_id=self.contact, mid=mid, text=text, **more),
        )

    async def say(self, *events: Event) -> None:
        await publish(self.broker, events, timeout=10)

    async def done(self) -> None:
        """Wait until everything that was said is answered and published."""
        async with asyncio.timeout(60):
            while True:
                found = await self.db[CONVERSATIONS].find_one({"_id": self.conversation})
                if found is not None and not found["unanswered"] and found.get("last_decision"):
                    return
                await asyncio.sleep(0.05)

    async def decisions(self) -> list[dict[str, Any]]:
        return await self.db[DECISIONS].find({"conversation_id": self.conversation}).to_list()

    async def asked(self, kind: str = "completion") -> list[str]:
        """Return what the model was asked about this customer's words, which name the contact."""
        told = await self.sandbox.journal(api="openai", kind=kind)
        return [entry["text"] for entry in told["entries"] if self.contact in entry["text"]]

    async def replies(self) -> list[ReplyGenerated]:
        """Return what was published for this conversation, copies included, but for the typing indicator."""
        consumer = AIOKafkaConsumer(
            REPLIES, bootstrap_servers=self.kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            ends = await consumer.end_offsets(consumer.assignment())
            found = []
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [ANY_EVENT.validate_json(record.value) for record in records]
        finally:
            await consumer.stop()
        return [
            event
            for event in found
            if isinstance(event, ReplyGenerated)
            and event.partitionkey == self.conversation
            and not isinstance(event.data.action, Typing)
        ]


@pytest.fixture
async def scene(kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    async with Scene(kafka, mongo_url, sandbox_url, tmp_path / "ai.log") as scene:
        yield scene


def burst(scene: Scene) -> list[MessageReceived]:
    texts = ("hello, I am", scene.contact, "do you have the red dress in M")
    return [scene.message(text) for text in texts]


async def test_what_was_written_while_nobody_was_there_is_answered_once(scene: Scene):
    said = burst(scene)
    await scene.say(*said)
    await scene.start()
    await scene.done()
    (decision,) = await scene.decisions()
    assert decision["covers"] == [event.id for event in said]
    assert decision["_id"] == decision_id(scene.conversation, said[-1].id)
    assert await scene.asked() == ["\n".join(event.data.text or "" for event in said)]
    assert {reply.causationid for reply in await scene.replies()} == {said[-1].id}


@pytest.mark.parametrize(
    ("place", "model_calls"),
    [
        ("ai.after_message_before_decision", 1),
        ("ai.after_message_before_decision=3", 1),
        ("ai.after_model_before_decision", 2),  # what was said by nobody but a dead process
        ("ai.after_decision_before_publish", 1),
        ("ai.after_publish_before_done", 1),
    ],
)
async def test_whatever_a_process_was_killed_after_its_burst_gets_one_decision(
    scene: Scene, place: str, model_calls: int
):
    said = burst(scene)
    await scene.say(*said)
    await scene.start(failpoint=place)
    await scene.died()
    await scene.start()
    await scene.done()
    (decision,) = await scene.decisions()
    assert decision["covers"] == [event.id for event in said]
    assert len(await scene.asked()) == model_calls
    replies = await scene.replies()
    assert {reply.id for reply in replies} == {
        reply_id(decision["_id"], index) for index in range(len(decision["replies"]))
    }
    assert len({reply.to_json() for reply in replies}) == len(decision["replies"])
    await scene.say(said[0])  # the platform delivers again
    async with asyncio.timeout(30):
        while len(await scene.replies()) <= len(replies):
            await asyncio.sleep(0.1)
    assert {reply.to_json() for reply in await scene.replies()} == {reply.to_json() for reply in replies}
    assert len(await scene.asked()) == model_calls


async def test_what_a_process_had_heard_before_it_was_killed_is_not_paid_again(scene: Scene):
    words = f"hello I am {scene.contact} do you have the red dress in M"
    url = f"{scene.sandbox_url}/media/voice.wav?words={quote(words)}"
    said = scene.message(None, attachments=(Attachment(type="audio", url=url),))
    await scene.say(said)
    await scene.start(failpoint="ai.after_transcript_before_decision")
    await scene.died()
    assert await scene.decisions() == []
    await scene.start()
    await scene.done()
    (decision,) = await scene.decisions()
    assert (decision["covers"], decision["origin"]) == ([said.id], "model")
    assert await scene.asked("transcription") == [words]
    assert await scene.asked() == [f"[voice message] {words}"]


async def test_a_merchants_pause_makes_one_answer_of_what_is_typed_slowly(scene: Scene):
    merchant = Merchant(id="slow", name="Slow", account_id=ACCOUNT, turn_pause=2.0)
    await scene.db[MERCHANTS].insert_one(merchant.to_document())
    await scene.start()
    first, second, third = burst(scene)
    await scene.say(first)
    async with asyncio.timeout(30):
        while await scene.db["messages"].find_one({"_id": first.id}) is None:
            await asyncio.sleep(0.05)
    await scene.say(second)
    async with asyncio.timeout(30):
        while await scene.db["messages"].find_one({"_id": second.id}) is None:
            await asyncio.sleep(0.05)
    await scene.say(third)
    await scene.done()
    (decision,) = await scene.decisions()
    assert decision["covers"] == [first.id, second.id, third.id]


async def test_a_record_that_nobody_can_read_calls_a_person_to_its_conversation(scene: Scene):
    await scene.start()
    await scene.broker.publish(b"{", MessageReceived.topic, key=scene.conversation.encode())
    async with asyncio.timeout(60):
        while not (replies := await scene.replies()):
            await asyncio.sleep(0.1)
    assert {reply.data.action.kind for reply in replies} == {"operator_notification"}
    assert len({reply.id for reply in replies}) == 1
    assert scene.conversation in replies[0].data.action.text  # type: ignore[union-attr]
