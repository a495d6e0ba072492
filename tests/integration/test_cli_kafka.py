"""`jawab` on real Kafka: what it reads is all there is, and reading moves nobody's offsets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import OffsetAndMetadata
from pydantic import SecretStr

from cli import records
from cli.app import run
from cli.failures import Failure
from cli.records import Range, partition_of
from common.events import Event
from common.events.ids import decision_id, reply_id
from common.events.interactions import INTERACTIONS, Comment, CommentReceived, Message, MessageReceived
from common.events.outcomes import OUTCOMES, Delivered, HumanReplied, HumanReply, ReplyDelivered
from common.events.replies import REPLIES, Action, DirectMessage, Origin, Reply, ReplyGenerated, ReplyRequested
from common.kafka import dead_letters
from common.kafka.topics import SOURCES, TOPICS
from common.mongo import DELIVERIES, database, mongo_client
from common.settings import MongoSettings
from delivery.ledger import Row
from delivery.mongo import to_document
from devkit.kafka import EmbeddedKafka

pytestmark = [pytest.mark.kafka, pytest.mark.mongo]

accounts = (str(17841400000500000 + number) for number in count())


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Stand where there is no .env."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def account() -> str:
    """An account of the test's own: the cluster is shared."""
    return next(accounts)


@pytest.fixture
def jawab(
    kafka: EmbeddedKafka,
    mongo_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    account: str,
) -> Callable[..., tuple[int, str, str]]:
    """Run a command against the cluster, with a merchant of the environment."""
    for name, value in {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MONGODB_URL": mongo_url,
        "INSTAGRAM_PAGE_ID": account,
        "JAWAB_MERCHANT_NAME": "Dar",
        "JAWAB_PRICE_LINK": "https://shop.example/prices",
    }.items():
        monkeypatch.setenv(name, value)

    def command(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run(arguments)
        written = capsys.readouterr()
        return code, written.out, written.err

    return command


@pytest.fixture
def no_mongo(jawab: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """MongoDB is away."""
    monkeypatch.setenv("MONGODB_URL", "mongodb://127.0.0.1:1/jawab")
    monkeypatch.setenv("MONGODB_TIMEOUT", "1")


@asynccontextmanager
async def producing(kafka: EmbeddedKafka) -> Any:
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, linger_ms=2)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def publish(kafka: EmbeddedKafka, *events: tuple[Event, datetime]) -> None:
    """Append events with times of their own."""

    async def act() -> None:
        async with producing(kafka) as producer:
            for event, at in events:
                key = event.partitionkey.encode()
                await producer.send_and_wait(event.topic, event.to_json(), key=key, timestamp_ms=ms(at))

    asyncio.run(act())


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def message(account: str, contact: str, text: str, mid: str, at: datetime) -> MessageReceived:
    key = f"{account}:{contact}"
    return MessageReceived(
        id=f"{account}:msg:{mid}",
        source="/ingest/instagram",
        subject=key,
        time=at,
        partitionkey=key,
        data=Message(account_id=account, contact_id=contact, mid=mid, text=text, received_at_ms=ms(at)),
    )


def reply(to: MessageReceived | CommentReceived, action: Action, origin: Origin, at: datetime) -> ReplyGenerated:
    decision = decision_id(to.subject, to.id)
    id_ = reply_id(decision, 0)
    return ReplyGenerated(
        id=id_,
        source="/ai",
        subject=to.subject,
        time=at,
        partitionkey=to.subject,
        data=Reply(
            reply_id=id_,
            decision_id=decision,
            merchant_id="default",
            account_id=to.data.account_id,
            contact_id=to.data.contact_id,
            origin=origin,
            action=action,
            in_reply_to=to.id,
        ),
    )


def delivered(of: ReplyGenerated, at: datetime) -> ReplyDelivered:
    data = of.data
    return ReplyDelivered(
        id=f"out_{data.reply_id}",
        source="/delivery",
        subject=of.subject,
        time=at,
        partitionkey=of.subject,
        data=Delivered(
            merchant_id=data.merchant_id,
            account_id=data.account_id,
            contact_id=data.contact_id,
            reply_id=data.reply_id,
            kind=data.action.kind,
            route="graph",
            milliseconds=42,
        ),
    )


PRICES = "تفضل، كل أسعارنا موجودة هنا: https://shop.example/prices وإذا عندك أي سؤال إحنا بالخدمة."


@pytest.fixture
def day(kafka: EmbeddedKafka, account: str) -> dict[str, Event]:
    """A short day of one account: a rule's answer, a model's, a silence, a person, an answer that changed since."""
    begin = now()  # never back in time: the shared topics are looked up by time
    price = message(account, "5", "بيش هذا؟", "m_1", begin)
    asked = message(account, "5", "أكو توصيل للموصل؟", "m_2", begin + timedelta(milliseconds=20))
    other = message(account, "6", "بيش هذا؟", "m_3", begin + timedelta(milliseconds=40))
    person = HumanReplied(
        id=f"h_{account}",
        source="/delivery",
        subject=f"{account}:5",
        time=begin + timedelta(milliseconds=60),
        partitionkey=f"{account}:5",
        data=HumanReply(merchant_id="default", account_id=account, contact_id="5", mid="m_h"),
    )
    silent = message(account, "5", "شكراً، بيش؟", "m_4", begin + timedelta(milliseconds=80))
    comment = CommentReceived(
        id=f"{account}:cm:1",
        source="/ingest/instagram",
        subject=f"{account}:7",
        time=begin + timedelta(milliseconds=100),
        partitionkey=f"{account}:7",
        data=Comment(account_id=account, contact_id="7", comment_id="18", text="أريد تفاصيل الفستان"),
    )
    first = reply(price, DirectMessage(text=PRICES), "rule", begin + timedelta(milliseconds=10))
    second = reply(asked, DirectMessage(text="إي، عدنا توصيل للموصل"), "model", begin + timedelta(milliseconds=30))
    third = reply(other, DirectMessage(text="الأسعار بالرابط القديم"), "rule", begin + timedelta(milliseconds=50))
    publish(
        kafka,
        *((event, event.time) for event in (price, asked, other, silent, comment)),
        (price, begin + timedelta(milliseconds=70)),  # redelivered
        *((event, event.time) for event in (first, second, third, person)),
        (delivered(first, begin), begin + timedelta(milliseconds=15)),
    )
    return {"price": price, "asked": asked, "other": other, "silent": silent, "comment": comment}


Jawab = Callable[..., tuple[int, str, str]]


def over(day: dict[str, Event]) -> tuple[str, ...]:
    """Return the options that name a day's range."""
    begin = day["price"].time
    return ("--from", begin.isoformat(), "--to", (begin + timedelta(seconds=1)).isoformat())


def now() -> datetime:
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def own(told: dict[str, Any], account: str) -> dict[str, dict[str, Any]]:
    return {one["event_id"]: one for one in told["messages"] if one["conversation"].startswith(f"{account}:")}


def test_replay_shows_what_would_be_decided_beside_what_was(jawab: Jawab, day: dict[str, Event], account: str) -> None:
    code, out, err = jawab("replay", "--dry-run", *over(day), "--json")
    assert code == 0, err
    told = own(json.loads(out), account)
    marks = {name: told[event.id]["mark"] for name, event in day.items()}
    assert marks == {"price": "same", "asked": "same", "other": "different", "silent": "silent", "comment": "model"}
    assert told[day["price"].id]["became"] == "delivered over graph in 42 ms"
    assert told[day["other"].id]["now"]["rule"] == "price"
    assert len(told) == len(day)


@pytest.mark.usefixtures("no_mongo")
def test_replay_for_a_person_marks_each_message_and_does_without_mongodb(
    jawab: Jawab, day: dict[str, Event], account: str
) -> None:
    code, out, err = jawab("replay", "--dry-run", *over(day), "--conversation", f"{account}:6")
    assert code == 0, err
    assert "≠" in out
    assert "الأسعار بالرابط" in out
    assert "1 message: 1 decided differently." in out
    assert "MongoDB is away" in err
    assert f"Next: jawab conversation {account}:6" in out


def test_one_conversation_is_read_alone_and_the_limit_holds(jawab: Jawab, day: dict[str, Event], account: str) -> None:
    of_five = ("replay", "--dry-run", *over(day), "--conversation", f"{account}:5", "--json")
    assert [one["event_id"] for one in json.loads(jawab(*of_five)[1])["messages"]] == [
        day[name].id for name in ("price", "asked", "silent")
    ]
    assert len(json.loads(jawab(*of_five, "--limit", "1")[1])["messages"]) == 1


def test_a_conversation_shows_the_words_of_what_was_asked_for_over_http(
    jawab: Jawab, kafka: EmbeddedKafka, mongo_url: str, account: str
) -> None:
    contact, reply_id_, at = f"{account}:31", f"rep_{account}", datetime.now(UTC)
    asked = Reply(
        reply_id=reply_id_,
        merchant_id="default",
        account_id=account,
        contact_id="31",
        origin="api",
        action=DirectMessage(text="Your order is on its way"),
    )
    about = {"id": reply_id_, "source": "/delivery/api", "subject": contact, "time": at, "partitionkey": contact}
    publish(kafka, (ReplyRequested(data=asked, **about), at))
    row = Row(reply_id_, "delivered", 3, at, "default", account, "31", contact, None, "direct_message", "api", 0, ())

    async def keep() -> None:
        async with mongo_client(MongoSettings(mongodb_url=SecretStr(mongo_url)), service="test") as client:
            await database(client)[DELIVERIES].insert_one(to_document(row))

    asyncio.run(keep())
    code, out, err = jawab("conversation", contact)
    assert code == 0, err
    assert "Your order is on its way" in out
    assert "direct message by a program over HTTP, delivered" in out


def test_replay_publishes_nothing(jawab: Jawab, kafka: EmbeddedKafka, day: dict[str, Event]) -> None:
    before = asyncio.run(end_offsets(kafka))
    assert jawab("replay", "--dry-run", *over(day), "--json")[0] == 0
    assert asyncio.run(end_offsets(kafka)) == before


def test_replay_touches_no_offsets(jawab: Jawab, kafka: EmbeddedKafka, day: dict[str, Event]) -> None:
    place = TopicPartition(INTERACTIONS, 0)
    asyncio.run(commit(kafka, "ai", {place: OffsetAndMetadata(0, "kept")}))
    before = asyncio.run(groups(kafka))
    assert jawab("replay", "--dry-run", *over(day), "--json")[0] == 0
    assert asyncio.run(groups(kafka)) == before
    assert asyncio.run(committed(kafka, "ai", place)) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "only a dry run exists so far"),
        (("--dry-run", "--from", "now", "--to", "1h ago"), "is not before"),
        (("--dry-run", "--from", "someday"), "--from: 'someday' is not a time"),
        (("--dry-run", "--conversation", "1"), "is not a conversation"),
    ],
)
def test_a_senseless_replay_is_refused(jawab: Jawab, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = jawab("replay", *arguments)
    assert (code, out) == (1, "")
    assert said in err


def test_an_empty_range_is_no_messages(jawab: Jawab) -> None:
    code, out, _ = jawab("replay", "--dry-run", "--from", "2020-01-01", "--to", "2020-01-02")
    assert (code, out) == (0, "no messages.\n")


# Reading


async def test_a_range_is_read_whole_in_order_from_every_partition(kafka: EmbeddedKafka, account: str) -> None:
    begin = now()
    keys = [f"{account}:{contact}".encode() for contact in range(40)]
    async with producing(kafka) as producer:
        for number, key in enumerate(keys):
            at = ms(begin) + number
            await producer.send_and_wait(REPLIES, str(number).encode(), key=key, timestamp_ms=at)
    connection = {"bootstrap_servers": kafka.bootstrap}
    wanted = Range(ms(begin) + 10, ms(begin) + 30)
    found = [record for record in await records.read(connection, [REPLIES], wanted) if record.key in keys]
    assert [int(record.value) for record in found] == list(range(10, 30))
    assert {record.partition for record in found} == {
        partition_of(key.decode(), 12) for key in keys[10:30]
    }  # where the producer's own partitioner put them


async def test_records_larger_than_one_fetch_are_all_read(kafka: EmbeddedKafka, account: str) -> None:
    begin, key = ms(now()), f"{account}:5"
    async with producing(kafka) as producer:
        for size in (900_000, 1_000_000, 700_000, 10):
            await producer.send_and_wait(REPLIES, b"x" * size, key=key.encode(), timestamp_ms=begin)
    found = await records.read({"bootstrap_servers": kafka.bootstrap}, [REPLIES], Range(begin, key=key))
    assert [len(record.value) for record in found] == [900_000, 1_000_000, 700_000, 10]


async def test_reading_ends_where_the_topic_ended_when_it_began(kafka: EmbeddedKafka, account: str) -> None:
    connection = {"bootstrap_servers": kafka.bootstrap}
    async with producing(kafka) as producer:
        stop = asyncio.Event()

        async def go_on() -> None:
            while not stop.is_set():
                await producer.send_and_wait(OUTCOMES, b"{}", key=account.encode())

        writing = asyncio.create_task(go_on())
        try:
            async with asyncio.timeout(20):
                assert await records.read(connection, [OUTCOMES], Range(0))
        finally:
            stop.set()
            await writing


async def test_too_much_is_refused_before_it_is_read(kafka: EmbeddedKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    async with producing(kafka) as producer:
        for _ in range(3):
            await producer.send_and_wait(REPLIES, b"{}", key=b"1:1")
    monkeypatch.setattr(records, "MOST_RECORDS", 2)
    with pytest.raises(Failure, match="at most 2 are read"):
        await records.read({"bootstrap_servers": kafka.bootstrap}, [REPLIES], Range(0))


async def test_a_missing_topic_is_named(kafka: EmbeddedKafka) -> None:
    with pytest.raises(Failure, match=r"topics are missing: no\.such\.topic"):
        await records.read({"bootstrap_servers": kafka.bootstrap}, ["no.such.topic"], Range(0))


# Topics and dead letters


def test_topics_are_listed_and_applied_again_without_a_change(jawab: Jawab) -> None:
    code, out, _ = jawab("topics", "list")
    assert code == 0
    assert all(topic.name in out for topic in TOPICS)
    assert "14 days" in out
    assert "missing" not in out
    applied = json.loads(jawab("topics", "apply", "--json")[1])
    assert {(one["name"], one["state"]) for one in applied} == {(topic.name, "there") for topic in TOPICS}


def test_more_replicas_in_sync_than_there_are_is_misconfiguration(
    jawab: Jawab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_MIN_INSYNC_REPLICAS", "2")
    code, out, err = jawab("topics", "apply")
    assert (code, out) == (78, "")
    assert "KAFKA_REPLICATION_FACTOR" in err


def test_a_dead_letter_is_listed_and_shown_without_its_text(jawab: Jawab, kafka: EmbeddedKafka, account: str) -> None:
    dead = message(account, "5", "رسالة خاصة", "m_dead", now())
    topic = SOURCES[0].dead_letters
    headers = {
        dead_letters.CAUSE: "failed 5 times: KeyError",
        dead_letters.ATTEMPTS: "5",
        dead_letters.GROUP: "ai",
        dead_letters.TOPIC: INTERACTIONS,
        dead_letters.PARTITION: "3",
        dead_letters.OFFSET: "42",
        dead_letters.FAILED_AT: (now() - timedelta(days=3)).isoformat(),
    }

    async def bury() -> str:
        async with producing(kafka) as producer:
            sent = await producer.send_and_wait(
                topic,
                dead.to_json(),
                key=dead.partitionkey.encode(),
                headers=[(name, value.encode()) for name, value in headers.items()],
            )
            return f"{sent.topic}:{sent.partition}:{sent.offset}"

    place = asyncio.run(bury())
    code, out, _ = jawab("dlq", "list", "--topic", INTERACTIONS)
    assert code == 0
    for said in (place, f"{INTERACTIONS}:3:42", "failed 5 times: KeyError", "3 days"):
        assert said in out
    assert "خاصة" not in out
    code, out, _ = jawab("dlq", "show", place)
    assert code == 0
    assert dead.id in out
    assert "خاصة" not in out
    assert "رسالة خاصة" in jawab("dlq", "show", place, "--show-text")[1]
    shown = json.loads(jawab("dlq", "show", place, "--json")[1])
    assert shown["event"]["type"] == dead.type
    assert "value" not in shown


def test_a_place_without_a_record_is_said(jawab: Jawab) -> None:
    for place in (f"{SOURCES[0].dead_letters}:0:999999", f"{SOURCES[0].dead_letters}:77:0"):
        code, out, err = jawab("dlq", "show", place)
        assert (code, out) == (1, "")
        assert f"there is no record at {place}" in err


def test_no_dead_letters_is_good_news(jawab: Jawab) -> None:
    code, out, _ = jawab("dlq", "list", "--topic", "privacy.requests.v1")
    assert code == 0
    assert "no dead letters since" in out


def test_the_doctor_finds_kafka_and_its_topics_well(jawab: Jawab) -> None:
    code, out, err = jawab("doctor", "--only", "kafka")
    assert code == 0, err
    assert f"all {len(TOPICS)} there" in out


# What is asked of the cluster itself


async def on_admin(kafka: EmbeddedKafka, ask: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    await admin.start()
    try:
        return await ask(admin)
    finally:
        await admin.close()


async def groups(kafka: EmbeddedKafka) -> list[str]:
    return sorted(name for name, _ in await on_admin(kafka, lambda admin: admin.list_consumer_groups()))


async def committed(kafka: EmbeddedKafka, group: str, place: TopicPartition) -> int:
    offsets = await on_admin(kafka, lambda admin: admin.list_consumer_group_offsets(group, partitions=[place]))
    return int(offsets[place].offset)


async def commit(kafka: EmbeddedKafka, group: str, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


async def end_offsets(kafka: EmbeddedKafka) -> dict[TopicPartition, int]:
    places = [TopicPartition(topic.name, number) for topic in TOPICS for number in range(topic.partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap)
    await consumer.start()
    try:
        return dict(await consumer.end_offsets(places))
    finally:
        await consumer.stop()
