"""The whole delivery service on real Kafka and the MongoDB wire, sending into the sandbox Instagram and ManyChat."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from pydantic import SecretStr

from common.events import ANY_EVENT
from common.events.ids import conversation_id
from common.events.interactions import Echo, EchoReceived, Message, MessageReceived
from common.events.outcomes import OUTCOMES
from common.events.replies import (
    REPLIES,
    CommentReply,
    DirectMessage,
    HideComment,
    OperatorNotification,
    PrivateReply,
    Reply,
    ReplyGenerated,
    Typing,
)
from common.kafka.broker import kafka_broker, publish
from delivery.api.tokens import (
    CONTROL_CONVERSATIONS,
    READ_CONVERSATIONS,
    REPLY_IN_CONVERSATIONS,
    issue_token,
)
from delivery.app import create_app
from delivery.settings import Settings
from devkit.kafka import EmbeddedKafka
from devkit.sandbox.client import SandboxClient
from devkit.sandbox.serving import running_sandbox
from devkit.sandbox.settings import SandboxSettings
from devkit.simulator import Simulator

ACCOUNT = "17841400000000001"
JWT_SECRET = "a secret of the right length for HS256"
numbers = itertools.count(int(time.time() * 1000))

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]


class Rig:
    """A running delivery service, its sandbox, and what it published."""

    def __init__(self, broker, http, sandbox, outcomes):
        self.broker = broker
        self.http = http
        self.sandbox = sandbox
        self.outcomes = outcomes
        self.contact = f"1{next(numbers):015d}"

    @property
    def conversation(self):
        return conversation_id(ACCOUNT, self.contact)

    def _envelope(self, id_, at=None):
        return {
            "id": id_,
            "source": "/test",
            "subject": self.conversation,
            "time": at or datetime.now(UTC),
            "partitionkey": self.conversation,
        }

    def reply(self, action, **changes):
        number = next(numbers)
        data = {
            "reply_id": f"rep_{number}",
            "decision_id": f"dec_{number}",
            "merchant_id": "default",
            "account_id": ACCOUNT,
            "contact_id": self.contact,
            "origin": "model",
            "action": action,
            "in_reply_to": f"{ACCOUNT}:msg:m{number}",
            "customer_acted_at": datetime.now(UTC),
            "received_at_ms": int(time.time() * 1000),
            **changes,
        }
        return ReplyGenerated(**self._envelope(f"evt_{number}"), data=Reply.model_validate(data))

    def customer_writes(self):
        data = Message(account_id=ACCOUNT, contact_id=self.contact, mid=f"in.{next(numbers)}", text="Hi")
        return MessageReceived(**self._envelope(f"{ACCOUNT}:msg:{data.mid}"), data=data)

    def echo(self, mid, text, at=None):
        data = Echo(account_id=ACCOUNT, contact_id=self.contact, mid=mid, text=text)
        return EchoReceived(**self._envelope(f"{ACCOUNT}:msg:{mid}", at), data=data)

    async def send(self, *events):
        await publish(self.broker, events, timeout=10)

    async def outcome(self, event, kind, timeout=30.0):
        """Return the outcome of that kind of a reply, once it is published."""
        async with asyncio.timeout(timeout):
            while True:
                for one in self.outcomes:
                    if one.type == f"com.jawab.reply.{kind}.v1" and one.data.reply_id == event.data.reply_id:
                        return one
                await asyncio.sleep(0.02)

    async def calls(self, **query):
        """Return what the sandbox was asked for this contact, sends only where nothing else is said."""
        told = await self.sandbox.journal(contact=self.contact, bodies=True, **query)
        return [one for one in told["entries"] if one["api"] in {"graph", "manychat"}]

    async def effects(self):
        return [(one["api"], one["kind"], one["text"]) for one in await self.calls() if one["effect"]]


@asynccontextmanager
async def service(kafka: EmbeddedKafka, mongo_url: str, sandbox_url: str, **changes) -> AsyncIterator[Rig]:
    settings = Settings(
        environment="development",
        bootstrap_servers=kafka.bootstrap,
        mongodb_url=SecretStr(mongo_url),
        encryption_keys=(SecretStr("k" * 32),),
        jwt_secrets=(SecretStr(JWT_SECRET),),
        account_id=ACCOUNT,
        access_token=SecretStr("token"),
        manychat_url=f"{sandbox_url}/manychat",
        graph_url=f"{sandbox_url}/graph/v25.0",
        operator_webhook=f"{sandbox_url}/operator/notifications",
        call_timeout=1.0,
        settle=0.4,
        unknown_deadline=6.0,
        **changes,
    )
    app = create_app(settings)
    outcomes = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(app.lifespan())
        http = await stack.enter_async_context(
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://delivery")
        )
        outside = await stack.enter_async_context(httpx2.AsyncClient(trust_env=False))
        async with asyncio.timeout(30):
            while (await http.get("/readyz")).status_code != 200:
                await asyncio.sleep(0.1)
        broker = kafka_broker(settings, client_id="test")
        await broker.start()
        stack.push_async_callback(broker.stop)
        consumer = AIOKafkaConsumer(
            OUTCOMES, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)

        async def collect():
            while True:
                outcomes.append(ANY_EVENT.validate_json((await consumer.getone()).value))

        collecting = asyncio.create_task(collect())
        try:
            yield Rig(broker, http, SandboxClient(sandbox_url, outside), outcomes)
        finally:
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


@pytest.fixture(scope="module")
def sandbox_url():
    with running_sandbox(SandboxSettings(port=0, account_id=ACCOUNT, igsid_field_id="5")) as url:
        yield url


async def held(context):
    """Keep a context open in a task of its own: a fixture is set up and torn down in two different ones."""
    ready, done = asyncio.get_running_loop().create_future(), asyncio.Event()

    async def hold():
        try:
            async with context as entered:
                ready.set_result(entered)
                await done.wait()
        except BaseException as error:
            if not ready.done():
                ready.set_exception(error)
            raise

    holding = asyncio.create_task(hold())
    try:
        yield await ready
    finally:
        done.set()
        await holding


@pytest.fixture
async def rig(kafka, mongo_url, sandbox_url):
    async for rig in held(service(kafka, mongo_url, sandbox_url)):
        yield rig


@pytest.fixture
async def manychat_rig(kafka, mongo_url, sandbox_url):
    key = SecretStr("17841400000000001:key")
    async for rig in held(service(kafka, mongo_url, sandbox_url, manychat_api_key=key, manychat_igsid_field=5)):
        yield rig


async def test_every_kind_of_reply_reaches_the_sandbox(rig):
    comment = f"c{next(numbers)}"
    await rig.sandbox.tell_comment(comment, rig.contact, text="How much?")
    await rig.sandbox.tell_person(rig.contact, last_message_seconds_ago=1)
    events = [
        rig.reply(DirectMessage(text="أهلاً وسهلاً")),
        rig.reply(PrivateReply(comment_id=comment, text="Hello in private"), in_reply_to=f"{ACCOUNT}:cm:{comment}"),
        rig.reply(CommentReply(comment_id=comment, text="Thank you"), in_reply_to=f"{ACCOUNT}:cm:{comment}"),
        rig.reply(HideComment(comment_id=comment), in_reply_to=f"{ACCOUNT}:cm:{comment}"),
        rig.reply(OperatorNotification(reason="negative_comment", text="Please look")),
        rig.reply(Typing()),  # the last, because it is left out where anything waits behind it
    ]
    await rig.send(*events)
    for event in events:
        await rig.outcome(event, "delivered")
    assert await rig.effects() == [
        ("graph", "message", "أهلاً وسهلاً"),
        ("graph", "private_reply", "Hello in private"),
        ("graph", "comment_reply", "Thank you"),
        ("graph", "hide", ""),
        ("graph", "sender_action", "typing_on"),
    ]
    told = await rig.sandbox.journal(api="operator")
    assert any(one["contact"] == rig.contact for one in told["entries"])


async def test_a_subscriber_is_reached_by_manychat_and_its_echo_is_not_taken_for_a_person(manychat_rig):
    rig = manychat_rig
    first = rig.reply(DirectMessage(text="Hello"))
    await rig.send(first)
    assert (await rig.outcome(first, "delivered")).data.route == "manychat"
    sent = next(one for one in await rig.calls() if one["effect"])
    await rig.send(rig.echo(sent["message_id"], "Hello"), rig.echo(sent["message_id"], "Hello"))
    second = rig.reply(DirectMessage(text="Anything else?"))
    await rig.send(second)
    await rig.outcome(second, "delivered")
    assert not [
        one for one in rig.outcomes if one.type.startswith("com.jawab.human") and one.subject == rig.conversation
    ]


async def test_somebody_who_is_no_subscriber_is_reached_by_the_graph_api(manychat_rig):
    rig = manychat_rig
    await rig.sandbox.tell_person(rig.contact, subscriber=False)
    event = rig.reply(DirectMessage(text="Hello"))
    await rig.send(event)
    assert (await rig.outcome(event, "delivered")).data.route == "graph"


async def test_a_send_whose_answer_was_lost_is_found_in_the_conversation_and_not_repeated(rig):
    await rig.sandbox.add_fault(api="graph", behaviour="drop", kind="message", contact=rig.contact, times=1)
    lost, behind = rig.reply(DirectMessage(text="One")), rig.reply(DirectMessage(text="Two"))
    await rig.send(lost, behind)
    assert (await rig.outcome(lost, "outcomeunknown")).data.evidence
    delivered = await rig.outcome(lost, "delivered")
    assert delivered.data.message_ids
    await rig.outcome(behind, "delivered")
    assert await rig.effects() == [("graph", "message", "One"), ("graph", "message", "Two")]


async def test_a_send_that_was_lost_on_its_way_is_repeated_once_it_is_proven_absent(rig):
    await rig.sandbox.webhook(Simulator(rig.contact, ACCOUNT).text(rig.contact, "Hi"), deliver=False)
    await rig.sandbox.add_fault(api="graph", behaviour="drop_before", kind="message", contact=rig.contact, times=1)
    lost, behind = rig.reply(DirectMessage(text="One")), rig.reply(DirectMessage(text="Two"))
    await rig.send(lost, behind)
    await rig.outcome(lost, "outcomeunknown")
    await rig.outcome(behind, "delivered")
    assert await rig.effects() == [("graph", "message", "One"), ("graph", "message", "Two")]


async def test_an_echo_resolves_a_hanging_send_before_anybody_reads(rig):
    await rig.sandbox.add_fault(
        api="graph", behaviour="hang", kind="message", contact=rig.contact, times=1, effect=True, seconds=30
    )
    event = rig.reply(DirectMessage(text="One"))
    await rig.send(event)
    async with asyncio.timeout(10):
        while not (sent := await rig.effects()):
            await asyncio.sleep(0.02)
    mid = next(one for one in await rig.calls() if one["effect"])["message_id"]
    await rig.send(rig.echo(mid, "One"))
    assert (await rig.outcome(event, "delivered")).data.message_ids == (mid,)
    assert sent == [("graph", "message", "One")]
    assert not [one for one in await rig.calls() if one["kind"] == "conversations"]


async def test_what_nobody_can_find_out_goes_to_a_person(rig):
    await rig.sandbox.add_fault(api="graph", behaviour="server_error", kind="message", contact=rig.contact)
    await rig.sandbox.add_fault(api="graph", behaviour="server_error", kind="conversations", contact=rig.contact)
    event = rig.reply(DirectMessage(text="One"))
    await rig.send(event)
    failed = await rig.outcome(event, "failed")
    assert failed.data.reason == "outcome_unknown"
    assert len([one for one in await rig.calls() if one["kind"] == "message"]) == 1
    told = await rig.sandbox.journal(api="operator", contact=rig.contact)
    assert [one["effect"] for one in told["entries"]] == [True]


async def test_a_limit_is_waited_out_and_keeps_the_order(rig):
    await rig.sandbox.add_fault(
        api="graph", behaviour="rate_limited", kind="message", contact=rig.contact, times=2, retry_after=0.3
    )
    events = [rig.reply(DirectMessage(text=text)) for text in ("One", "Two", "Three")]
    await rig.send(*events)
    await rig.outcome(events[-1], "delivered")
    assert [text for _, _, text in await rig.effects()] == ["One", "Two", "Three"]


async def test_later_replies_wait_behind_the_one_that_is_retried_and_other_conversations_do_not(rig):
    """A limit would hold back the whole account; what nobody saw the end of concerns its conversation alone."""
    await rig.sandbox.webhook(Simulator(rig.contact, ACCOUNT).text(rig.contact, "Hi"), deliver=False)
    await rig.sandbox.add_fault(api="graph", behaviour="server_error", kind="message", contact=rig.contact, times=1)
    texts = [f"Part {number}" for number in range(6)]
    waiting = [rig.reply(DirectMessage(text=text)) for text in texts]
    await rig.send(*waiting)
    async with asyncio.timeout(10):
        while not await rig.calls():
            await asyncio.sleep(0.02)
    held_up, others = rig.contact, []
    for _ in range(5):
        rig.contact = f"1{next(numbers):015d}"
        others.append(rig.reply(DirectMessage(text="Hello")))
        await rig.send(others[-1])
    for other in others:
        await rig.outcome(other, "delivered", timeout=10)
    rig.contact = held_up
    assert await rig.effects() == [], "the others are to be done before the first of these is"
    await rig.outcome(waiting[-1], "delivered")
    assert [text for _, _, text in await rig.effects()] == texts


async def test_a_reply_behind_a_persons_answer_in_the_log_is_never_sent(rig):
    """Nothing is awaited in between: the barrier, not luck, makes delivery take in the echo first."""
    for _ in range(20):
        rig.contact = f"1{next(numbers):015d}"
        event = rig.reply(DirectMessage(text="Bot speaking"))
        await rig.send(rig.echo(f"mid.{next(numbers)}", "I will take this one"))
        await rig.send(event)
        assert (await rig.outcome(event, "suppressed")).data.reason == "human_owns"
        assert await rig.effects() == []


async def test_a_reply_that_cannot_be_read_is_told_to_the_merchants_people(rig):
    await rig.broker.publish(b'{"type": "com.jawab.reply.generated.v1"}', REPLIES, key=rig.conversation.encode())
    async with asyncio.timeout(20):
        while not (told := (await rig.sandbox.journal(api="operator", contact=rig.contact, bodies=True))["entries"]):
            await asyncio.sleep(0.05)
    assert len(told) == 1
    event = rig.reply(DirectMessage(text="Behind it"))
    await rig.send(event)
    await rig.outcome(event, "delivered")


async def test_an_api_that_keeps_failing_is_left_alone_and_nothing_is_left_announced(rig):
    rule = {"api": "graph", "behaviour": "server_error", "kind": "sender_action", "contact": rig.contact}
    await rig.sandbox.add_fault(**rule)
    for _ in range(12):
        showing = rig.reply(Typing())
        await rig.send(showing)
        await rig.outcome(showing, "suppressed")
    assert len(await rig.calls()) == 5
    event = rig.reply(DirectMessage(text="Waits for the probe"))
    await rig.send(event)
    assert (await rig.outcome(event, "delivered")).data.route == "graph"
    figures = (await rig.http.get("/metrics")).text
    assert 'breaker_open{api="graph"} 0.0' in figures
    assert 'breaker_openings_total{api="graph"} 1.0' in figures
    assert 'delivery_unknown_outcomes_total{route="graph"}' not in figures


async def test_a_private_reply_that_is_refused_at_its_first_attempt_is_not_called_delivered(rig):
    comment = f"c{next(numbers)}"
    await rig.sandbox.tell_comment(comment, rig.contact, text="How much?")
    await rig.sandbox.add_fault(
        api="graph", behaviour="graph_error", kind="private_reply", contact=rig.contact, code=100, subcode=2534025
    )
    event = rig.reply(PrivateReply(comment_id=comment, text="Hello"), in_reply_to=f"{ACCOUNT}:cm:{comment}")
    await rig.send(event)
    assert (await rig.outcome(event, "failed")).data.reason == "comment_already_answered"


async def test_the_platforms_own_window_error_ends_the_reply(rig):
    await rig.sandbox.tell_person(rig.contact, last_message_seconds_ago=25 * 3600)
    event = rig.reply(DirectMessage(text="Late"))
    await rig.send(event)
    assert (await rig.outcome(event, "failed")).data.reason == "window_closed"


async def test_a_persons_answer_silences_jawab(rig):
    await rig.send(rig.echo(f"mid.{next(numbers)}", "I will take this one", datetime.now(UTC) - timedelta(seconds=1)))
    async with asyncio.timeout(20):
        while not [
            one for one in rig.outcomes if one.type == "com.jawab.human.replied.v1" and one.subject == rig.conversation
        ]:
            await asyncio.sleep(0.02)
    event = rig.reply(DirectMessage(text="Bot speaking"))
    await rig.send(event)
    assert (await rig.outcome(event, "suppressed")).data.reason == "human_owns"
    assert await rig.effects() == []


async def test_a_message_asked_for_over_http_is_sent_once_and_can_be_followed(rig):
    await rig.send(rig.customer_writes())
    token = issue_token(JWT_SECRET, "default", now=datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}", "idempotency-key": f"order-{next(numbers)}"}
    body = {"recipientId": rig.contact, "message": "Your order left"}
    url = "/api/utility-messages/default/send"
    async with asyncio.timeout(20):
        # The observation that opens the window goes another way than the message; a first try may come too early.
        while True:
            accepted = await rig.http.post(url, json=body, headers=headers)
            again = await rig.http.post(url, json=body, headers=headers)
            assert (accepted.status_code, again.status_code) == (202, 202)
            assert accepted.json()["replyId"] == again.json()["replyId"]
            location = accepted.headers["location"]
            while (said := (await rig.http.get(location, headers=headers)).json())["status"] in {
                "claimed",
                "attempting",
            }:
                await asyncio.sleep(0.02)
            if said["reason"] != "window_closed":
                break
            headers["idempotency-key"] = f"order-{next(numbers)}"
    assert (said["status"], said["route"]) == ("delivered", "graph")
    assert await rig.effects() == [("graph", "message", "Your order left")]


async def test_a_person_takes_over_answers_and_gives_back_over_http(rig):
    allowed = f"{READ_CONVERSATIONS} {CONTROL_CONVERSATIONS} {REPLY_IN_CONVERSATIONS}"
    token = issue_token(JWT_SECRET, "default", now=datetime.now(UTC), subject="zaynab", scope=allowed)
    headers = {"authorization": f"Bearer {token}"}
    url = f"/api/conversations/default/{rig.contact}"
    await rig.send(rig.customer_writes())
    taken = await rig.http.post(f"{url}/takeover", headers=headers)
    assert (taken.status_code, taken.json()["by"]) == (202, "zaynab")
    silenced = rig.reply(DirectMessage(text="Bot speaking"))
    await rig.send(silenced)
    assert (await rig.outcome(silenced, "suppressed")).data.reason == "human_owns"
    # Asked for at once: the observation that opens the window may still be under way, and is waited for.
    answered = await rig.http.post(f"{url}/reply", json={"text": "I will take this one"}, headers=headers)
    assert answered.status_code == 202
    async with asyncio.timeout(20):
        while (await rig.http.get(answered.headers["location"], headers=headers)).json()["status"] != "delivered":
            await asyncio.sleep(0.02)
    seen = (await rig.http.get(url, headers=headers)).json()
    assert (seen["answeredBy"], seen["takenOverBy"], seen["window"]["open"]) == ("person", "zaynab", True)
    assert (await rig.http.post(f"{url}/release", headers=headers)).status_code == 202
    spoken = rig.reply(DirectMessage(text="Bot again"))
    await rig.send(spoken)
    await rig.outcome(spoken, "delivered")
    assert [text for _, _, text in await rig.effects()] == ["I will take this one", "Bot again"]
