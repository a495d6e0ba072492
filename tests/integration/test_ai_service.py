"""The whole ai service on real Kafka and the MongoDB wire, asking the sandbox's model."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr
from pymongo import AsyncMongoClient

from ai.app import create_app
from ai.settings import Settings
from common.events import ANY_EVENT, Event
from common.events.ids import conversation_id
from common.events.interactions import (
    Attachment,
    Comment,
    CommentReceived,
    Mention,
    MentionReceived,
    Message,
    MessageReceived,
)
from common.events.replies import REPLIES, ReplyGenerated
from common.kafka.broker import kafka_broker, publish
from common.mongo import CONVERSATIONS, MESSAGES, USAGE, database
from devkit.kafka import EmbeddedKafka
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings

ACCOUNT = "17841400000000001"
numbers = itertools.count(int(time.time() * 1000))

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]


class Rig:
    """A running ai service, its sandbox, and what it published."""

    def __init__(
        self, broker: Any, http: httpx2.AsyncClient, outside: httpx2.AsyncClient, sandbox_url: str, mongo_url: str
    ) -> None:
        self.broker, self.http, self.outside, self.sandbox_url, self.mongo_url = (
            broker,
            http,
            outside,
            sandbox_url,
            mongo_url,
        )
        self.sandbox = SandboxClient(sandbox_url, outside)
        self.replies: list[ReplyGenerated] = []
        self.courtesies: list[ReplyGenerated] = []
        self.arrived: dict[str, float] = {}

    def contact(self) -> str:
        return f"2{next(numbers):015d}"

    def _event(self, kind: Any, data: Any, *identity: str) -> Any:
        conversation = conversation_id(data.account_id, data.contact_id)
        return kind(
            id=":".join((data.account_id, *identity)),
            source="/ingest/instagram",
            subject=conversation,
            time=datetime.now(UTC),
            partitionkey=conversation,
            data=data,
        )

    def message(self, text: str | None, contact: str, account: str = ACCOUNT, **more: Any) -> MessageReceived:
        mid = f"m{next(numbers)}"
        data = Message(account_id=account, contact_id=contact, mid=mid, text=text, **more)
        return self._event(MessageReceived, data, "msg", mid)  # type: ignore[no-any-return]

    def comment(self, text: str, contact: str) -> CommentReceived:
        id_ = f"c{next(numbers)}"
        data = Comment(account_id=ACCOUNT, contact_id=contact, comment_id=id_, text=text)
        return self._event(CommentReceived, data, "cm", id_)  # type: ignore[no-any-return]

    def voice(self, words: str, contact: str, query: str = "") -> MessageReceived:
        url = f"{self.sandbox_url}/media/voice.wav?words={quote(words)}{query}"
        return self.message(None, contact, attachments=(Attachment(type="audio", url=url),))

    async def calls(self, api: str, kind: str) -> list[dict[str, Any]]:
        """Return what the sandbox was asked so far."""
        answer = await self.outside.get(f"{self.sandbox_url}/sandbox/journal", params={"api": api, "kind": kind})
        found: list[dict[str, Any]] = answer.json()["entries"]
        return found

    async def say(self, *events: Event) -> None:
        await publish(self.broker, events, timeout=10)

    async def replies_to(self, event: Event, count: int = 1) -> list[ReplyGenerated]:
        """Wait until an event has that many replies."""
        async with asyncio.timeout(20):
            while len(found := [reply for reply in self.replies if reply.causationid == event.id]) < count:
                await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def service(kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str) -> AsyncIterator[Rig]:
    settings = Settings(
        environment="development",
        bootstrap_servers=kafka.bootstrap,
        mongodb_url=SecretStr(mongo_url),
        account_id=ACCOUNT,
        price_link="https://shop.example/prices",
        openai_api_key=SecretStr("jawab-development-openai-key"),
        openai_base_url=f"{sandbox_url}/v1",
        openai_timeout=5.0,
        media_hosts=(sandbox_url,),
    )
    app = create_app(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.lifespan())
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://ai")
        )
        outside = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        broker = kafka_broker(settings, client_id="test")
        await broker.start()
        stack.push_async_callback(broker.stop)
        consumer = AIOKafkaConsumer(
            REPLIES, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        rig = Rig(broker, http, outside, sandbox_url, mongo_url)

        async def collect() -> None:
            while True:
                event = ANY_EVENT.validate_json((await consumer.getone()).value)
                if not isinstance(event, ReplyGenerated):
                    continue
                if event.data.action.kind in {"typing", "mark_seen"}:
                    rig.courtesies.append(event)
                else:
                    rig.replies.append(event)
                    rig.arrived.setdefault(event.causationid or "", time.monotonic())

        collecting = asyncio.create_task(collect())
        try:
            yield rig
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


@pytest.fixture(scope="module")
def sandbox_url() -> Iterator[str]:
    with running_sandbox(SandboxSettings(port=0, account_id=ACCOUNT)) as url:
        yield url


async def test_conversations_in_three_languages_are_answered_once_each(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        asked = {
            "price": rig.message("Bonjour, quel est le prix ?", rig.contact()),
            "greeting": rig.message("السلام عليكم", rig.contact()),
            "model": rig.message("عندكم هذا الفستان باللون الاحمر؟", rig.contact()),
            "image": rig.message(None, rig.contact(), attachments=(Attachment(type="image"),)),
            "praise": rig.comment("Génial !", rig.contact()),
            "complaint": rig.comment("worst shop ever, scam", rig.contact()),
        }
        stranger = rig.message("prix", "5", account="99999")
        await rig.say(stranger, *asked.values(), asked["model"], asked["price"])
        answers = {name: (await rig.replies_to(event))[0].data for name, event in asked.items()}
        assert "https://shop.example/prices" in answers["price"].action.text  # type: ignore[union-attr]
        assert answers["greeting"].origin == "rule"
        assert answers["model"].origin == answers["image"].origin == "model"
        assert any("\u0600" <= letter <= "\u06ff" for letter in answers["model"].action.text)  # type: ignore[union-attr]
        assert answers["praise"].action.kind == "comment_reply"
        assert answers["complaint"].action.kind == "operator_notification"
        again = await rig.replies_to(asked["model"], 2)
        assert again[0].to_json() == again[1].to_json()
        assert not [reply for reply in rig.replies if reply.causationid == stranger.id]
        figures = (await rig.http.get("/metrics")).text
        assert 'ai_decisions_total{match="any_of",origin="rule"} 1.0' in figures
        assert 'merchant="unknown",outcome="unknown_account"' in figures
        assert '"99999"' not in figures
        health = (await rig.http.get("/health")).json()
        assert {name: check["status"] for name, check in health["checks"].items()} == {"kafka": "ok", "mongodb": "ok"}
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
        indexes = await database(client)[CONVERSATIONS].index_information()
        await client.close()
        assert {"merchant_recent", "attention"} <= indexes.keys()


async def test_a_model_that_is_down_is_apologised_for_in_the_customers_language(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        await rig.sandbox.add_fault(api="openai", behaviour="server_error")
        try:
            asked = rig.message("vous avez la taille M ?", rig.contact())
            await rig.say(asked)
            reply, notification = await rig.replies_to(asked, 2)
        finally:
            await rig.sandbox.clear_faults()
        assert reply.data.origin == "apology"
        assert "excuses" in reply.data.action.text  # type: ignore[union-attr]
        assert notification.data.action.reason == "model_unavailable"  # type: ignore[union-attr]


async def test_messages_of_many_conversations_are_answered_in_a_moment(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        sent = {}
        for number in range(60):
            event = rig.message(f"do you have number {number} in blue", rig.contact())
            sent[event.id] = time.monotonic()
            await rig.say(event)
            await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            while not sent.keys() <= rig.arrived.keys():
                await asyncio.sleep(0.05)
        took = sorted(rig.arrived[id_] - at for id_, at in sent.items())
        assert statistics.median(took) < 2.0


async def test_a_voice_message_is_heard_and_answered_like_a_written_one(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        spoken, written = rig.voice("Bonjour, quel est le prix ?", rig.contact()), rig.message("le prix ?", "77")
        asked = rig.voice("do you have the red dress in size M", rig.contact())
        hidden = rig.message(None, rig.contact(), attachments=(Attachment(type="audio", url="https://10.0.0.1/a"),))
        moved = f"{sandbox_url}/media/moved?to={quote('http://169.254.169.254/latest')}"
        elsewhere = rig.message(None, rig.contact(), attachments=(Attachment(type="audio", url=moved),))
        await rig.say(spoken, written, asked, hidden, elsewhere, spoken)
        assert (await rig.replies_to(spoken))[0].data.action == (await rig.replies_to(written))[0].data.action
        assert (await rig.replies_to(asked))[0].data.origin == "model"
        for unheard in (hidden, elsewhere):
            assert (await rig.replies_to(unheard))[0].data.origin == "model"
        await rig.replies_to(spoken, 2)
        assert sorted(call["text"] for call in await rig.calls("openai", "transcription")) == [
            "Bonjour, quel est le prix ?",
            "do you have the red dress in size M",
        ]
        prompts = {call["text"] for call in await rig.calls("openai", "completion")}
        assert "[voice message] do you have the red dress in size M" in prompts
        assert "[voice message that could not be heard]" in prompts
        assert not {spoken.id, written.id} & {event.causationid for event in rig.courtesies}  # no model, no typing
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongo_url)
        db = database(client)
        kept = {doc["_id"]: doc.get("transcript") async for doc in db[MESSAGES].find({})}
        assert (kept[spoken.id], kept[hidden.id]) == ("Bonjour, quel est le prix ?", "")
        assert written.id in kept
        async with asyncio.timeout(10):
            while (await db[USAGE].find_one({}) or {}).get("voice_messages") != 2:
                await asyncio.sleep(0.1)
        await client.close()
        figures = (await rig.http.get("/metrics")).text
        assert 'ai_voice_seconds_count{result="ok"} 2.0' in figures
        assert 'ai_voice_seconds_count{result="not_allowed"} 2.0' in figures
        assert 'ai_transcription_usage_total{unit="seconds"} 2.0' in figures


async def test_while_the_transcription_is_down_only_voice_messages_wait(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        await rig.sandbox.add_fault(api="openai", kind="transcription", behaviour="server_error", times=2)
        try:
            spoken, written = rig.voice("quel est le prix ?", rig.contact()), rig.message("prix ?", rig.contact())
            await rig.say(spoken, written)
            await rig.replies_to(written)
            assert (await rig.replies_to(spoken))[0].data.origin == "rule"
        finally:
            await rig.sandbox.clear_faults()


async def test_an_image_goes_to_the_model_as_a_link_and_a_mention_to_a_person(
    kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str
):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        url = f"{sandbox_url}/media/image.png"
        contact = rig.contact()
        shown = rig.message("have it?", contact, attachments=(Attachment(type="image", url=url),))
        body = '{"error": {"message": "Error while downloading", "code": "invalid_image_url"}}'
        await rig.sandbox.add_fault(
            api="openai", kind="completion", behaviour="answer", status=400, body=body, text="have it?", times=1
        )
        mention = rig._event(MentionReceived, Mention(account_id=ACCOUNT, media_id="m1"), "mn", "m1", "")
        await rig.say(shown, mention)
        assert (await rig.replies_to(shown))[0].data.origin == "model"
        refused, answered = [call for call in await rig.calls("openai", "completion") if "have it?" in call["text"]]
        assert (refused["text"], answered["text"]) == ("[image] have it? [image]", "[image] have it?")
        assert (await rig.calls("media", "image")) == []
        (told,) = await rig.replies_to(mention)
        assert told.data.action.reason == "mentioned"  # type: ignore[union-attr]


async def test_what_a_voice_message_costs_in_time(kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str):
    async with service(kafka, mongo_url, sandbox_url) as rig:
        took: dict[str, list[float]] = {"spoken": [], "written": []}
        for _ in range(20):
            for kind, event in (
                ("written", rig.message("prix ?", rig.contact())),
                ("spoken", rig.voice("prix ?", rig.contact(), "&seconds=10")),
            ):
                started = time.monotonic()
                await rig.say(event)
                await rig.replies_to(event)
                took[kind].append(rig.arrived[event.id] - started)
        added = statistics.median(took["spoken"]) - statistics.median(took["written"])
        assert added < 1.0
